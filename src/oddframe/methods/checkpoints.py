"""Checkpoints that UR-DMU's authors, and those who trained their code, published.

Such a file is a pickled state dictionary of 34 tensors. It is read with PyTorch's restricted
unpickler, which makes tensors and nothing else.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from oddframe.errors import InputError
from oddframe.methods.urdmu.config import UrDmuConfig
from oddframe.methods.urdmu.network import UrDmuNetwork

_WRAPPER = "module."  # What DataParallel puts before every name.


@dataclass(frozen=True)
class PublishedCheckpoint:
    """A published checkpoint: feature length, the settings that its shapes tell, its network."""

    dim: int
    config: UrDmuConfig
    network: UrDmuNetwork


def read_published(path: Path) -> PublishedCheckpoint:
    """Read a published UR-DMU checkpoint (``.pkl``, ``.pt``, ``.pth``).

    Feature length and memory sizes are read from the tensors' shapes; all else is as published.

    Raises:
        InputError: the file is missing, is no such file, or its tensors do not fit; the message
            names what does not.
    """
    state = _read_state(path)
    try:
        dim = state["embedding.conv_1.0.weight"].shape[1]
        slots = [state[f"{memory}memory.memory_block"].shape[0] for memory in "AN"]
    except (KeyError, IndexError):
        raise InputError(
            f"{path}: not a UR-DMU checkpoint: embedding or memories are missing among its "
            f"{len(state)} tensors"
        ) from None
    config = UrDmuConfig(anomaly_slots=slots[0], normal_slots=slots[1])
    network = UrDmuNetwork(dim, config)
    if misfits := _misfits(network.state_dict(), state):
        shown = "; ".join(misfits[:5]) + (f"; and {len(misfits) - 5} more" if misfits[5:] else "")
        raise InputError(f"{path}: not a checkpoint of the published UR-DMU: {shown}")
    network.load_state_dict(state)
    return PublishedCheckpoint(dim, config, network.eval())


def _read_state(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path}: holds more than tensors, or is no PyTorch file; nothing else is unpickled"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: not a PyTorch file, or a damaged one ({reason})") from None
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(t, Tensor) for t in state.values()):
        raise InputError(f"{path}: not a state dictionary: names and tensors are expected")
    return {str(name).removeprefix(_WRAPPER): tensor for name, tensor in state.items()}


def _misfits(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> list[str]:
    missing = [f"{name} is missing" for name in ours if name not in theirs]
    unknown = [f"{name} is unknown" for name in theirs if name not in ours]
    shapes = [
        f"{name} is {tuple(theirs[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in ours.items()
        if name in theirs and theirs[name].shape != tensor.shape
    ]
    return missing + unknown + shapes
