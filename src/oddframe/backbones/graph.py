"""Networks as OpenVINO graphs, built from weights without PyTorch.

Imported only where OpenVINO runs the network. Tensors are (N, channels, ...); ``Node`` is an output
of OpenVINO, whose types are not known to mypy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as ops

from oddframe.backbones.base import same_padding
from oddframe.errors import InputError

Node = Any
FloatWeights = NDArray[np.float32]


class Weights:
    """The weights of a network by name, each checked against the shape that the network needs."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], what: str, optional: str = "\0") -> None:
        """``what``: name of the network, for errors; ``optional``: prefix of names that may stay
        unused."""
        self._arrays, self._what, self._optional = arrays, what, optional
        self._unused = set(arrays)

    def take(self, name: str, shape: tuple[int, ...]) -> FloatWeights:
        """The weights ``name`` as float32; InputError if they are missing or of another shape."""
        if name not in self._arrays:
            raise InputError(f"{self._what} weights do not fit: lacking {[name]}, unknown []")
        array = self._arrays[name]
        if array.shape != shape:
            raise InputError(
                f"{self._what} weights do not fit: {name} is {array.shape}, not {shape}"
            )
        self._unused.discard(name)
        return array.astype(np.float32)

    def layer(self, name: str, shape: tuple[int, ...]) -> tuple[FloatWeights, FloatWeights]:
        """Weight of this ``shape`` and bias of the layer ``name``."""
        return self.take(f"{name}.weight", shape), self.take(f"{name}.bias", shape[:1])

    def check_all_used(self) -> None:
        """InputError if weights were not taken."""
        unknown = sorted(name for name in self._unused if not name.startswith(self._optional))
        if unknown:
            raise InputError(f"{self._what} weights do not fit: lacking [], unknown {unknown[:3]}")


def graph_input(*shape: int) -> Node:
    """The input of a network, float32."""
    return ops.parameter(list(shape), np.float32)


def to_model(output: Node, graph_input: Node) -> Any:
    """The network from ``graph_input`` to ``output``."""
    return openvino.Model([output], [graph_input])


def constant(values: Any) -> Node:
    """A float32 constant."""
    return ops.constant(np.asarray(values, dtype=np.float32, order="C"))


def sizes(x: Node) -> tuple[int, ...]:
    """The shape of ``x``, which is known when the graph is built."""
    return tuple(x.get_output_shape(0) if isinstance(x, openvino.Node) else x.get_shape())


def _same_pads(
    x: Node, kernel: Sequence[int], strides: Sequence[int]
) -> tuple[list[int], list[int]]:
    each = [same_padding(*args) for args in zip(sizes(x)[2:], kernel, strides, strict=True)]
    return [before for before, _ in each], [behind for _, behind in each]


def convolve(
    x: Node,
    weight: FloatWeights,
    bias: FloatWeights | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | None = None,
) -> Node:
    """Convolution by ``weight`` (out, in, ...); ``padding`` None: TensorFlow's SAME."""
    kernel = weight.shape[2:]
    strides = [stride] * len(kernel) if isinstance(stride, int) else list(stride)
    if padding is None:
        before, behind = _same_pads(x, kernel, strides)
    else:
        before = [padding] * len(kernel) if isinstance(padding, int) else list(padding)
        behind = before
    out = ops.convolution(x, constant(weight), strides, before, behind, [1] * len(kernel))
    return out if bias is None else _add_bias(out, bias)


def convolve_each_channel(
    x: Node,
    weight: FloatWeights,
    bias: FloatWeights | None = None,
    stride: int | Sequence[int] = 1,
    padding: tuple[Sequence[int], Sequence[int]] | None = None,
) -> Node:
    """Depthwise convolution by ``weight`` (channels, 1, ...), and
    ``padding`` before and behind; otherwise as ``convolve``."""
    kernel = weight.shape[2:]
    strides = [stride] * len(kernel) if isinstance(stride, int) else list(stride)
    before, behind = _same_pads(x, kernel, strides) if padding is None else padding
    grouped = constant(weight[:, :, None])
    out = ops.group_convolution(x, grouped, strides, before, behind, [1] * len(kernel))
    return out if bias is None else _add_bias(out, bias)


def _add_bias(x: Node, bias: FloatWeights) -> Node:
    return ops.add(x, constant(bias.reshape(1, -1, *[1] * (len(sizes(x)) - 2))))


def max_pool(x: Node, kernel: Sequence[int], strides: Sequence[int]) -> Node:
    """Max-pooling with TensorFlow's SAME padding."""
    before, behind = _same_pads(x, kernel, strides)
    return ops.max_pool(x, list(strides), [1] * len(kernel), before, behind, list(kernel)).output(0)


def halve(x: Node) -> Node:
    """Max-pooling of two dimensions, kernel and stride 2; an odd last cell is dropped."""
    return ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)


def relu(x: Node) -> Node:
    return ops.relu(x)


def relu6(x: Node) -> Node:
    return ops.clamp(x, 0.0, 6.0)


def add(x: Node, y: Node) -> Node:
    return ops.add(x, y)


def linear(x: Node, weight: FloatWeights, bias: FloatWeights) -> Node:
    """(N, in) -> (N, out) by ``weight`` (out, in)."""
    return ops.add(ops.matmul(x, constant(weight), False, True), constant(bias))


def mean(x: Node, *axes: int) -> Node:
    """The mean over ``axes``, which are removed."""
    return ops.reduce_mean(x, np.array(axes, np.int64), keep_dims=False)


def maximum(x: Node, *axes: int) -> Node:
    """The maximum over ``axes``, which are removed."""
    return ops.reduce_max(x, np.array(axes, np.int64), keep_dims=False)


def concat(parts: Sequence[Node], axis: int) -> Node:
    return parts[0] if len(parts) == 1 else ops.concat(list(parts), axis)


def cut(x: Node, axis: int, start: int, stop: int) -> Node:
    """``x`` from ``start`` to ``stop`` along ``axis``."""
    numbers = [np.array([n], np.int64) for n in (start, stop, 1, axis)]
    return ops.slice(x, *numbers)


def split(x: Node, axis: int) -> list[Node]:
    """``x`` in parts of length 1 along ``axis``."""
    length = sizes(x)[axis]
    return [x] if length == 1 else list(ops.split(x, np.int64(axis), length).outputs())


def reshape(x: Node, *shape: int) -> Node:
    return ops.reshape(x, np.array(shape, np.int64), special_zero=False)


def transpose(x: Node, *order: int) -> Node:
    return ops.transpose(x, np.array(order, np.int64))
