"""Features on disk whose crops are read on access: the ten crops of UCF-Crime take 33 GB.

Scoring and the training bags use one crop at a time and so never hold more than one in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

CropFeatures = NDArray[np.float32] | NDArray[np.float16]  # (T, D)
FeatureArray = NDArray[np.float32] | NDArray[np.float16]  # (C, T, D)


class CropArray:
    """Features (C, T, D) of a video on disk, in place of an array; a crop is read on access.

    Args:
        shape: (C, T, D).
        dtype: float32 or float16.
        read: Returns the rows (T, D) of a crop, whose number starts from 0. It has to be picklable,
            because other processes read the same files.
        files: All files that the rows are read from.
        start: Number of the first snippet, counted in the files.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        read: Callable[[int], CropFeatures],
        files: Sequence[Path] = (),
        start: int = 0,
    ):
        self.shape, self.dtype, self._read = shape, dtype, read
        self.files, self.start = tuple(files), start

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, crop: int) -> CropFeatures:
        if not 0 <= crop < len(self):
            raise IndexError(crop)
        return self._read(crop)

    def __iter__(self) -> Iterator[CropFeatures]:
        return (self[crop] for crop in range(len(self)))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("features on disk cannot become an array without a copy")
        return np.stack(list(self)).astype(dtype or self.dtype, copy=False)


AnyFeatures = FeatureArray | CropArray


def mean_of_views(array: AnyFeatures) -> NDArray[np.float32]:
    """(C, T, D) -> (T, D), one view at a time."""
    total = np.zeros(array.shape[1:], np.float32)
    for view in array:
        total += view
    return total / np.float32(len(array))


def slice_snippets(array: AnyFeatures, start: int, stop: int) -> AnyFeatures:
    """Get the snippets from ``start`` to before ``stop`` of (C, T, D) features."""
    if not isinstance(array, CropArray):
        return array[:, start:stop]
    crops, _, dim = array.shape
    read = partial(_read_slice, array, start, stop)
    shape = crops, stop - start, dim
    return CropArray(shape, array.dtype, read, array.files, array.start + start)


def _read_slice(array: CropArray, start: int, stop: int, crop: int) -> CropFeatures:
    return array[crop][start:stop]


class CropViews(Sequence[NDArray[np.float32]]):
    """The crops of several features (C, T, D) in one sequence, each (T, D) float32."""

    def __init__(self, arrays: Sequence[AnyFeatures]):
        self.arrays: tuple[AnyFeatures, ...] = tuple(
            a if isinstance(a, CropArray) else a.astype(np.float32, copy=False) for a in arrays
        )
        self._crops = [(array, crop) for array in self.arrays for crop in range(len(array))]

    def __len__(self) -> int:
        return len(self._crops)

    def __getitem__(self, index: int) -> NDArray[np.float32]:  # type: ignore[override]
        array, crop = self._crops[index]  # Slices are not supported.
        return array[crop].astype(np.float32, copy=False)
