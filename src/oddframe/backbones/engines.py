"""Run backbones with OpenVINO or PyTorch, in float32 or bfloat16.

``auto`` means, in this order: a CUDA device if there is one, else the CPU; on the CPU OpenVINO if
it is installed, else PyTorch; bfloat16 if the processor computes it natively, else float32. The
precision that was chosen is part of the ``FeatureSpec`` of the features.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oddframe._utils.determinism import deterministic
from oddframe._utils.files import cache_dir, scratch_folder
from oddframe.errors import InputError, OddframeError, UsageError

EngineName = Literal["auto", "openvino", "torch"]
DeviceName = Literal["auto", "cpu", "cuda"]
PrecisionName = Literal["auto", "float32", "bfloat16"]

# Runs a network on a batch.
Runner = Callable[[Tensor], NDArray[np.float32]]
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


def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 natively (AVX512-BF16, AMX, or ARM's)."""
    if has_openvino():
        import openvino

        return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    # PyTorch would ask oneDNN, which also says yes if AVX512 merely emulates bfloat16.
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.is_file() else ""
    return any(flag in text for flag in ("avx512_bf16", "amx_bf16", " bf16"))


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
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: PyTorch sees no CUDA device here; use --device cpu")
    if engine == "openvino" and not has_openvino():
        raise UsageError("--engine openvino: it is not installed; 'pip install openvino' brings it")
    if engine == "openvino" and device == "cuda":
        raise UsageError("--engine openvino runs on the CPU; leave out --device cuda")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() and engine != "openvino" else "cpu"
    if engine == "auto":
        engine = "openvino" if device == "cpu" and has_openvino() else "torch"
    if precision == "auto":
        native = torch.cuda.is_bf16_supported() if device == "cuda" else cpu_has_bfloat16()
        precision = "bfloat16" if native else "float32"
    return Runtime(engine, device, precision)


def torch_runner(network: nn.Module, example: Tensor, runtime: Runtime) -> Runner:
    """Prepare a network for PyTorch; it computes by deterministic algorithms, without TF32."""
    # The memory formats with which convolutions are fastest. A spectrogram has no channels.
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    layout = formats.get(example.dim(), torch.contiguous_format)
    network = network.eval().to(runtime.device)
    network = network.to(memory_format=layout)  # type: ignore[call-overload]

    def run(x: Tensor) -> NDArray[np.float32]:
        x = x.to(runtime.device, memory_format=layout)
        bfloat16 = runtime.precision == "bfloat16"
        autocast = torch.autocast(runtime.device, torch.bfloat16, enabled=bfloat16)
        with deterministic(), torch.inference_mode(), autocast:
            out: Tensor = network(x)
        return out.float().cpu().numpy()

    return run


def openvino_runner(
    network: nn.Module, example: Tensor, runtime: Runtime, key: str, *, batch_of_one: bool
) -> Runner:
    """Prepare a network for OpenVINO; ``key`` names it in the cache.

    Conversion takes some seconds, so the converted network is cached. If the cache cannot be read
    or written, the network is converted again.
    """
    import openvino

    core, config = openvino.Core(), _openvino_config(runtime)
    file = cache_dir() / f"{key}-openvino{openvino.__version__.split('-')[0]}.xml"
    try:
        compiled = core.compile_model(core.read_model(file), "CPU", config)
    except RuntimeError:
        converted = _convert(network.eval(), example, batch_of_one)
        compiled = _save_and_compile(core, converted, file, config)

    def run(x: Tensor) -> NDArray[np.float32]:
        return np.array(compiled(x.numpy())[0], dtype=np.float32)

    return run


def _save_and_compile(core: Any, converted: Any, file: Path, config: dict[str, str]) -> Any:
    """Save a converted network to ``file`` and compile it from there, as the next process will.

    Compiled without saving, it adds numbers in another order, so features would differ in their
    last digits. If ``file`` cannot be written, the network is saved to a temporary folder; if that
    fails too, it is compiled without saving.
    """
    import openvino

    for folder in (file.parent, None):
        try:
            with scratch_folder(folder) as scratch:
                saved = scratch / file.name
                openvino.save_model(converted, saved, compress_to_fp16=False)
                compiled = core.compile_model(core.read_model(saved), "CPU", config)
                with suppress(OSError):
                    # Move the graph last: readers look for it, and it needs its weights.
                    saved.with_suffix(".bin").replace(file.with_suffix(".bin"))
                    saved.replace(file)
                return compiled
        except (OSError, OddframeError, RuntimeError):
            continue  # OpenVINO raises RuntimeError if the disk is full.
    return core.compile_model(converted, "CPU", config)


def _convert(network: nn.Module, example: Tensor, batch_of_one: bool) -> Any:
    import openvino

    with torch.no_grad(), warnings.catch_warnings():
        if batch_of_one:
            # All sizes are fixed, so a trace will do: it takes a sixth of the time of an export.
            warnings.simplefilter("ignore")
            trace = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
            model = openvino.convert_model(trace, example_input=example)
            model.reshape(list(example.shape))
            return model
        warnings.simplefilter("ignore", FutureWarning)  # PyTorch warns about its own code.
        batch = torch.export.Dim("batch", min=1, max=1024)
        program = torch.export.export(
            network, (torch.cat([example, example]),), dynamic_shapes=({0: batch},)
        )
        return openvino.convert_model(program)


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
