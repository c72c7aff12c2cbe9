"""What runs a backbone: OpenVINO or PyTorch, in float32 or bfloat16.

The rule behind ``auto``, in this order: a CUDA device if there is one, else the CPU; on the CPU
OpenVINO if it is installed, else PyTorch; bfloat16 where the processor computes it natively, else
float32. What was chosen is written into the ``FeatureSpec`` of everything that comes out.
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

Runner = Callable[[Tensor], NDArray[np.float32]]


@dataclass(frozen=True)
class Runtime:
    """Where and how a network runs; nothing is ``auto`` any more."""

    engine: str
    device: str
    precision: str

    def __repr__(self) -> str:
        # The digest of a result's settings holds this text, under the class's first name.
        return (
            f"Choice(engine={self.engine!r}, device={self.device!r}, precision={self.precision!r})"
        )

    def __str__(self) -> str:
        return f"{self.engine} {self.precision} on {self.device}"


def has_openvino() -> bool:
    """Whether OpenVINO is installed (it is not imported)."""
    return find_spec("openvino") is not None


def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 natively (AVX512-BF16, AMX, or ARM's)."""
    if has_openvino():
        import openvino

        return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    # PyTorch asks oneDNN, whose answer is also true where bfloat16 is merely emulated by AVX512.
    flags = Path("/proc/cpuinfo")
    text = flags.read_text() if flags.is_file() else ""
    return any(flag in text for flag in ("avx512_bf16", "amx_bf16", " bf16"))


def choose_runtime(
    engine: EngineName = "auto", device: DeviceName = "auto", precision: PrecisionName = "auto"
) -> Runtime:
    """Settle what ``auto`` leaves open, by the rule above.

    Raises:
        UsageError: what was asked for is not there, or there is no such thing.
    """
    for what, name, names in (
        ("engine", engine, EngineName),
        ("device", device, DeviceName),
        ("precision", precision, PrecisionName),
    ):
        if name not in get_args(names):
            raise UsageError(f"--{what} {name}: choose from {', '.join(get_args(names))}")
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


def build_runner(
    network: nn.Module, example: Tensor, runtime: Runtime, key: str, *, batch_of_one: bool = False
) -> Runner:
    """The network on the chosen engine, any batch size.

    Args:
        network: Takes (N, channels, ...) float32.
        example: (1, channels, ...), of the only size that it will be given.
        runtime: Where and how it runs.
        key: Names the converted network in the cache.
        batch_of_one: The network takes batches of one only; what is returned takes any.
    """
    if runtime.engine == "openvino":
        run = openvino_runner(network, example, runtime, key, batch_of_one=batch_of_one)
    else:
        run = torch_runner(network, runtime, memory_format_for(example))
    return (
        (lambda x: np.concatenate([run(one) for one in torch.split(x, 1)])) if batch_of_one else run
    )


def memory_format_for(example: Tensor) -> torch.memory_format:
    """The order of pixels that PyTorch's convolutions are fastest with."""
    if example.dim() == 3:  # Without channels: a picture of sound.
        return torch.contiguous_format
    return torch.channels_last_3d if example.dim() == 5 else torch.channels_last


def torch_runner(network: nn.Module, runtime: Runtime, layout: torch.memory_format) -> Runner:
    """The network on PyTorch: float tensors in, float32 arrays out; see also ``deterministic``."""
    network = network.eval().to(runtime.device)
    network = network.to(memory_format=layout)  # type: ignore[call-overload]

    def run(x: Tensor) -> NDArray[np.float32]:
        x = x.to(runtime.device, memory_format=layout)
        low = runtime.precision == "bfloat16"
        autocast = torch.autocast(runtime.device, torch.bfloat16, enabled=low)
        with deterministic(), torch.inference_mode(), autocast:
            out: Tensor = network(x)
        return out.float().cpu().numpy()

    return run


def openvino_runner(
    network: nn.Module, example: Tensor, runtime: Runtime, key: str, *, batch_of_one: bool
) -> Runner:
    """The network on OpenVINO, any batch size unless it takes one ``alone``; see ``build_runner``.

    Conversion takes some seconds, so its result is kept. A cache that cannot be written or read is
    no error: the network is then converted again.
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
    """A converted network, compiled as the next run will read it from ``file``.

    What was just converted adds up in another order. It is saved elsewhere if ``file`` cannot be
    written, and compiled as it is if that is not possible either.
    """
    import openvino

    for folder in (file.parent, None):
        try:
            with scratch_folder(folder) as scratch:
                made = scratch / file.name
                openvino.save_model(converted, made, compress_to_fp16=False)
                compiled = core.compile_model(core.read_model(made), "CPU", config)
                with suppress(OSError):
                    # The graph last: it is what a reader looks for; it needs its weights.
                    made.with_suffix(".bin").replace(file.with_suffix(".bin"))
                    made.replace(file)
                return compiled
        except (OSError, OddframeError, RuntimeError):  # OpenVINO has the last for a full disk.
            continue
    return core.compile_model(converted, "CPU", config)


def _convert(network: nn.Module, example: Tensor, batch_of_one: bool) -> Any:
    import openvino

    with torch.no_grad(), warnings.catch_warnings():
        if batch_of_one:
            # Nothing varies, so a trace will do: of 2,000 steps it takes a sixth of the time.
            warnings.simplefilter("ignore")
            trace = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
            model = openvino.convert_model(trace, example_input=example)
            model.reshape(list(example.shape))
            return model
        warnings.simplefilter("ignore", FutureWarning)  # Of PyTorch, about PyTorch.
        batch = torch.export.Dim("batch", min=1, max=1024)
        program = torch.export.export(
            network, (torch.cat([example, example]),), dynamic_shapes=({0: batch},)
        )
        return openvino.convert_model(program)


OnnxRunner = Callable[[NDArray[Any]], NDArray[np.float32]]


def load_onnx(
    path: Path, shape: tuple[int, ...], output: str | None, runtime: Runtime
) -> OnnxRunner:
    """An ONNX file on OpenVINO, whatever the engine of other networks is.

    Args:
        path: The file; data files that it names lie beside it.
        shape: Of its input, the batch first.
        output: Name of the output that is wanted; None: the first.
        runtime: For the precision.

    Raises:
        InputError: it cannot be read, or has no such input or output.
        UsageError: OpenVINO is not installed.
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
            has, wanted = model.input().partial_shape, "x".join(map(str, shape))
            raise InputError(
                f"{path}: its input is {has}, but the YAML and the crops give {wanted}"
            )
        model.reshape(list(shape))
        compiled = core.compile_model(model, "CPU", _openvino_config(runtime))
        port = compiled.output(output) if output else compiled.output(0)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[-200:]
        raise InputError(f"{path}: OpenVINO cannot use it ({reason})") from None
    kind = model.input().element_type.to_dtype()

    def run(x: NDArray[Any]) -> NDArray[np.float32]:
        return np.array(compiled(x.astype(kind, copy=False))[port], dtype=np.float32)

    return run


def _openvino_config(runtime: Runtime) -> dict[str, str]:
    # One stream over all cores: with several streams OpenVINO 2026.4 computes wrong features for
    # I3D (largest difference 0.17), and they are no faster.
    config = {
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[runtime.precision],
        "PERFORMANCE_HINT": "LATENCY",
    }
    if threads := os.environ.get("OMP_NUM_THREADS"):
        config["INFERENCE_NUM_THREADS"] = threads
    return config
