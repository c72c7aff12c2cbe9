"""Run backbones with OpenVINO or PyTorch, in float32 or bfloat16.

``auto`` means, in this order: a CUDA device if there is one, else the CPU; on the CPU OpenVINO if
it is installed, else PyTorch; bfloat16 if the processor computes it natively, else float32. The
precision that was chosen is part of the ``FeatureSpec`` of the features.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from oddframe.errors import InputError, UsageError, has_torch, torch_needed

EngineName = Literal["auto", "openvino", "torch"]
DeviceName = Literal["auto", "cpu", "cuda"]
PrecisionName = Literal["auto", "float32", "bfloat16"]

# Runs a network on a batch (N, ...) float32, an array or, for PyTorch, a tensor.
Runner = Callable[[Any], NDArray[np.float32]]
OnnxRunner = Callable[[NDArray[Any]], NDArray[np.float32]]


@dataclass(frozen=True)
class Runtime:
    """Where and how a network runs."""

    engine: str  # ``openvino`` or ``torch``.
    device: str  # ``cpu`` or ``cuda``.
    precision: str  # ``float32`` or ``bfloat16``.

    def __repr__(self) -> str:
        # The digest of a result's settings holds this text, under the class's first name.
        return (
            f"Choice(engine={self.engine!r}, device={self.device!r}, precision={self.precision!r})"
        )

    def __str__(self) -> str:
        return f"{self.engine} {self.precision} on {self.device}"


def has_openvino() -> bool:
    """Whether OpenVINO is installed; does not import it."""
    return find_spec("openvino") is not None


def has_cuda() -> bool:
    """Whether PyTorch sees a CUDA device; imports it only where that is possible."""
    if not has_torch() or ("torch" not in sys.modules and not _has_cuda_driver()):
        return False
    import torch

    return torch.cuda.is_available()


@cache
def _has_cuda_driver() -> bool:
    """Whether a CUDA device may be there; False is certain."""
    try:
        build = version("torch")
    except PackageNotFoundError:
        build = ""
    if build.endswith("+cpu") or sys.platform == "darwin":
        return False
    if "rocm" in build:  # AMD's own driver, under the name of CUDA.
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


@cache
def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 natively (AVX512-BF16, AMX, or ARM's)."""
    if has_openvino():
        import openvino

        return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    # PyTorch would ask oneDNN, which also says yes if AVX512 merely emulates bfloat16.
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.is_file() else ""
    return any(flag in text for flag in ("avx512_bf16", "amx_bf16", " bf16"))


def _cuda_has_bfloat16() -> bool:
    import torch

    return bool(torch.cuda.is_bf16_supported())


def choose_runtime(
    engine: EngineName = "auto", device: DeviceName = "auto", precision: PrecisionName = "auto"
) -> Runtime:
    """Replace ``auto`` by the rule above; UsageError if what is asked for is not available."""
    for option, name, names in (
        ("engine", engine, EngineName),
        ("device", device, DeviceName),
        ("precision", precision, PrecisionName),
    ):
        if name not in get_args(names):
            raise UsageError(f"--{option} {name}: choose from {', '.join(get_args(names))}")
    if device == "cuda" and not has_torch():
        raise torch_needed("--device cuda")
    if device == "cuda" and not has_cuda():
        raise UsageError("--device cuda: PyTorch sees no CUDA device here; use --device cpu")
    if engine == "openvino" and not has_openvino():
        raise UsageError("--engine openvino: it is not installed; 'pip install openvino' brings it")
    if engine == "openvino" and device == "cuda":
        raise UsageError("--engine openvino runs on the CPU; leave out --device cuda")
    if device == "auto":
        device = "cuda" if engine != "openvino" and has_cuda() else "cpu"
    if engine == "auto":
        engine = "openvino" if device == "cpu" and has_openvino() else "torch"
    if engine == "torch" and not has_torch():
        raise torch_needed("--engine torch" if has_openvino() else "a machine without OpenVINO")
    if precision == "auto":
        native = _cuda_has_bfloat16() if device == "cuda" else cpu_has_bfloat16()
        precision = "bfloat16" if native else "float32"
    return Runtime(engine, device, precision)


def openvino_runner(model: Any, runtime: Runtime) -> Runner:
    """Prepare an OpenVINO model of one output, whose batch is 1, to run on batches of any size."""
    import openvino

    compiled = openvino.Core().compile_model(model, "CPU", _openvino_config(runtime))

    def run(x: NDArray[np.float32]) -> NDArray[np.float32]:
        each = [np.array(compiled(x[i : i + 1])[0], dtype=np.float32) for i in range(len(x))]
        return each[0] if len(each) == 1 else np.concatenate(each)

    return run


def load_onnx(
    path: Path, shape: tuple[int, ...], output: str | None, runtime: Runtime
) -> OnnxRunner:
    """Load an ONNX file for OpenVINO, whatever the engine of other networks is.

    ``shape`` is that of its input, batch first; ``output`` the name of an output, by default the
    first one. Only the precision of ``runtime`` is used.
    """
    if not has_openvino():
        raise UsageError(
            f"{path}: ONNX files are run by OpenVINO; 'pip install openvino' brings it"
        )
    import openvino

    core = openvino.Core()
    try:
        model = core.read_model(path)
        if len(model.inputs) != 1:
            raise InputError(f"{path}: it has {len(model.inputs)} inputs, and should have one")
        if not model.input().partial_shape.compatible(openvino.PartialShape(list(shape))):
            actual, wanted = model.input().partial_shape, "x".join(map(str, shape))
            raise InputError(
                f"{path}: its input is {actual}, but the YAML and the crops give {wanted}"
            )
        model.reshape(list(shape))
        compiled = core.compile_model(model, "CPU", _openvino_config(runtime))
        port = compiled.output(output) if output else compiled.output(0)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[-200:]
        raise InputError(f"{path}: OpenVINO cannot use it ({reason})") from None
    dtype = model.input().element_type.to_dtype()

    def run(x: NDArray[Any]) -> NDArray[np.float32]:
        return np.array(compiled(x.astype(dtype, copy=False))[port], dtype=np.float32)

    return run


def _openvino_config(runtime: Runtime) -> dict[str, str]:
    # One stream over all cores: with several streams OpenVINO 2026.4 computes wrong features for
    # I3D (largest difference 0.17), and is no faster.
    config = {
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[runtime.precision],
        "PERFORMANCE_HINT": "LATENCY",
    }
    if threads := os.environ.get("OMP_NUM_THREADS"):
        config["INFERENCE_NUM_THREADS"] = threads
    return config
