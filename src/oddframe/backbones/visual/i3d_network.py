"""I3D, Inception-v1 inflated to three dimensions, and its weights in the layouts that are in use.

Carreira and Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset"
(CVPR 2017). The feature of a snippet is the mean of the endpoint ``Mixed_5c`` over time and space.
The network is written for inference: batch normalisation is folded into each convolution. Padding
is TensorFlow's SAME, which is asymmetric where the stride does not divide the size.

oddframe's layout of the weights is ``trunk.<unit>.conv.{weight,bias}`` and
``logits.{weight,bias}``, with the names of units in the paper's TensorFlow code. Two other layouts
can be read: those of the PyTorch ports with which published features were made.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.backbones.base import overlapping_windows, same_padding
from oddframe.backbones.visual.i3d import I3D_FEATURE_DIM, KINETICS_CLASSES, check_channels
from oddframe.backbones.weights import fold_named_batch_norm, load_weights, read_state_dict
from oddframe.errors import InputError


def _pad_same(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    # Zeros are right for max-pooling, too: TensorFlow pads with -inf so that padding is never the
    # maximum, but each max-pool follows a ReLU, so no value is below 0.
    pads: list[int] = []
    for size, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        pads += same_padding(int(size), k, s)
    return F.pad(x, pads) if any(pads) else x


class Unit(nn.Module):
    """Convolution (bias holds the folded batch normalisation), then ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1):
        super().__init__()
        self.kernel, self.stride = (kernel,) * 3, (stride,) * 3
        # With stride 1 padding is symmetric, so the convolution can add it without a copy.
        self.pad_first = stride > 1
        padding = 0 if self.pad_first else kernel // 2
        self.conv = nn.Conv3d(in_channels, out_channels, kernel, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        if self.pad_first:
            x = _pad_same(x, self.kernel, self.stride)
        return F.relu(self.conv(x))


class MaxPoolSame(nn.Module):
    """Max-pooling with SAME padding; the input must not be negative."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]):
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool3d(_pad_same(x, self.kernel, self.stride), self.kernel, self.stride)


class Mixed(nn.Module):
    """Inception module: four branches, concatenated along the channels.

    Output channels: 1x1 | 1x1 -> 3x3 | 1x1 -> 3x3 | max-pool -> 1x1.
    """

    def __init__(self, in_channels: int, out: tuple[int, int, int, int, int, int]):
        super().__init__()
        self.b0 = Unit(in_channels, out[0])
        self.b1 = nn.Sequential(Unit(in_channels, out[1]), Unit(out[1], out[2], 3))
        self.b2 = nn.Sequential(Unit(in_channels, out[3]), Unit(out[3], out[4], 3))
        self.b3 = Unit(in_channels, out[5])

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.max_pool3d(x, kernel_size=3, stride=1, padding=1)
        return torch.cat([self.b0(x), self.b1(x), self.b2(x), self.b3(pooled)], dim=1)


def pool_features(endpoint: Tensor, regions: tuple[int, int] | None) -> Tensor:
    """Average the endpoint ``Mixed_5c`` (N, D, t, h, w) over time and space, to (N, D).

    With ``regions``, rows and columns of a grid of windows that overlap their neighbours by half
    and cover the picture: (N, R, D) for R regions, row by row.
    """
    if regions is None:
        return endpoint.mean(dim=(2, 3, 4))
    x = endpoint.mean(dim=2)
    rows, columns = (
        overlapping_windows(int(size), n) for size, n in zip(x.shape[2:], regions, strict=True)
    )
    boxes = [x[:, :, row, column] for row in rows for column in columns]
    return torch.stack([box.mean(dim=(2, 3)) for box in boxes], dim=1)


class I3D(nn.Module):
    """I3D up to ``Mixed_5c``, and its Kinetics classifier.

    The input is (N, channels, frames, height, width) in [-1, 1], with 3 channels of RGB or 2 of
    optical flow; any size from 16 frames of 32x32 up. For ``regions`` see ``pool_features``.
    """

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.channels = channels
        self.regions: tuple[int, int] | None = None
        layers = {
            "Conv3d_1a_7x7": Unit(channels, 64, 7, 2),
            "MaxPool3d_2a_3x3": MaxPoolSame((1, 3, 3), (1, 2, 2)),
            "Conv3d_2b_1x1": Unit(64, 64, 1),
            "Conv3d_2c_3x3": Unit(64, 192, 3),
            "MaxPool3d_3a_3x3": MaxPoolSame((1, 3, 3), (1, 2, 2)),
            "Mixed_3b": Mixed(192, (64, 96, 128, 16, 32, 32)),
            "Mixed_3c": Mixed(256, (128, 128, 192, 32, 96, 64)),
            "MaxPool3d_4a_3x3": MaxPoolSame((3, 3, 3), (2, 2, 2)),
            "Mixed_4b": Mixed(480, (192, 96, 208, 16, 48, 64)),
            "Mixed_4c": Mixed(512, (160, 112, 224, 24, 64, 64)),
            "Mixed_4d": Mixed(512, (128, 128, 256, 24, 64, 64)),
            "Mixed_4e": Mixed(512, (112, 144, 288, 32, 64, 64)),
            "Mixed_4f": Mixed(528, (256, 160, 320, 32, 128, 128)),
            "MaxPool3d_5a_2x2": MaxPoolSame((2, 2, 2), (2, 2, 2)),
            "Mixed_5b": Mixed(832, (256, 160, 320, 32, 128, 128)),
            "Mixed_5c": Mixed(832, (384, 192, 384, 48, 128, 128)),
        }
        self.trunk = nn.Sequential(OrderedDict(layers))
        self.logits = nn.Conv3d(I3D_FEATURE_DIM, KINETICS_CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute features (N, 1024), or (N, R, 1024) with R regions."""
        # ``Mixed_5c`` is (N, 1024, frames / 8, height / 32, width / 32), rounded up.
        return pool_features(self.trunk(x), self.regions)


# Branches of an Inception module: oddframe's name -> the port's name.
_PIERGIAJ_BRANCHES = {
    "b0": "b0", "b1.0": "b1a", "b1.1": "b1b", "b2.0": "b2a", "b2.1": "b2b", "b3": "b3b",
}  # fmt: skip
_HASSONY_BRANCHES = {
    "b0": "branch_0", "b1.0": "branch_1.0", "b1.1": "branch_1.1", "b2.0": "branch_2.0",
    "b2.1": "branch_2.1", "b3": "branch_3.1",
}  # fmt: skip


def unit_names() -> list[str]:
    """List the units in the order of the network: ``Conv3d_1a_7x7``, ``Mixed_3b.b1.0`` ..."""
    with torch.device("meta"):
        keys = I3D().trunk.state_dict()
    return [key.removesuffix(".conv.weight") for key in keys if key.endswith(".conv.weight")]


def _branch_name(unit: str, branches: Mapping[str, str]) -> str:
    module, _, branch = unit.partition(".")
    return f"{module}.{branches[branch]}" if branch else module


def convert_port(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert the state dict of either PyTorch port to oddframe's layout.

    The classifier (logits) may be missing, because features only need the trunk.
    """
    if "Conv3d_1a_7x7.conv3d.weight" in state:
        branches, bn, eps, logits = _PIERGIAJ_BRANCHES, "bn", 1e-3, "logits.conv3d"
    elif "conv3d_1a_7x7.conv3d.weight" in state:
        branches, bn, eps = _HASSONY_BRANCHES, "batch3d", 1e-5
        logits = "conv3d_0c_1x1.conv3d"
    else:
        raise InputError(
            "not I3D weights in a known layout: neither 'Conv3d_1a_7x7.conv3d.weight' "
            "nor 'conv3d_1a_7x7.conv3d.weight' is in it"
        )
    out: dict[str, Tensor] = {}
    try:
        for unit in unit_names():
            name = _branch_name(unit, branches)
            if bn == "batch3d":
                name = name[0].lower() + name[1:]
            weight, bias = fold_named_batch_norm(state, f"{name}.conv3d", f"{name}.{bn}", eps)
            out[f"trunk.{unit}.conv.weight"], out[f"trunk.{unit}.conv.bias"] = weight, bias
    except KeyError as missing:
        raise InputError(f"I3D weights lack the tensor {missing}") from None
    if f"{logits}.weight" in state:
        out["logits.weight"] = state[f"{logits}.weight"].float()
        out["logits.bias"] = state[f"{logits}.bias"].float()
    return out


def read_i3d(path: Path, channels: int = 3) -> I3D:
    """Read I3D for 3 channels (RGB) or 2 (optical flow), with weights in any known layout."""
    state = read_state_dict(path, "I3D")
    if "trunk.Conv3d_1a_7x7.conv.weight" not in state:
        state = convert_port(state)
    check_channels(path, state["trunk.Conv3d_1a_7x7.conv.weight"].shape[1], channels)
    return load_weights(I3D(channels), state, "I3D", optional="logits.")
