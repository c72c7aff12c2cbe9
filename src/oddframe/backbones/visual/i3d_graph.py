"""I3D as an OpenVINO graph, built from its weights; the same features as ``i3d_network.I3D``."""

from __future__ import annotations

from typing import Any

from oddframe.backbones import graph as g
from oddframe.backbones.base import overlapping_windows
from oddframe.backbones.graph import Node, Weights

# Output channels of the branches of an Inception module: 1x1 | 1x1 -> 3x3 | 1x1 -> 3x3 | max-pool
# -> 1x1.
MixedSizes = tuple[int, int, int, int, int, int]
MIXED_SIZES: dict[str, MixedSizes] = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}


def i3d_graph(weights: Weights, shape: tuple[int, ...], regions: tuple[int, int] | None) -> Any:
    """I3D for inputs of this ``shape`` (1, channels, frames, height, width) in [-1, 1].

    The output is (1, 1024), or (1, R, 1024) with ``regions``: rows and columns of a grid.

    Raises:
        InputError: the weights are not those of I3D for so many channels.
    """
    x = start = g.graph_input(*shape)
    x = _unit(weights, x, "Conv3d_1a_7x7", 64, 7, stride=2)
    x = g.max_pool(x, (1, 3, 3), (1, 2, 2))
    x = _unit(weights, x, "Conv3d_2b_1x1", 64)
    x = _unit(weights, x, "Conv3d_2c_3x3", 192, 3)
    x = g.max_pool(x, (1, 3, 3), (1, 2, 2))
    for name in ("Mixed_3b", "Mixed_3c"):
        x = _mixed(weights, x, name)
    x = g.max_pool(x, (3, 3, 3), (2, 2, 2))
    for name in ("Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f"):
        x = _mixed(weights, x, name)
    return last_layers(weights, x, start, regions)


def last_layers(weights: Weights, x: Node, start: Node, regions: tuple[int, int] | None) -> Any:
    """What follows ``Mixed_4f``, whose output is ``x``, and the whole network from ``start``."""
    x = g.max_pool(x, (2, 2, 2), (2, 2, 2))
    for name in ("Mixed_5b", "Mixed_5c"):
        x = _mixed(weights, x, name)
    weights.check_all_used()
    return g.to_model(_pool_features(x, regions), start)


def take_unit(
    weights: Weights, name: str, out: int, channels: int, kernel: int = 1
) -> tuple[g.FloatWeights, g.FloatWeights]:
    """Weight (out, channels, kernel, kernel, kernel) and bias of a unit."""
    return weights.layer(f"trunk.{name}.conv", (out, channels, kernel, kernel, kernel))


def _unit(weights: Weights, x: Node, name: str, out: int, kernel: int = 1, stride: int = 1) -> Node:
    weight, bias = take_unit(weights, name, out, g.sizes(x)[1], kernel)
    return g.relu(g.convolve(x, weight, bias, stride))


def _mixed(weights: Weights, x: Node, name: str) -> Node:
    b0, b1_narrow, b1, b2_narrow, b2, b3 = MIXED_SIZES[name]
    narrow1 = _unit(weights, x, f"{name}.b1.0", b1_narrow)
    narrow2 = _unit(weights, x, f"{name}.b2.0", b2_narrow)
    pooled = g.max_pool(x, (3, 3, 3), (1, 1, 1))
    branches = [
        _unit(weights, x, f"{name}.b0", b0),
        _unit(weights, narrow1, f"{name}.b1.1", b1, 3),
        _unit(weights, narrow2, f"{name}.b2.1", b2, 3),
        _unit(weights, pooled, f"{name}.b3", b3),
    ]
    return g.concat(branches, 1)


def _pool_features(endpoint: Node, regions: tuple[int, int] | None) -> Node:
    if regions is None:
        return g.mean(endpoint, 2, 3, 4)
    x = g.mean(endpoint, 2)
    rows, columns = (
        overlapping_windows(*each) for each in zip(g.sizes(x)[2:], regions, strict=True)
    )
    boxes = [
        g.cut(g.cut(x, 2, row.start, row.stop), 3, column.start, column.stop)
        for row in rows
        for column in columns
    ]
    return g.concat([g.reshape(g.mean(box, 2, 3), 1, 1, -1) for box in boxes], 1)
