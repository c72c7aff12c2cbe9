"""I3D with Winograd convolutions for OpenVINO in float32: less than half of the multiplications.

Neighbouring outputs of a convolution share inputs, so a tile of m outputs of a filter with r taps
needs m + r - 1 products instead of m r: transform the inputs, multiply, transform back (Lavin and
Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016). Along time, one product is a
two-dimensional convolution of a whole frame, and the transforms are cheap sums of frames. All 3x3x3
convolutions up to ``Mixed_4f`` and the 7x7x7 one use the algorithm along time, and the large ones
up to ``Mixed_3c`` along the rows of frames, too.

Features differ from those of ``I3D`` by rounding only. PyTorch gains nothing from it, and in
bfloat16 the transforms would lose digits: in both cases ``I3D`` runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.backbones.visual.i3d_network import (
    I3D,
    Mixed,
    Unit,
    pool_features,
    same_padding,
)

TILE = 4  # Outputs of a tile, frames or rows.
# Points at which the polynomials are evaluated, besides infinity, by the number of taps. Powers of
# two are exact in floating point; a number and its reciprocal keep the matrices' entries small.
_POINTS = {3: (0.0, 1.0, -1.0, 0.5, -2.0), 4: (0.0, 1.0, -1.0, 0.5, -0.5, 2.0)}
_POINT_ONE = 1  # Index of the point 1 in both.


@dataclass(frozen=True)
class WinogradTransform:
    """Matrices of Winograd's F(m, r), for m outputs of a filter with r taps.

    The correlation of x with w is ``output @ ((taps @ w) * (inputs @ x))``.
    """

    inputs: NDArray[np.float64]  # (m + r - 1, m + r - 1).
    taps: NDArray[np.float64]  # (m + r - 1, r).
    output: NDArray[np.float64]  # (m, m + r - 1).


def winograd_transform(outputs: int, points: Sequence[float]) -> WinogradTransform:
    """Compute F(outputs, r) from r + outputs - 2 different points and infinity (Toom and Cook)."""
    x = np.asarray(points, dtype=np.float64)
    taps = len(x) + 2 - outputs
    others = [np.delete(x, i) for i in range(len(x))]
    scale = [np.prod(point - rest) for point, rest in zip(x, others, strict=True)]
    inputs = np.zeros((len(x) + 1, len(x) + 1))
    for row, rest in zip(inputs, others, strict=False):
        row[:-1] = np.poly(rest)[::-1]
    inputs[-1] = np.poly(x)[::-1]
    return WinogradTransform(
        inputs,
        np.vstack([np.vander(x, taps, increasing=True) / np.c_[scale], np.eye(taps)[-1:]]),
        np.hstack([np.vander(x, outputs, increasing=True).T, np.eye(outputs)[:, -1:]]),
    )


class TimeConv(nn.Module):
    """A 3-D convolution and a ReLU, ``TILE`` frames at a time, with stride 1 along time.

    The weight is (out, in, 3 or 4 taps, height, width). Its first tap meets the previous frame, and
    there are zeros before the first frame and behind the last one. ``rows``: also compute ``TILE``
    rows at a time; only for 3x3 cells, stride 1 and padding 1.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, stride: int = 1, padding: int = 0, *, rows: bool = False
    ) -> None:
        super().__init__()
        self.rows = rows
        self.matrices, products = _tap_products(weight)
        # Each output contains the product of point 1 once, so the bias is added there.
        biases = [bias.detach() if k == _POINT_ONE else None for k in range(len(products))]
        self.products = nn.ModuleList(
            RowConv(w, b) if rows else FrameConv(w, b, stride, padding)
            for w, b in zip(products, biases, strict=True)
        )

    def forward(self, frames: Sequence[Tensor]) -> Tensor:
        """Convolve a multiple of ``TILE`` frames (1, in, height, width).

        Returns (frames, out, ...) in the order of ``in_tile_order``.
        """
        padded = [None, *frames, *[None] * (len(self.products) - TILE)]
        starts = range(0, len(frames), TILE)
        products = []
        for row, product in zip(self.matrices.inputs, self.products, strict=True):
            tiles = [_weighted_sum(row, padded[t : t + len(row)]) for t in starts]
            products.append(product(_concat(tiles)))
        out = _concat([F.relu(_weighted_sum(row, products)) for row in self.matrices.output])
        return _rows_in_order(out, int(frames[0].shape[2])) if self.rows else out


class FrameConv(nn.Module):
    """Two-dimensional convolution of frames, with given weights (out, in, height, width)."""

    def __init__(self, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.contiguous())
        self.bias = None if bias is None else nn.Parameter(bias.clone())
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)


class RowConv(nn.Module):
    """A 3x3 convolution with padding 1, ``TILE`` rows at a time.

    (N, in, height, width) -> (N, out, tiles, ``TILE`` width): the rows of a tile are concatenated;
    ``_rows_in_order`` puts them in order after the sums over time.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.matrices, products = _tap_products(weight)
        self.products = nn.ParameterList(nn.Parameter(p[:, :, None].contiguous()) for p in products)
        self.bias = None if bias is None else nn.Parameter(bias.clone())
        # The sums of rows are depthwise convolutions.
        sums = torch.from_numpy(self.matrices.inputs).float()[:, None, None, :, None]
        self.sums = nn.Parameter(sums.repeat(1, weight.shape[1], 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        if missing := -int(x.shape[2]) % TILE:
            x = F.pad(x, (0, 0, 0, missing))
        products = []
        for k, weight in enumerate(self.products):
            total = F.conv2d(x, self.sums[k], None, (TILE, 1), (1, 0), groups=self.sums.shape[1])
            bias = self.bias if k == _POINT_ONE else None
            products.append(F.conv2d(total, weight, bias, padding=(0, 1)))
        return torch.cat([_weighted_sum(row, products) for row in self.matrices.output], dim=3)


def _tap_products(weight: Tensor) -> tuple[WinogradTransform, Tensor]:
    """Compute F(``TILE``, taps) and the weights of each product, from (out, in, taps, ...)."""
    matrices = winograd_transform(TILE, _POINTS[weight.shape[2]])
    taps = torch.from_numpy(matrices.taps)
    products = torch.einsum("kt,oct...->koc...", taps, weight.detach().double())
    return matrices, products.float()


def _rows_in_order(x: Tensor, height: int) -> Tensor:
    """Bring the output of ``RowConv`` into the shape (N, out, height, width)."""
    # With OpenVINO's memory format, channels last, this copies nothing.
    n, channels, tiles, side = (int(size) for size in x.shape)
    x = x.permute(0, 2, 3, 1).reshape(n, tiles * TILE, side // TILE, channels)
    return x[:, :height].permute(0, 3, 1, 2)


def in_tile_order(frames: Sequence[Tensor]) -> Tensor:
    """Concatenate frames (1, ...): first the frames t = 0, ``TILE``, 2 ``TILE``, ..., then t + 1.

    The tiles of a ``TimeConv`` are computed in that order, so no frames need to be copied.
    """
    return _concat([x for first in range(TILE) for x in frames[first::TILE]])


def in_time_order(x: Tensor) -> list[Tensor]:
    """Undo ``in_tile_order``, for 1 to ``TILE`` frames or a multiple of ``TILE``."""
    frames, tiles = torch.split(x, 1), -(-x.shape[0] // TILE)
    return [frames[(t % TILE) * tiles + t // TILE] for t in range(len(frames))]


def _concat(tensors: list[Tensor]) -> Tensor:
    return torch.cat(tensors) if len(tensors) > 1 else tensors[0]


def _weighted_sum(row: NDArray[np.float64], tensors: Sequence[Tensor | None]) -> Tensor:
    """Sum the tensors, weighted by the entries of ``row``; None stands for zeros."""
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


FRAMES = 16  # Of a snippet: 16, 8 and 4 frames are whole tiles.
# Part of the converted network's name in the cache. Change it whenever the network changes, or the
# old network will be read from the cache.
CACHE_SUFFIX = "-rows"


class FastI3D(nn.Module):
    """I3D with Winograd convolutions: (1, channels, 16, height, width) -> features of ``I3D``.

    Between the layers the batch axis holds the frames, in the order of ``in_tile_order``.
    """

    def __init__(self, network: I3D) -> None:
        super().__init__()
        trunk = network.trunk
        self.stem = _convert_7x7x7(cast(Unit, trunk.Conv3d_1a_7x7))
        self.narrow = FrameUnit(cast(Unit, trunk.Conv3d_2b_1x1))
        self.wide = _convert_3x3x3(cast(Unit, trunk.Conv3d_2c_3x3), rows=True)
        # Tiles of rows in ``fourth`` would gain little, and loading would take a second more.
        self.third = nn.Sequential(*(FrameMixed(cast(Mixed, trunk[i]), rows=True) for i in (5, 6)))
        self.fourth = nn.Sequential(*(FrameMixed(cast(Mixed, trunk[i])) for i in range(8, 13)))
        # Mixed_5b and Mixed_5c stay as they are, because two frames are no tile.
        self.rest = trunk[13:]
        self.regions = network.regions

    def forward(self, x: Tensor) -> Tensor:
        x = self.narrow(_pool(self.stem(_frame_pairs(x))))
        x = self.third(_pool(self.wide(in_time_order(x))))
        x = self.fourth(_pool_time(_pool(x)))
        x = torch.stack(in_time_order(x), dim=2)
        return pool_features(self.rest(x), self.regions)


class FrameUnit(nn.Module):
    """A 1x1x1 ``Unit`` for frames."""

    def __init__(self, unit: Unit) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(unit.conv.weight.detach()[:, :, 0]), unit.conv.bias

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(F.conv2d(x, self.weight, self.bias))


class FrameMixed(nn.Module):
    """A ``Mixed`` for frames; ``rows`` as in ``TimeConv``."""

    def __init__(self, mixed: Mixed, *, rows: bool = False) -> None:
        super().__init__()
        units = [cast(Unit, u) for u in (mixed.b0, *mixed.b1, *mixed.b2, mixed.b3)]
        self.b0, self.b3 = FrameUnit(units[0]), FrameUnit(units[5])
        self.b1_narrow, self.b1 = FrameUnit(units[1]), _convert_3x3x3(units[2], rows=rows)
        self.b2_narrow, self.b2 = FrameUnit(units[3]), _convert_3x3x3(units[4])

    def forward(self, x: Tensor) -> Tensor:
        b1 = self.b1(in_time_order(self.b1_narrow(x)))
        b2 = self.b2(in_time_order(self.b2_narrow(x)))
        return torch.cat([self.b0(x), b1, b2, self.b3(_pool_3x3x3(x))], dim=1)


def _convert_3x3x3(unit: Unit, *, rows: bool = False) -> TimeConv:
    """Convert a 3x3x3 unit with stride 1; ``rows`` as in ``TimeConv``."""
    bias = cast(Tensor, unit.conv.bias)
    return TimeConv(unit.conv.weight, bias, padding=1, rows=rows)


def _convert_7x7x7(unit: Unit) -> TimeConv:
    """Convert the 7x7x7 unit with stride 2, for the input of ``_frame_pairs``."""
    # With an eighth tap of zeros, pairs of taps meet pairs of frames. So the convolution has twice
    # the channels, half the taps, and stride 1 along time.
    weight = F.pad(unit.conv.weight.detach(), (0, 0, 0, 0, 0, 1))
    out, channels, _, height, width = weight.shape
    pairs = weight.reshape(out, channels, 4, 2, height, width).transpose(2, 3).flatten(1, 2)
    return TimeConv(pairs, cast(Tensor, unit.conv.bias), stride=2)


def _frame_pairs(x: Tensor) -> Sequence[Tensor]:
    """(1, C, 16, H, W) -> 8 pairs of frames (1, 2 C, ...), padded for the 7x7x7 unit."""
    (top, bottom), (left, right) = (same_padding(int(size), 7, 2) for size in x.shape[3:])
    x = F.pad(x, (left, right, top, bottom))
    return [x[:, :, t : t + 2].flatten(1, 2) for t in range(0, FRAMES, 2)]


def _pool(x: Tensor) -> Tensor:
    """Apply ``MaxPoolSame`` along height and width, kernel 3 and stride 2."""
    # ceil_mode pads the odd cell behind. In a trace sizes are tensors, so convert them by int().
    before = [same_padding(int(size), 3, 2)[0] for size in x.shape[2:]]
    return F.max_pool2d(x, 3, 2, before, ceil_mode=True)


def _pool_time(x: Tensor) -> Tensor:
    """Apply ``MaxPoolSame`` along time, kernel 3 and stride 2, to an even number of frames."""
    frames = in_time_order(x)
    largest = [torch.maximum(*frames[t : t + 2]) for t in range(0, len(frames), 2)]
    behind = [torch.maximum(m, x) for m, x in zip(largest, frames[2::2], strict=False)]
    return in_tile_order([*behind, largest[-1]])


def _pool_3x3x3(x: Tensor) -> Tensor:
    """Max-pool 3x3x3 cells with stride 1, for an even number of frames."""
    frames = in_time_order(F.max_pool2d(x, 3, 1, 1))
    pairs = [torch.maximum(*frames[t : t + 2]) for t in range(0, len(frames), 2)]
    out = []
    for t in range(len(frames)):
        other = t - 1 if t % 2 == 0 else t + 1
        inside = 0 <= other < len(frames)
        out.append(torch.maximum(pairs[t // 2], frames[other]) if inside else pairs[t // 2])
    return in_tile_order(out)
