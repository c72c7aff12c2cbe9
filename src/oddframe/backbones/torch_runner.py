"""Run networks with PyTorch. The only module of backbones' everyday use that imports it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oddframe._utils.determinism import deterministic
from oddframe.backbones.engines import Runner, Runtime


def torch_runner(network: nn.Module, dims: int, runtime: Runtime) -> Runner:
    """Prepare a network for PyTorch; it computes by deterministic algorithms, without TF32.

    Args:
        network: Takes (N, channels, ...) float32, of ``dims`` dimensions.
        dims: See above.
        runtime: Device and precision.
    """
    # The memory formats with which convolutions are fastest. A spectrogram has no channels.
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    layout = formats.get(dims, torch.contiguous_format)
    network = network.eval().to(runtime.device)
    network = network.to(memory_format=layout)  # type: ignore[call-overload]

    def run(batch: NDArray[np.float32] | Tensor) -> NDArray[np.float32]:
        x = torch.as_tensor(batch).to(runtime.device, memory_format=layout)
        bfloat16 = runtime.precision == "bfloat16"
        autocast = torch.autocast(runtime.device, torch.bfloat16, enabled=bfloat16)
        with deterministic(), torch.inference_mode(), autocast:
            out: Tensor = network(x)
        return out.float().cpu().numpy()

    return run


def convert(network: nn.Module, example: Tensor) -> Any:
    """Convert a network to an OpenVINO model, for inputs shaped like ``example``."""
    import openvino

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PyTorch warns about its own code.
        return openvino.convert_model(torch.export.export(network, (example,)))


def to_tensor(snippets: NDArray[np.uint8], device: str) -> Tensor:
    """As ``to_input``, on a graphics card: bytes are copied to it, a quarter of the floats."""
    x = torch.from_numpy(np.ascontiguousarray(snippets)).to(device).permute(0, 4, 1, 2, 3)
    return x.to(torch.float32).mul_(2 / 255).sub_(1)
