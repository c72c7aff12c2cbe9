"""Weights of I3D in the layouts that are in use, brought to ours, batch normalisation folded.

Ours is ``trunk.<unit>.conv.{weight,bias}`` and ``logits.{weight,bias}`` with the unit names of the
paper's TensorFlow code. Three others exist in the wild: DeepMind's own (through the conversion
script in ``tools/``) and the two PyTorch ports that published features were made with.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from oddframe.backbones.i3d import I3D
from oddframe.backbones.state import fill, fold_named, read_state
from oddframe.errors import InputError

# What the ports call the branches of an Inception module. Left: ours.
_PIERGIAJ_BRANCHES = {
    "b0": "b0", "b1.0": "b1a", "b1.1": "b1b", "b2.0": "b2a", "b2.1": "b2b", "b3": "b3b",
}  # fmt: skip
_HASSONY_BRANCHES = {
    "b0": "branch_0", "b1.0": "branch_1.0", "b1.1": "branch_1.1", "b2.0": "branch_2.0",
    "b2.1": "branch_2.1", "b3": "branch_3.1",
}  # fmt: skip
PIERGIAJ_EPS = 1e-3
HASSONY_EPS = 1e-5


def unit_names() -> list[str]:
    """Our units, in the order of the network: ``Conv3d_1a_7x7``, ``Mixed_3b.b1.0`` and so on."""
    with torch.device("meta"):
        keys = I3D().trunk.state_dict()
    return [key.removesuffix(".conv.weight") for key in keys if key.endswith(".conv.weight")]


def _branch_name(unit: str, branches: Mapping[str, str]) -> str:
    module, _, branch = unit.partition(".")
    return f"{module}.{branches[branch]}" if branch else module


def convert_port(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of either PyTorch port -> ours. Features only need the trunk; logits are optional.

    Raises:
        InputError: it is neither layout, or a tensor is missing.
    """
    if "Conv3d_1a_7x7.conv3d.weight" in state:
        branches, bn, eps, logits = _PIERGIAJ_BRANCHES, "bn", PIERGIAJ_EPS, "logits.conv3d"
    elif "conv3d_1a_7x7.conv3d.weight" in state:
        branches, bn, eps, logits = (
            _HASSONY_BRANCHES,
            "batch3d",
            HASSONY_EPS,
            "conv3d_0c_1x1.conv3d",
        )
    else:
        raise InputError(
            "not I3D weights in a known layout: neither 'Conv3d_1a_7x7.conv3d.weight' "
            "nor 'conv3d_1a_7x7.conv3d.weight' is in it"
        )
    lower = bn == "batch3d"
    out: dict[str, Tensor] = {}
    try:
        for unit in unit_names():
            theirs = _branch_name(unit, branches)
            theirs = theirs[0].lower() + theirs[1:] if lower else theirs
            weight, bias = fold_named(state, f"{theirs}.conv3d", f"{theirs}.{bn}", eps)
            out[f"trunk.{unit}.conv.weight"], out[f"trunk.{unit}.conv.bias"] = weight, bias
    except KeyError as missing:
        raise InputError(f"I3D weights lack the tensor {missing}") from None
    if f"{logits}.weight" in state:
        out["logits.weight"] = state[f"{logits}.weight"].float()
        out["logits.bias"] = state[f"{logits}.bias"].float()
    return out


def load_into(network: I3D, state: Mapping[str, Tensor]) -> I3D:
    """Fill ``network`` from our layout (half precision is widened); logits may be absent."""
    return fill(network, state, "I3D", optional="logits.")


def read_i3d(path: Path, channels: int = 3) -> I3D:
    """I3D from a file: our safetensors, or a port's ``.pt`` checkpoint (read without unpickling).

    Args:
        path: The file.
        channels: Of the input: 3 of RGB, 2 of optical flow.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    state = read_state(path, "I3D")
    if "trunk.Conv3d_1a_7x7.conv.weight" not in state:
        state = convert_port(state)
    found = state["trunk.Conv3d_1a_7x7.conv.weight"].shape[1]
    if found != channels:
        kinds = {2: "optical flow", 3: "RGB"}
        raise InputError(
            f"{path}: I3D weights for {kinds.get(found, f'{found} channels')}, "
            f"not for {kinds.get(channels, f'{channels} channels')}"
        )
    return load_into(I3D(channels), state)
