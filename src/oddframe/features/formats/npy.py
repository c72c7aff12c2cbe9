"""``.npy`` files without loading them: what the header says, and arrays mapped into memory."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from oddframe._utils.files import exists, open_regular_file
from oddframe.errors import InputError
from oddframe.features.lazy_array import FeatureArray

# Bytes at either end of a file that tell it from others.
_END = 4096
# Longer headers are of arrays with named fields.
_MAX_NPY_HEADER = 10_000
_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True)
class NpyHeader:
    """Shape and type of an array on disk, and where and in which order its numbers stand."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    fortran_order: bool

    def __str__(self) -> str:
        return "x".join(map(str, self.shape)) or "one number"


def read_npy_header(path: Path) -> NpyHeader:
    """The header of a ``.npy`` file whose data are all there; the data are not read.

    Raises:
        InputError: no such file, no array of numbers in it, Python objects, or it is cut off.
    """
    if not exists(path) or path.is_dir():
        raise InputError(f"{path}: no such feature file")
    try:
        with open_regular_file(path) as file:
            start = file.read(_MAX_NPY_HEADER)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    try:
        header = _parse_npy_header(start[: _length(start)])
    except (ValueError, EOFError, KeyError, SyntaxError, TokenError):
        raise InputError(
            f"{path}: not an array of numbers that can be read; save it with numpy.save"
        ) from None
    if header.dtype.hasobject:
        raise InputError(
            f"{path}: not an array of numbers that can be read (it holds Python objects, which are "
            "never loaded); save it with numpy.save"
        )
    if header.dtype.kind not in "fiu":
        raise InputError(f"{path}: not one array of numbers; save it with numpy.save")
    needed = math.prod(header.shape) * header.dtype.itemsize
    if size - header.offset < needed:
        raise InputError(f"{path}: cut off, {max(0, size - header.offset)} of {needed} bytes")
    return header


def _length(start: bytes) -> int:
    """Bytes before the first number, by the first bytes of a file."""
    wide = start[6:7] != b"\x01"
    return (12 if wide else 10) + int.from_bytes(start[8 : 12 if wide else 10], "little")


@lru_cache(maxsize=4096)  # Thousands of files have some hundred headers.
def _parse_npy_header(head: bytes) -> NpyHeader:
    file = BytesIO(head)
    shape, columns_first, dtype = _READERS[npy.read_magic(file)](file)
    return NpyHeader(shape, dtype, file.tell(), columns_first)


def map_npy(path: Path) -> NDArray[Any]:
    """The array of a ``.npy`` file, read from disk where it is looked at.

    Raises:
        InputError: as ``read_npy_header``, or it has no numbers.
    """
    header = read_npy_header(path)
    try:
        order: Literal["F", "C"] = "F" if header.fortran_order else "C"
        array = np.memmap(path, header.dtype, "r", header.offset, header.shape, order)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be mapped into memory ({error})") from None
    return np.asarray(array)


def to_float(array: NDArray[Any]) -> FeatureArray:
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


def digest_of_ends(paths: Iterable[Path]) -> str:
    """sha256 (hex) over the files' sizes and their first and last bytes, in order.

    Raises:
        InputError: one cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            with open_regular_file(path) as file:
                size = os.fstat(file.fileno()).st_size
                digest.update(f"{size}\n".encode() + file.read(_END))
                file.seek(max(0, size - _END))
                digest.update(file.read(_END))
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    return digest.hexdigest()
