"""I3D for OpenVINO in float32: the same features from less than half of the products.

The weights are those of ``i3d.py``. Each 3x3x3 convolution up to ``Mixed_4f``, and the 7x7x7 one,
is taken by Winograd's algorithm over time, the large ones up to ``Mixed_3c`` over rows as well
(``winograd.py``); what is left are convolutions and max-pools of single frames, which OpenVINO also
runs faster than those in three dimensions. Features differ from the direct network's by rounding
alone.

PyTorch gains nothing by it, and in bfloat16 the transform would lose digits: both run ``I3D``.

Convolution over time with fewer products, after Winograd.

Several neighbouring outputs of a convolution share inputs, so a tile of m outputs under r taps
needs m + r - 1 products instead of m r: transform the inputs, multiply, transform back (Lavin and
Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016). Here a product is a whole
two-dimensional convolution of one frame: frames are added and scaled as wholes, which costs little.
That convolution may be taken in the same way over the rows of the frame, which halves the products
once more. Rounding stays near that of the direct convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.backbones.base import BackboneSpec
from oddframe.backbones.engines import Runner, Runtime
from oddframe.backbones.visual.i3d import (
    I3D,
    I3D_FEATURE_DIM,
    Mixed,
    Unit,
    pool_features,
    same_padding,
)
from oddframe.video.snippets.crops import region_grid
from oddframe.video.snippets.transforms import Preprocessing

TILE = 4  # Outputs at a time, frames or rows.
# Where the polynomials are evaluated, by the number of taps, infinity aside. Powers of two are
# exact in floating point; numbers with their reciprocals keep the matrices' entries small.
_POINTS = {3: (0.0, 1.0, -1.0, 0.5, -2.0), 4: (0.0, 1.0, -1.0, 0.5, -0.5, 2.0)}
_ONE = 1  # Index of the point 1 in both.


@dataclass(frozen=True)
class WinogradTransform:
    """Matrices of Winograd's F(m, r): ``output @ ((taps @ w) * (inputs @ x))`` correlates x with w.

    Attributes:
        inputs: (m + r - 1, m + r - 1).
        taps: (m + r - 1, r).
        output: (m, m + r - 1).
    """

    inputs: NDArray[np.float64]
    taps: NDArray[np.float64]
    output: NDArray[np.float64]


def winograd_transform(outputs: int, points: Sequence[float]) -> WinogradTransform:
    """F(outputs, r) from r + outputs - 2 different points and infinity (Toom and Cook)."""
    at = np.asarray(points, dtype=np.float64)
    taps = len(at) + 2 - outputs
    others = [np.delete(at, i) for i in range(len(at))]
    scale = [np.prod(p - rest) for p, rest in zip(at, others, strict=True)]
    inputs = np.zeros((len(at) + 1, len(at) + 1))
    for row, rest in zip(inputs, others, strict=False):
        row[:-1] = np.poly(rest)[::-1]
    inputs[-1] = np.poly(at)[::-1]
    return WinogradTransform(
        inputs,
        np.vstack([np.vander(at, taps, increasing=True) / np.c_[scale], np.eye(taps)[-1:]]),
        np.hstack([np.vander(at, outputs, increasing=True).T, np.eye(outputs)[:, -1:]]),
    )


class TimeConv(nn.Module):
    """What a convolution and a ReLU give for each frame, ``TILE`` frames at a time.

    The convolution looks at the frame before and as many behind as it has taps left, with zeros
    before the first and behind the last, as a 3x3x3 convolution with padding 1 does.

    Args:
        weight: (out, in, taps, height, width), 3 or 4 taps.
        bias: (out,).
        stride: Over height and width.
        padding: Of height and width.
        rows: Take ``TILE`` rows at a time, too; for 3x3 cells, stride 1 and padding 1.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, stride: int = 1, padding: int = 0, *, rows: bool = False
    ) -> None:
        super().__init__()
        self.rows = rows
        self.matrices, products = _tap_products(weight)
        # Point 1 goes into each output once, and so does a bias that is given to it.
        biases = [bias.detach() if k == _ONE else None for k in range(len(products))]
        self.products = nn.ModuleList(
            RowConv(w, b) if rows else FrameConv(w, b, stride, padding)
            for w, b in zip(products, biases, strict=True)
        )

    def forward(self, frames: Sequence[Tensor]) -> Tensor:
        """Frames (1, in, height, width), in time's order -> (frames, out, ...), see
        ``in_tile_order``.

        Their number must be a multiple of ``TILE``.
        """
        behind = [None] * (len(self.products) - TILE)
        padded = [None, *frames, *behind]
        starts = range(0, len(frames), TILE)
        products = []
        for row, product in zip(self.matrices.inputs, self.products, strict=True):
            tiles = [_weighted_sum(row, padded[t : t + len(row)]) for t in starts]
            products.append(product(_concat(tiles)))
        out = _concat([F.relu(_weighted_sum(row, products)) for row in self.matrices.output])
        return _rows_in_order(out, int(frames[0].shape[2])) if self.rows else out


class FrameConv(nn.Module):
    """A convolution of frames, with these (out, in, height, width) weights and this bias."""

    def __init__(self, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.contiguous())
        self.bias = None if bias is None else nn.Parameter(bias.clone())
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)


class RowConv(nn.Module):
    """A 3x3 convolution with padding 1, ``TILE`` rows at a time.

    (N, in, height, width) -> (N, out, tiles, ``TILE`` width): a tile's rows side by side, so that
    the rows need be put in order once only, see ``_rows_in_order``.

    Args:
        weight: (out, in, 3, 3).
        bias: (out,).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.matrices, products = _tap_products(weight)
        self.products = nn.ParameterList(nn.Parameter(p[:, :, None].contiguous()) for p in products)
        self.bias = None if bias is None else nn.Parameter(bias.clone())
        # The sums of rows are convolutions, too, of each channel by itself.
        sums = torch.from_numpy(self.matrices.inputs).float()[:, None, None, :, None]
        self.sums = nn.Parameter(sums.repeat(1, weight.shape[1], 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        if short := -int(x.shape[2]) % TILE:
            x = F.pad(x, (0, 0, 0, short))
        products = []
        for k, weight in enumerate(self.products):
            total = F.conv2d(x, self.sums[k], None, (TILE, 1), (1, 0), groups=self.sums.shape[1])
            bias = self.bias if k == _ONE else None
            products.append(F.conv2d(total, weight, bias, padding=(0, 1)))
        return torch.cat([_weighted_sum(row, products) for row in self.matrices.output], dim=3)


def _tap_products(weight: Tensor) -> tuple[WinogradTransform, Tensor]:
    """(out, in, taps, ...) -> F(``TILE``, taps), and what each product multiplies by."""
    matrices = winograd_transform(TILE, _POINTS[weight.shape[2]])
    taps = torch.from_numpy(matrices.taps)
    products = torch.einsum("kt,oct...->koc...", taps, weight.detach().double())
    return matrices, products.float()


def _rows_in_order(x: Tensor, height: int) -> Tensor:
    """What ``RowConv`` gives -> (N, out, height, width)."""
    # With channels last, as OpenVINO has them, nothing is moved.
    n, channels, tiles, side = (int(size) for size in x.shape)
    x = x.permute(0, 2, 3, 1).reshape(n, tiles * TILE, side // TILE, channels)
    return x[:, :height].permute(0, 3, 1, 2)


def in_tile_order(frames: Sequence[Tensor]) -> Tensor:
    """Frames (1, ...) in time's order -> one tensor, frames t, t + ``TILE``, ... side by side.

    A tile's outputs come in that order, so that they need not be copied.
    """
    return _concat([x for first in range(TILE) for x in frames[first::TILE]])


def in_time_order(x: Tensor) -> list[Tensor]:
    """The frames of ``in_tile_order``, in time's order; 1 to ``TILE`` frames, or a multiple of
    it.
    """
    frames, tiles = torch.split(x, 1), -(-x.shape[0] // TILE)
    return [frames[(t % TILE) * tiles + t // TILE] for t in range(len(frames))]


def _concat(tensors: list[Tensor]) -> Tensor:
    return torch.cat(tensors) if len(tensors) > 1 else tensors[0]


def _weighted_sum(row: NDArray[np.float64], tensors: Sequence[Tensor | None]) -> Tensor:
    """Sum of the tensors times the row's entries; None is all zeros."""
    total: Tensor | None = None
    for factor, x in zip(row.tolist(), tensors, strict=True):
        if x is None or factor == 0:
            continue
        term = x if abs(factor) == 1 else x * abs(factor)
        if total is None:
            total = term if factor > 0 else -term
        else:
            total = total + term if factor > 0 else total - term
    assert total is not None, "a row of zeros"
    return total


FRAMES = 16  # Of a snippet; its halves and quarters are whole tiles.
# Part of the name that the converted network is kept under. Change it with the network: what was
# kept before would be taken for it.
CACHE_SUFFIX = "-rows"


def i3d_runner(
    kind: BackboneSpec, network: I3D, weights: Path, preprocessing: Preprocessing, runtime: Runtime
) -> Runner:
    """``kind.run`` of ``network``, in the form that is fastest where it runs.

    Returns:
        (N, channels, frames, height, width) -> features (N, 1024), of R regions (N R, 1024).
    """
    network.regions = region_grid(preprocessing.crops)
    variant = "" if network.regions is None else "-regions{}x{}".format(*network.regions)
    width, height = preprocessing.crop_size
    example = torch.zeros(1, network.channels, preprocessing.snippet_frames, height, width)
    direct = runtime.engine != "openvino" or runtime.precision != "float32"
    if direct or preprocessing.snippet_frames != FRAMES:
        run = kind.run(network, example, weights, runtime, variant=variant)
    else:
        fast = FastI3D(network)
        run = kind.run(
            fast, example, weights, runtime, batch_of_one=True, variant=variant + CACHE_SUFFIX
        )
    return lambda x: run(x).reshape(-1, I3D_FEATURE_DIM)


class FastI3D(nn.Module):
    """The features of an ``I3D``, of one snippet: (1, channels, 16, height, width) -> (1, 1024).

    Its regions are that network's.

    Between its layers, frames stand where a batch does, in the order of ``in_tile_order``.
    """

    def __init__(self, network: I3D) -> None:
        super().__init__()
        trunk = network.trunk
        self.stem = _stride_2(cast(Unit, trunk.Conv3d_1a_7x7))
        self.narrow = FrameUnit(cast(Unit, trunk.Conv3d_2b_1x1))
        self.wide = _stride_1(cast(Unit, trunk.Conv3d_2c_3x3), rows=True)
        # Tiles of rows in ``fourth`` would gain little, and take a second more to load.
        self.third = nn.Sequential(*(FrameMixed(cast(Mixed, trunk[i]), rows=True) for i in (5, 6)))
        self.fourth = nn.Sequential(*(FrameMixed(cast(Mixed, trunk[i])) for i in range(8, 13)))
        # Two frames are no tile: Mixed_5b and _5c stay as they are.
        self.rest = trunk[13:]
        self.regions = network.regions

    def forward(self, x: Tensor) -> Tensor:
        x = self.narrow(_pool(self.stem(_frame_pairs(x)), 3))
        x = self.third(_pool(self.wide(in_time_order(x)), 3))
        x = self.fourth(_pool_time(_pool(x, 3)))
        x = torch.stack(in_time_order(x), dim=2)
        return pool_features(self.rest(x), self.regions)


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
        self.b1_narrow, self.b1 = FrameUnit(units[1]), _stride_1(units[2], rows=rows)
        self.b2_narrow, self.b2 = FrameUnit(units[3]), _stride_1(units[4])

    def forward(self, x: Tensor) -> Tensor:
        b1, b2 = (
            self.b1(in_time_order(self.b1_narrow(x))),
            self.b2(in_time_order(self.b2_narrow(x))),
        )
        return torch.cat([self.b0(x), b1, b2, self.b3(_pool_3x3x3(x))], dim=1)


def _stride_1(unit: Unit, *, rows: bool = False) -> TimeConv:
    """A 3x3x3 unit of stride 1; ``rows`` as for ``TimeConv``."""
    bias = cast(Tensor, unit.conv.bias)
    return TimeConv(unit.conv.weight, bias, padding=1, rows=rows)


def _stride_2(unit: Unit) -> TimeConv:
    """A 7x7x7 unit of stride 2, for the frames of ``_frame_pairs``."""
    # With an eighth tap of zero, pairs of taps meet pairs of frames: twice the channels, half the
    # taps, and over time no stride.
    weight = F.pad(unit.conv.weight.detach(), (0, 0, 0, 0, 0, 1))
    out, channels, _, height, width = weight.shape
    pairs = weight.reshape(out, channels, 4, 2, height, width).transpose(2, 3).flatten(1, 2)
    return TimeConv(pairs, cast(Tensor, unit.conv.bias), stride=2)


def _frame_pairs(x: Tensor) -> Sequence[Tensor]:
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
    frames = in_time_order(x)
    largest = [torch.maximum(*frames[t : t + 2]) for t in range(0, len(frames), 2)]
    behind = [torch.maximum(m, x) for m, x in zip(largest, frames[2::2], strict=False)]
    return in_tile_order([*behind, largest[-1]])


def _pool_3x3x3(x: Tensor) -> Tensor:
    """Max-pooling of 3x3x3 cells, stride 1, for an even number of frames."""
    frames = in_time_order(F.max_pool2d(x, 3, 1, 1))
    pairs = [torch.maximum(*frames[t : t + 2]) for t in range(0, len(frames), 2)]
    out = []
    for t in range(len(frames)):
        other = t - 1 if t % 2 == 0 else t + 1
        inside = 0 <= other < len(frames)
        out.append(torch.maximum(pairs[t // 2], frames[other]) if inside else pairs[t // 2])
    return in_tile_order(out)
