"""A tiny ONNX file, written by hand: ONNX is a protocol buffer, and this is all of one it takes."""

from __future__ import annotations

from pathlib import Path

_FLOAT = 1


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _value(name: str, shape: list[int | str]) -> bytes:
    axes = b"".join(
        _bytes(1, _number(1, size) if isinstance(size, int) else _bytes(2, size)) for size in shape
    )
    tensor = _number(1, _FLOAT) + _bytes(2, axes)
    return _bytes(1, name) + _bytes(2, _bytes(1, tensor))


def _node(kind: str, target: str, axes: list[int]) -> bytes:
    attributes = _bytes(1, "axes") + b"".join(_number(8, axis) for axis in axes) + _number(20, 7)
    keep = _bytes(1, "keepdims") + _number(3, 0) + _number(20, 2)
    named = _bytes(1, "x") + _bytes(2, target) + _bytes(4, kind)
    return named + _bytes(5, attributes) + _bytes(5, keep)


def write_means(path: Path, shape: list[int | str], axes: list[int]) -> Path:
    """A network of one input and two outputs: its ``mean`` and its ``max`` over ``axes``."""
    left = [size for axis, size in enumerate(shape) if axis not in axes]
    nodes = [_node("ReduceMean", "mean", axes), _node("ReduceMax", "max", axes)]
    graph = b"".join(_bytes(1, node) for node in nodes) + _bytes(2, "means")
    graph += _bytes(11, _value("x", shape))
    graph += _bytes(12, _value("mean", left)) + _bytes(12, _value("max", left))
    opset = _bytes(1, "") + _number(2, 13)
    path.write_bytes(_number(1, 8) + _bytes(7, graph) + _bytes(8, opset))
    return path
