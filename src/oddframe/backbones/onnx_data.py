"""The files beside an ONNX file that hold its weights, as the file itself names them.

An ONNX file is a protocol buffer (https://github.com/onnx/onnx, ``onnx/onnx.proto``). Any tensor in
it may keep its numbers in another file, whatever its name. Only what leads to these names is read
here; numbers are skipped, so that gigabytes of them take no time.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path, PureWindowsPath

from oddframe.errors import InputError

# Of each kind of message the fields that lead to tensors, by their numbers in onnx.proto.
_LEADS: Mapping[str, Mapping[int, str]] = {
    "Model": {7: "Graph", 20: "TrainingInfo", 25: "Function"},
    "TrainingInfo": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {
        5: "Tensor",
        6: "Graph",
        10: "Tensor",
        11: "Graph",
        22: "SparseTensor",
        23: "SparseTensor",
    },
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
}
_EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL = 13, 14, 1  # Of a tensor.
_KEY, _VALUE = 1, 2  # Of an entry of a tensor's external data.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


def data_files(path: Path) -> tuple[Path, ...]:
    """The files that hold weights of the ONNX file ``path``, sorted, without ``path``.

    Raises:
        InputError: it is no ONNX file, or it names a file that is not there or does not lie in its
            folder.
    """
    try:
        about = path.stat()
        names = _names(path, about.st_size, about.st_mtime_ns)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: OpenVINO cannot use it (not an ONNX file that can be read: {error})"
        ) from None
    return tuple(_file(path, name) for name in names)


def _file(path: Path, name: str) -> Path:
    """The file that ``path`` names."""
    windows, file = PureWindowsPath(name), path.parent / name
    outside = Path(name).is_absolute() or windows.anchor or ".." in windows.parts
    try:
        # In the folder of a link to the ONNX file, or of the ONNX file itself.
        folders = (path.parent.resolve(), path.resolve().parent)
        inside = not outside and any(file.resolve().is_relative_to(each) for each in folders)
        there = file.is_file()
    except (OSError, ValueError, RuntimeError):  # No name of a file, or links in a circle.
        inside = there = False
    if not inside:
        raise InputError(
            f"{path}: it keeps weights in {name!r}, which is not in its folder: export it again "
            "with its data beside it"
        )
    if not there:
        raise InputError(f"{path}: the file of its weights is not there: {file}")
    return file


@lru_cache(maxsize=64)
def _names(path: Path, size: int, _changed_ns: int) -> tuple[str, ...]:
    """The names, sorted; ValueError: it is no protocol buffer of this kind."""
    if not size:
        raise ValueError("it is empty")
    names: set[str] = set()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        # Not by recursion: the file decides how deep its graphs are nested.
        waiting = [("Model", 0, len(data))]
        while waiting:
            kind, start, end = waiting.pop()
            if kind == "Tensor":
                names |= _of_tensor(data, start, end)
                continue
            for field, _, first, last in _fields(data, start, end):
                if first >= 0 and (child := _LEADS[kind].get(field)) is not None:
                    waiting.append((child, first, last))
    return tuple(sorted(names))


def _of_tensor(data: mmap.mmap, start: int, end: int) -> set[str]:
    names, external = set(), False
    for field, value, first, last in _fields(data, start, end):
        if field == _DATA_LOCATION:
            external = value == _EXTERNAL
        elif field == _EXTERNAL_DATA and first >= 0:
            texts = {
                number: data[a:b].decode("utf-8", "surrogateescape")
                for number, _, a, b in _fields(data, first, last)
                if a >= 0
            }
            if texts.get(_KEY) == "location":
                names.add(texts.get(_VALUE, ""))
    return names if external else set()


def _fields(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(number, value, start, end) of each field; of what is no bytes start and end are -1."""
    while at < end:
        tag, at = _varint(data, at, end)
        number, wire = tag >> 3, tag & 7
        value, start, stop = 0, -1, -1
        if wire == _VARINT:
            value, at = _varint(data, at, end)
        elif wire == _BYTES:
            length, start = _varint(data, at, end)
            stop = at = start + length
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"a field of type {wire} at byte {at}")
        if at > end or not number:
            raise ValueError("it is cut off or damaged")
        yield number, value, start, stop


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """A number, and where it ends."""
    value = 0
    for place in range(_LONGEST_VARINT):
        if at + place >= end:
            break
        byte = data[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError("it is cut off or damaged")
