"""I3D with Winograd convolutions for OpenVINO: less than half of the multiplications.

Neighbouring outputs of a convolution share inputs, so a tile of m outputs of a filter with r taps
needs m + r - 1 products instead of m r: transform the inputs, multiply, transform back (Lavin and
Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016). Along time, one product is a
two-dimensional convolution of a whole frame, and the transforms are cheap sums of frames. All 3x3x3
convolutions up to ``Mixed_4f`` and the 7x7x7 one use the algorithm along time, and the large ones
up to ``Mixed_3c`` along the rows of frames, too.

Features differ from those of the direct form (``i3d_graph``) by rounding only; in bfloat16, too,
hardly more than the direct form's own (benchmarks/RESULTS.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openvino import opset13 as ops

from oddframe.backbones import graph as g
from oddframe.backbones.graph import FloatWeights, Node, Weights
from oddframe.backbones.visual.i3d_graph import MIXED_SIZES, last_layers, take_unit

TILE = 4  # Outputs of a tile, frames or rows.
FRAMES = 16  # Of a snippet: 16, 8 and 4 frames are whole tiles.
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


def fast_i3d_graph(
    weights: Weights, shape: tuple[int, ...], regions: tuple[int, int] | None
) -> Any:
    """As ``i3d_graph``, for snippets of 16 frames.

    Between the layers the batch axis holds the frames, in the order of ``in_tile_order``.
    """
    start = g.graph_input(*shape)
    weight, bias = take_unit(weights, "Conv3d_1a_7x7", 64, shape[1], 7)
    x = _pool(time_convolution(_frame_pairs(start), _pairs_of_taps(weight), bias, stride=2))
    x = _frame_unit(weights, x, "Conv3d_2b_1x1", 64)
    weight, bias = take_unit(weights, "Conv3d_2c_3x3", 192, 64, 3)
    x = _pool(time_convolution(in_time_order(x), weight, bias, rows=True))
    # Tiles of rows in ``Mixed_4`` would gain little, and loading would take a second more.
    for name in ("Mixed_3b", "Mixed_3c"):
        x = _frame_mixed(weights, x, name, rows=True)
    x = _pool_time(_pool(x))
    for name in ("Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f"):
        x = _frame_mixed(weights, x, name)
    # Mixed_5b and Mixed_5c stay as they are, because two frames are no tile.
    frames = [g.reshape(each, *_with_time(each)) for each in in_time_order(x)]
    return last_layers(weights, g.concat(frames, 2), start, regions)


def _with_time(frame: Node) -> tuple[int, ...]:
    n, channels, height, width = g.sizes(frame)
    return n, channels, 1, height, width


def time_convolution(
    frames: Sequence[Node],
    weight: FloatWeights,
    bias: FloatWeights,
    stride: int = 1,
    *,
    rows: bool = False,
) -> Node:
    """A 3-D convolution and a ReLU, ``TILE`` frames at a time, with stride 1 along time.

    Args:
        frames: A multiple of ``TILE`` frames (1, in, height, width).
        weight: (out, in, 3 or 4 taps, height, width). Its first tap meets the previous frame, and
            there are zeros before the first frame and behind the last one.
        bias: (out,)
        stride: Of height and width, where padding is SAME.
        rows: Compute ``TILE`` rows at a time, too; only for 3x3 cells with stride 1.

    Returns:
        (frames, out, ...) in the order of ``in_tile_order``.
    """
    matrices, weights = _tap_products(weight)
    padded = [None, *frames, *[None] * (len(weights) - TILE)]
    starts = range(0, len(frames), TILE)
    products = []
    for k, (row, each) in enumerate(zip(matrices.inputs, weights, strict=True)):
        x = g.concat([_weighted_sum(row, padded[t : t + len(row)]) for t in starts], 0)
        # Each output contains the product of point 1 once, so the bias is added there.
        own_bias = bias if k == _POINT_ONE else None
        if rows:
            products.append(_row_convolution(x, each, own_bias))
        else:
            products.append(g.convolve(x, each, own_bias, stride))
    out = g.concat([g.relu(_weighted_sum(row, products)) for row in matrices.output], 0)
    return _rows_in_order(out, g.sizes(frames[0])[2]) if rows else out


def _row_convolution(x: Node, weight: FloatWeights, bias: FloatWeights | None) -> Node:
    """A 3x3 convolution with padding 1, ``TILE`` rows at a time.

    (N, in, height, width) -> (N, out, tiles, ``TILE`` width): the rows of a tile are concatenated;
    ``_rows_in_order`` puts them in order after the sums over time.
    """
    matrices, weights = _tap_products(weight)
    channels, height = g.sizes(x)[1:3]
    missing = -height % TILE
    products = []
    for k, each in enumerate(weights):
        # The sums of rows are depthwise convolutions.
        sums = matrices.inputs[k].astype(np.float32)[None, None, :, None]
        total = g.convolve_each_channel(
            x, np.repeat(sums, channels, axis=0), None, (TILE, 1), ((1, 0), (1 + missing, 0))
        )
        own_bias = bias if k == _POINT_ONE else None
        products.append(g.convolve(total, each[:, :, None], own_bias, 1, (0, 1)))
    return g.concat([_weighted_sum(row, products) for row in matrices.output], 3)


def _tap_products(weight: FloatWeights) -> tuple[WinogradTransform, FloatWeights]:
    """Compute F(``TILE``, taps) and the weights of each product, from (out, in, taps, ...)."""
    matrices = winograd_transform(TILE, _POINTS[weight.shape[2]])
    products = np.tensordot(matrices.taps, weight.astype(np.float64), axes=(1, 2))
    return matrices, products.astype(np.float32)


def _rows_in_order(x: Node, height: int) -> Node:
    """Bring the output of ``_row_convolution`` into the shape (N, out, height, width)."""
    # With OpenVINO's memory format, channels last, this copies nothing.
    n, channels, tiles, side = g.sizes(x)
    x = g.reshape(g.transpose(x, 0, 2, 3, 1), n, tiles * TILE, side // TILE, channels)
    return g.transpose(g.cut(x, 1, 0, height), 0, 3, 1, 2)


def in_tile_order(frames: Sequence[Node]) -> Node:
    """Concatenate frames (1, ...): first the frames t = 0, ``TILE``, 2 ``TILE``, ..., then t + 1.

    ``time_convolution`` computes tiles in that order, so no frames need to be copied.
    """
    return g.concat([x for first in range(TILE) for x in frames[first::TILE]], 0)


def in_time_order(x: Node) -> list[Node]:
    """Undo ``in_tile_order``, for 1 to ``TILE`` frames or a multiple of ``TILE``."""
    frames = g.split(x, 0)
    tiles = -(-len(frames) // TILE)
    return [frames[(t % TILE) * tiles + t // TILE] for t in range(len(frames))]


def _weighted_sum(row: NDArray[np.float64], nodes: Sequence[Node | None]) -> Node:
    """Sum the tensors, weighted by the entries of ``row``; None stands for zeros."""
    total: Node = None
    for factor, x in zip(row.tolist(), nodes, strict=True):
        if x is None or factor == 0:
            continue
        term = x if abs(factor) == 1 else ops.multiply(x, g.constant(abs(factor)))
        if total is None:
            total = term if factor > 0 else ops.negative(term)
        else:
            total = ops.add(total, term) if factor > 0 else ops.subtract(total, term)
    assert total is not None, "a row of zeros"
    return total


def _frame_unit(weights: Weights, x: Node, name: str, out: int) -> Node:
    """A 1x1x1 unit for frames."""
    weight, bias = take_unit(weights, name, out, g.sizes(x)[1])
    return g.relu(g.convolve(x, weight[:, :, 0], bias))


def _frame_mixed(weights: Weights, x: Node, name: str, *, rows: bool = False) -> Node:
    """An Inception module for frames; ``rows`` as in ``time_convolution``."""
    b0, b1_narrow, b1, b2_narrow, b2, b3 = MIXED_SIZES[name]
    branches = [_frame_unit(weights, x, f"{name}.b0", b0)]
    # Tiles of rows gain nothing in the narrow branch.
    for branch, narrow, out, own_rows in (
        ("b1", b1_narrow, b1, rows),
        ("b2", b2_narrow, b2, False),
    ):
        frames = in_time_order(_frame_unit(weights, x, f"{name}.{branch}.0", narrow))
        weight, bias = take_unit(weights, f"{name}.{branch}.1", out, narrow, 3)
        branches.append(time_convolution(frames, weight, bias, rows=own_rows))
    branches.append(_frame_unit(weights, _pool_3x3x3(x), f"{name}.b3", b3))
    return g.concat(branches, 1)


def _pairs_of_taps(weight: FloatWeights) -> FloatWeights:
    """The weight of the 7x7x7 unit with stride 2, for the input of ``_frame_pairs``."""
    # With an eighth tap of zeros, pairs of taps meet pairs of frames. So the convolution has twice
    # the channels, half the taps, and stride 1 along time.
    weight = np.pad(weight, ((0, 0), (0, 0), (0, 1), (0, 0), (0, 0)))
    out, channels, _, height, width = weight.shape
    pairs = weight.reshape(out, channels, 4, 2, height, width).swapaxes(2, 3)
    return pairs.reshape(out, 2 * channels, 4, height, width)


def _frame_pairs(x: Node) -> list[Node]:
    """(1, C, 16, H, W) -> 8 pairs of frames (1, 2 C, H, W)."""
    _, channels, _, height, width = g.sizes(x)
    return [
        g.reshape(g.cut(x, 2, t, t + 2), 1, 2 * channels, height, width)
        for t in range(0, FRAMES, 2)
    ]


def _pool(x: Node) -> Node:
    """Max-pool height and width, kernel 3 and stride 2."""
    return g.max_pool(x, (3, 3), (2, 2))


def _pool_time(x: Node) -> Node:
    """Max-pool time, kernel 3 and stride 2, of an even number of frames."""
    frames = in_time_order(x)
    largest = [ops.maximum(*frames[t : t + 2]) for t in range(0, len(frames), 2)]
    behind = [ops.maximum(m, x) for m, x in zip(largest, frames[2::2], strict=False)]
    return in_tile_order([*behind, largest[-1]])


def _pool_3x3x3(x: Node) -> Node:
    """Max-pool 3x3x3 cells with stride 1, for an even number of frames."""
    frames = in_time_order(g.max_pool(x, (3, 3), (1, 1)))
    pairs = [ops.maximum(*frames[t : t + 2]) for t in range(0, len(frames), 2)]
    out = []
    for t in range(len(frames)):
        other = t - 1 if t % 2 == 0 else t + 1
        inside = 0 <= other < len(frames)
        out.append(ops.maximum(pairs[t // 2], frames[other]) if inside else pairs[t // 2])
    return in_tile_order(out)
