"""I3D for OpenVINO in float32: the same features from less than half of the products.

The weights are those of ``i3d.py``. Each 3x3x3 convolution up to ``Mixed_4f``, and the 7x7x7 one,
is taken by Winograd's algorithm over time, the large ones up to ``Mixed_3c`` over rows as well
(``winograd.py``); what is left are convolutions and max-pools of single frames, which OpenVINO also
runs faster than those in three dimensions. Features differ from the direct network's by rounding
alone.

PyTorch gains nothing by it, and in bfloat16 the transform would lose digits: both run ``I3D``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.backbones.base import Kind
from oddframe.backbones.engines import Choice, Run
from oddframe.backbones.i3d import FEATURE_DIM, I3D, Mixed, Unit, pooled, same_padding
from oddframe.backbones.winograd import TimeConv, apart, together
from oddframe.video.preprocessing import Preprocessing
from oddframe.video.views import regions_of

FRAMES = 16  # Of a snippet; its halves and quarters are whole tiles.
# Part of the name that the converted network is kept under. Change it with the network: what was
# kept before would be taken for it.
FORM = "-rows"


def load_i3d(kind: Kind, network: I3D, weights: Path, how: Preprocessing, choice: Choice) -> Run:
    """``kind.run`` of ``network``, in the form that is fastest where it runs.

    Returns:
        (N, channels, frames, height, width) -> features (N, 1024), of R regions (N R, 1024).
    """
    network.regions = regions_of(how.crops)
    variant = "" if network.regions is None else "-regions{}x{}".format(*network.regions)
    width, height = how.crop_size
    example = torch.zeros(1, network.channels, how.snippet_frames, height, width)
    direct = choice.engine != "openvino" or choice.precision != "float32"
    if direct or how.snippet_frames != FRAMES:
        run = kind.run(network, example, weights, choice, variant=variant)
    else:
        fast = FastI3D(network)
        run = kind.run(fast, example, weights, choice, alone=True, variant=variant + FORM)
    return lambda x: run(x).reshape(-1, FEATURE_DIM)


class FastI3D(nn.Module):
    """The features of an ``I3D``, of one snippet: (1, channels, 16, height, width) -> (1, 1024).

    Its regions are that network's.

    Between its layers, frames stand where a batch does, in the order of ``together``.
    """

    def __init__(self, network: I3D) -> None:
        super().__init__()
        trunk = network.trunk
        self.stem = _halving(cast(Unit, trunk.Conv3d_1a_7x7))
        self.narrow = FrameUnit(cast(Unit, trunk.Conv3d_2b_1x1))
        self.wide = _steady(cast(Unit, trunk.Conv3d_2c_3x3), rows=True)
        # Tiles of rows in ``fourth`` would gain little, and take a second more to load.
        self.third = nn.Sequential(*(FrameMixed(cast(Mixed, trunk[i]), rows=True) for i in (5, 6)))
        self.fourth = nn.Sequential(*(FrameMixed(cast(Mixed, trunk[i])) for i in range(8, 13)))
        # Two frames are no tile: Mixed_5b and _5c stay as they are.
        self.rest = trunk[13:]
        self.regions = network.regions

    def forward(self, x: Tensor) -> Tensor:
        x = self.narrow(_pool(self.stem(_pairs(x)), 3))
        x = self.third(_pool(self.wide(apart(x)), 3))
        x = self.fourth(_pool_time(_pool(x, 3)))
        x = torch.stack(apart(x), dim=2)
        return pooled(self.rest(x), self.regions)


class FrameUnit(nn.Module):
    """A 1x1x1 ``Unit``, on frames."""

    def __init__(self, unit: Unit) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(unit.conv.weight.detach()[:, :, 0]), unit.conv.bias

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(F.conv2d(x, self.weight, self.bias))


class FrameMixed(nn.Module):
    """A ``Mixed``, on frames; ``rows`` as for ``TimeConv``."""

    def __init__(self, mixed: Mixed, *, rows: bool = False) -> None:
        super().__init__()
        units = [cast(Unit, u) for u in (mixed.b0, *mixed.b1, *mixed.b2, mixed.b3)]
        self.b0, self.b3 = FrameUnit(units[0]), FrameUnit(units[5])
        self.b1_narrow, self.b1 = FrameUnit(units[1]), _steady(units[2], rows=rows)
        self.b2_narrow, self.b2 = FrameUnit(units[3]), _steady(units[4])

    def forward(self, x: Tensor) -> Tensor:
        b1, b2 = self.b1(apart(self.b1_narrow(x))), self.b2(apart(self.b2_narrow(x)))
        return torch.cat([self.b0(x), b1, b2, self.b3(_pool_around(x))], dim=1)


def _steady(unit: Unit, *, rows: bool = False) -> TimeConv:
    """A 3x3x3 unit of stride 1; ``rows`` as for ``TimeConv``."""
    bias = cast(Tensor, unit.conv.bias)
    return TimeConv(unit.conv.weight, bias, padding=1, rows=rows)


def _halving(unit: Unit) -> TimeConv:
    """A 7x7x7 unit of stride 2, for the frames of ``_pairs``."""
    # With an eighth tap of zero, pairs of taps meet pairs of frames: twice the channels, half the
    # taps, and over time no stride.
    weight = F.pad(unit.conv.weight.detach(), (0, 0, 0, 0, 0, 1))
    out, channels, _, height, width = weight.shape
    pairs = weight.reshape(out, channels, 4, 2, height, width).transpose(2, 3).flatten(1, 2)
    return TimeConv(pairs, cast(Tensor, unit.conv.bias), stride=2)


def _pairs(x: Tensor) -> Sequence[Tensor]:
    """(1, C, 16, H, W) -> 8 frames (1, 2 C, ...), channel by channel; padded for the 7x7x7 unit."""
    (top, bottom), (left, right) = (same_padding(int(size), 7, 2) for size in x.shape[3:])
    x = F.pad(x, (left, right, top, bottom))
    return [x[:, :, t : t + 2].flatten(1, 2) for t in range(0, FRAMES, 2)]


def _pool(x: Tensor, kernel: int) -> Tensor:
    """``MaxPoolSame`` over height and width, stride 2."""
    # Rounding the size up is the odd cell behind. A trace has tensors for sizes; int ends that.
    before = [same_padding(int(size), kernel, 2)[0] for size in x.shape[2:]]
    return F.max_pool2d(x, kernel, 2, before, ceil_mode=True)


def _pool_time(x: Tensor) -> Tensor:
    """``MaxPoolSame`` over time, kernel 3 and stride 2, for an even number of frames."""
    frames = apart(x)
    largest = [torch.maximum(*frames[t : t + 2]) for t in range(0, len(frames), 2)]
    behind = [torch.maximum(m, x) for m, x in zip(largest, frames[2::2], strict=False)]
    return together([*behind, largest[-1]])


def _pool_around(x: Tensor) -> Tensor:
    """Max-pooling of 3x3x3 cells, stride 1, for an even number of frames."""
    frames = apart(F.max_pool2d(x, 3, 1, 1))
    pairs = [torch.maximum(*frames[t : t + 2]) for t in range(0, len(frames), 2)]
    out = []
    for t in range(len(frames)):
        other = t - 1 if t % 2 == 0 else t + 1
        inside = 0 <= other < len(frames)
        out.append(torch.maximum(pairs[t // 2], frames[other]) if inside else pairs[t // 2])
    return together(out)
