"""``.npy`` files without loading them: what the header says, and arrays mapped into memory."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from oddframe.errors import InputError
from oddframe.features.lazy import FeatureArray

# Bytes at either end of a file that tell it from others.
_END = 4096
_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True)
class NpyHeader:
    """Shape and type of an array on disk."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        return "x".join(map(str, self.shape)) or "one number"


def read_header(path: Path) -> NpyHeader:
    """The header of a ``.npy`` file whose data are all there; the data are not read.

    Raises:
        InputError: no such file, no array of numbers in it, Python objects, or it is cut off.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such feature file")
    try:
        with path.open("rb") as file:
            shape, _, dtype = _READERS[npy.read_magic(file)](file)
            there = os.fstat(file.fileno()).st_size - file.tell()
    except (OSError, ValueError, EOFError, KeyError):
        raise InputError(
            f"{path}: not an array of numbers that can be read; save it with numpy.save"
        ) from None
    if dtype.hasobject:
        raise InputError(
            f"{path}: not an array of numbers that can be read (it holds Python objects, which are "
            "never loaded); save it with numpy.save"
        )
    if dtype.kind not in "fiu":
        raise InputError(f"{path}: not one array of numbers; save it with numpy.save")
    if there < math.prod(shape) * dtype.itemsize:
        raise InputError(f"{path}: cut off, {there} of {math.prod(shape) * dtype.itemsize} bytes")
    return NpyHeader(shape, dtype)


def mapped(path: Path) -> NDArray[Any]:
    """The array of a ``.npy`` file, read from disk where it is looked at.

    Raises:
        InputError: as ``read_header``.
    """
    read_header(path)
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be mapped into memory ({error})") from None


def floating(array: NDArray[Any]) -> FeatureArray:
    """float16 and float32 as they are, everything else as float32."""
    if array.dtype == np.float16:
        return array.astype(np.float16, copy=False)
    return array.astype(np.float32, copy=False)


def is_finite(array: NDArray[Any], rows: int = 4096) -> bool:
    """Whether all numbers are finite, looked at ``rows`` at a time along the first axis."""
    if array.dtype.kind != "f":
        return True
    parts = (array[i : i + rows] for i in range(0, len(array), rows))
    # Least and largest carry a NaN along, and take no room for an array of truths.
    return all(np.isfinite(part.min()) and np.isfinite(part.max()) for part in parts if part.size)


def ends_digest(paths: Iterable[Path]) -> str:
    """sha256 (hex) over the files' sizes and their first and last bytes, in order.

    Raises:
        InputError: one cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                digest.update(f"{size}\n".encode() + file.read(_END))
                file.seek(max(0, size - _END))
                digest.update(file.read(_END))
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    return digest.hexdigest()
