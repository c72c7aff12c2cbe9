"""``.npy`` files: read the header alone, map the array into memory, or read features from it.

An array says nothing of the backbone that made it, so its ``FeatureSpec`` has the backbone
``array`` and the length of a feature. A model that was trained on such features accepts any others
of the same length.
"""

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

from oddframe._utils.files import describe_read_error, exists, open_regular_file
from oddframe.errors import InputError
from oddframe.features.lazy_array import FeatureArray
from oddframe.features.presets import SNIPPET_FRAMES
from oddframe.features.spec import Features, FeatureSpec
from oddframe.timeline import Timebase
from oddframe.video.frame import DEFAULT_FPS
from oddframe.video.snippets.preprocessing import crop_names

ARRAY_BACKBONE = "array"

_END_BYTES = 4096  # ``digest_of_ends`` hashes so many bytes at each end of a file.
_MAX_NPY_HEADER = 10_000  # Only arrays with named fields have longer headers.
_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True)
class NpyHeader:
    """The header of a ``.npy`` file; ``offset`` is the number of bytes before the first number."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    fortran_order: bool

    def __str__(self) -> str:
        return "x".join(map(str, self.shape)) or "one number"


def read_npy_header(path: Path) -> NpyHeader:
    """Read the header of a ``.npy`` file and check that the file is complete; read no data.

    InputError also if it holds no array of numbers, or Python objects.
    """
    if not exists(path) or path.is_dir():
        raise InputError(f"{path}: no such feature file")
    try:
        with open_regular_file(path) as file:
            start = file.read(_MAX_NPY_HEADER)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise InputError(f"{path}: {describe_read_error(error)}") from None
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


def map_npy(path: Path) -> NDArray[Any]:
    """Map the array of a ``.npy`` file into memory; its pages are read on access."""
    header = read_npy_header(path)
    order: Literal["F", "C"] = "F" if header.fortran_order else "C"
    return map_array(path, header.dtype, header.offset, header.shape, order)


def map_array(
    path: Path,
    dtype: np.dtype[Any],
    offset: int,
    shape: tuple[int, ...],
    order: Literal["F", "C"] = "C",
) -> NDArray[Any]:
    """Map the part of a file from ``offset`` on into memory as an array."""
    try:
        return np.asarray(np.memmap(path, dtype, "r", offset, shape, order))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be mapped into memory ({error})") from None


def read_array_features(
    path: Path, *, frames: int | None = None, fps: float | None = None
) -> Features:
    """Read features (C, T, D) from a ``.npy`` file of shape (T, D), (T, C, D) or (C, T, D).

    Each row stands for 16 frames, without overlap; with ``frames``, the frames of the video, the
    last row may stand for fewer. InputError if the file, the shape or a value cannot be used.
    """
    read_npy_header(path)  # Raises a clear error before any data is read.
    try:
        with open_regular_file(path) as file:
            array = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    array = crops_first(path, to_float(array))
    crops, snippets, dim = array.shape
    if not np.isfinite(array).all():
        broken = int((~np.isfinite(array).all(axis=(0, 2))).sum())
        raise InputError(
            f"{path}: {broken} of {snippets} rows hold values that are not finite (NaN or "
            "infinite); make these features again or leave the file out"
        )
    spec = FeatureSpec(
        backbone=ARRAY_BACKBONE,
        weights_sha256="",
        dim=dim,
        crops=crop_names(crops),
        snippet_frames=SNIPPET_FRAMES,
        stride=SNIPPET_FRAMES,
    )
    n_frames = SNIPPET_FRAMES * snippets if frames is None else frames
    time = Timebase(fps or DEFAULT_FPS, n_frames, SNIPPET_FRAMES, SNIPPET_FRAMES)
    if time.n_snippets != snippets:
        raise InputError(
            f"{path}: {snippets} rows, but a video of {n_frames} frames has {time.n_snippets} "
            f"snippets of {SNIPPET_FRAMES}"
        )
    return Features(array, spec, time)


def crops_first(path: Path, array: FeatureArray) -> FeatureArray:
    """Bring an array of shape (T, D), (T, C, D) or (C, T, D) into the shape (C, T, D).

    The axis of the crops is the one of length 1, 5 or 10. If both of the first two axes have such a
    length, the array is taken as (T, C, D), the order of most published files.
    """
    shape = "x".join(map(str, array.shape)) or "no"
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise InputError(f"{path}: an array of {shape} values; expected (T, D) or (T, C, D)")
    if array.ndim == 2:
        return array[None]
    if array.shape[1] in (1, 5, 10):
        return np.moveaxis(array, 1, 0).copy()
    if array.shape[0] in (1, 5, 10):
        return array
    raise InputError(
        f"{path}: an array of {shape}: neither of its first two axes is 1, 5 or 10 crops"
    )


def to_float(array: NDArray[Any]) -> FeatureArray:
    """Convert to float32, unless the array is float16 or float32 already."""
    if array.dtype == np.float16:
        return array.astype(np.float16, copy=False)
    return array.astype(np.float32, copy=False)


def is_finite(array: NDArray[Any]) -> bool:
    """Whether all numbers are finite; reads 4,096 rows of the first axis at a time."""
    if array.dtype.kind != "f":
        return True
    parts = (array[i : i + 4096] for i in range(0, len(array), 4096))
    # NaN propagates through min and max, which need no temporary array of booleans.
    return all(np.isfinite(part.min()) and np.isfinite(part.max()) for part in parts if part.size)


def digest_of_ends(paths: Iterable[Path]) -> str:
    """Compute sha256 (hex) over the size, the first and the last bytes of each file, in order."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            with open_regular_file(path) as file:
                size = os.fstat(file.fileno()).st_size
                digest.update(f"{size}\n".encode() + file.read(_END_BYTES))
                file.seek(max(0, size - _END_BYTES))
                digest.update(file.read(_END_BYTES))
        except OSError as error:
            raise InputError(f"{path}: {describe_read_error(error)}") from None
    return digest.hexdigest()


def _length(start: bytes) -> int:
    """Number of bytes before the data, from the first bytes of a file."""
    wide = start[6:7] != b"\x01"
    return (12 if wide else 10) + int.from_bytes(start[8 : 12 if wide else 10], "little")


@lru_cache(maxsize=4096)  # Thousands of files share some hundred headers.
def _parse_npy_header(head: bytes) -> NpyHeader:
    file = BytesIO(head)
    shape, columns_first, dtype = _READERS[npy.read_magic(file)](file)
    return NpyHeader(shape, dtype, file.tell(), columns_first)
