"""Backbones by name: snippets of frames in, feature vectors out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oddframe.backbones.engines import (
    Choice,
    DeviceName,
    EngineName,
    PrecisionName,
    Run,
    choose,
    openvino_run,
    torch_run,
)
from oddframe.backbones.i3d import FEATURE_DIM
from oddframe.backbones.weights import read_i3d
from oddframe.errors import UsageError

I3D_WEIGHTS = Path(__file__).parent / "data" / "i3d_kinetics400.safetensors"


@dataclass(frozen=True)
class Backbone:
    """A network ready to run; threads may share it, for they take turns.

    Attributes:
        name: In this registry.
        dim: Length D of a feature.
        weights_sha256: Of the weights file.
        choice: Engine, device and precision it runs with.
        batch: Snippets a call that make good use of the device.
    """

    name: str
    dim: int
    weights_sha256: str
    choice: Choice
    batch: int
    run: Run

    def __call__(self, snippets: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Snippets (N, frames, height, width, 3), RGB in 0..255 -> features (N, D)."""
        return self.run(to_input(snippets))


def to_input(snippets: NDArray[np.uint8]) -> Tensor:
    """(N, frames, height, width, 3) uint8 -> (N, 3, frames, height, width) float32 in [-1, 1]."""
    x = torch.from_numpy(np.ascontiguousarray(snippets)).permute(0, 4, 1, 2, 3)
    return x.to(torch.float32, memory_format=torch.contiguous_format).mul_(2 / 255).sub_(1)


def weights_file(name: str) -> Path:
    """The shipped weights of a backbone.

    Raises:
        UsageError: no backbone has this name.
    """
    if name != "i3d":
        raise UsageError(f"no backbone is called {name!r}; there is: i3d")
    return I3D_WEIGHTS


def load_backbone(
    name: str = "i3d",
    *,
    crop_size: tuple[int, int],
    snippet_frames: int = 16,
    weights: Path | None = None,
    device: DeviceName = "auto",
    engine: EngineName = "auto",
    precision: PrecisionName = "auto",
) -> Backbone:
    """Load a backbone for snippets of ``snippet_frames`` frames of ``crop_size`` (width, height).

    ``weights`` replaces the shipped ones: our safetensors, or either published PyTorch layout.

    Raises:
        UsageError: an unknown name, or an engine or device that is not there.
        InputError: the weights cannot be read.
    """
    file = weights or weights_file(name)
    if weights is not None:
        weights_file(name)  # An unknown name is refused in either case.
    choice = choose(engine, device, precision)
    network = read_i3d(file)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    width, height = crop_size
    if choice.engine == "openvino":
        example = torch.zeros(1, 3, snippet_frames, height, width)
        key = f"{name}-{sha256[:12]}-{snippet_frames}x{height}x{width}"
        run = openvino_run(network, example, choice, key)
    else:
        run = torch_run(network, choice)
    # On a CPU a batch is no faster than one snippet after the other, and fills more cache.
    batch = 16 if choice.device == "cuda" else 1
    return Backbone(name, FEATURE_DIM, sha256, choice, batch, _in_turns(run))


def _in_turns(run: Run) -> Run:
    # Videos are decoded side by side, but an engine already uses all of its device for one batch.
    lock = Lock()

    def locked(snippets: Tensor) -> NDArray[np.float32]:
        with lock:
            return run(snippets)

    return locked
