"""Write tiny ONNX files: ONNX is a protocol buffer, and these are the fields that it needs."""

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
    """Write a network with the outputs ``mean`` and ``max`` of its input over ``axes``."""
    left = [size for axis, size in enumerate(shape) if axis not in axes]
    nodes = [_node("ReduceMean", "mean", axes), _node("ReduceMax", "max", axes)]
    graph = b"".join(_bytes(1, node) for node in nodes) + _bytes(2, "means")
    return _write(path, graph, shape, [_value("mean", left), _value("max", left)])


def external(name: str, location: str, size: int) -> bytes:
    """Encode a tensor of floats whose numbers are in another file."""
    entry = _bytes(1, "location") + _bytes(2, location)
    return (
        _number(1, size) + _number(2, _FLOAT) + _bytes(8, name) + _bytes(13, entry) + _number(14, 1)
    )


def write_biased(path: Path, shape: list[int | str], axes: list[int], location: str) -> Path:
    """Write a network that adds three numbers from the file ``location`` to the mean."""
    left = [size for axis, size in enumerate(shape) if axis not in axes]
    add = _bytes(1, "m") + _bytes(1, "bias") + _bytes(2, "mean") + _bytes(4, "Add")
    graph = _bytes(1, _node("ReduceMean", "m", axes)) + _bytes(1, add) + _bytes(2, "biased")
    graph += _bytes(5, external("bias", location, 3))
    return _write(path, graph, shape, [_value("mean", left)])


def write_nested(path: Path, tensor: bytes) -> Path:
    """Write an If whose branch has a constant ``tensor``, so a graph within a graph."""
    constant = _bytes(4, "Constant") + _bytes(5, _bytes(1, "value") + _bytes(5, tensor))
    branch = _bytes(1, "then_branch") + _bytes(6, _bytes(1, constant))
    graph = _bytes(1, _bytes(4, "If") + _bytes(5, branch))
    path.write_bytes(_number(1, 8) + _bytes(7, graph))
    return path


def _write(path: Path, graph: bytes, shape: list[int | str], outputs: list[bytes]) -> Path:
    graph += _bytes(11, _value("x", shape)) + b"".join(_bytes(12, value) for value in outputs)
    opset = _bytes(1, "") + _number(2, 13)
    path.write_bytes(_number(1, 8) + _bytes(7, graph) + _bytes(8, opset))
    return path
