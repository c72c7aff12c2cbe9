"""Tensors into a safetensors file a part at a time: what lies on disk is never in memory whole.

The bytes are those that the safetensors library writes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddframe.features.lazy import AnyFeatures, CropArray
from oddframe.files import atomic, file_sha256, make_folder, told

Tensor = AnyFeatures | NDArray[np.float64]

_NAMES = {"<f8": "F64", "<f4": "F32", "<f2": "F16"}
# Rows that are in memory at once.
_ROWS = 4096


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """sha256 (hex) over names, types, shapes and bytes: finds flipped bits and swapped tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        shape = tensor.shape or (1,)  # A single number counts as a row of one.
        digest.update(f"{name} {tensor.dtype.str} {shape}\n".encode())
        for part in _parts(tensor):
            digest.update(part.data)
    return digest.hexdigest()


def content_digest(array: AnyFeatures) -> str:
    """sha256 (hex) of all that an array holds; of one on disk, of the files that it is read from.

    What lies on disk is read a part at a time, and once as long as its files stay as they are.

    Raises:
        InputError: a file cannot be read.
    """
    if not isinstance(array, CropArray) or not array.files:
        return checksum({"features": array})
    lines = [f"{array.shape} {array.dtype.str} from {array.start}", *map(file_sha256, array.files)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, atomically; folders on the way are made.

    Raises:
        OddframeError: it cannot be written.
    """
    # The library's order: wide types first, then by name.
    names = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    about: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in names:
        tensor = tensors[name]
        start, end = end, end + int(np.prod(tensor.shape)) * tensor.dtype.itemsize
        shape, dtype = list(tensor.shape), _NAMES[tensor.dtype.str]
        about[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    head = json.dumps(about, separators=(",", ":"), ensure_ascii=False).encode()
    head += b" " * (-len(head) % 8)
    make_folder(path.parent)
    with atomic(path) as part, told(path), part.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for name in names:
            for piece in _parts(tensors[name]):
                file.write(piece.data)


def _parts(tensor: Tensor) -> Iterator[NDArray[Any]]:
    """All of it in order, in pieces whose bytes lie in a row."""
    outer = tensor if isinstance(tensor, CropArray) or tensor.ndim > 2 else (np.atleast_1d(tensor),)
    for array in outer:
        for start in range(0, len(array), _ROWS):
            yield np.ascontiguousarray(array[start : start + _ROWS])
