"""Features on disk whose crops are read on access.

The ten crops of UCF-Crime take 33 GB. A ``CropArray`` takes the place of an array (C, T, D): it has
its shape, and reads a crop when it is indexed. Scoring and the training bags use one crop at a time
and so never hold more than one in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

CropFeatures = NDArray[np.float32] | NDArray[np.float16]  # (T, D)
FeatureArray = NDArray[np.float32] | NDArray[np.float16]  # (C, T, D)


class CropArray:
    """Features (C, T, D) of a video on disk, read one crop at a time.

    Args:
        shape: (C, T, D).
        dtype: float32 or float16.
        read: Returns the rows (T, D) of a crop, whose number starts from 0, mapped or read from the
            file. It has to be picklable, because other processes read the same files.
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
        """Read the rows (T, D) of a crop.

        Raises:
            IndexError: there is no such crop.
            InputError: its file cannot be read, or changed since the array was made.
        """
        if not 0 <= crop < len(self):
            raise IndexError(crop)
        return self._read(crop)

    def __iter__(self) -> Iterator[CropFeatures]:
        return (self[crop] for crop in range(len(self)))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Read all crops into memory."""
        if copy is False:
            raise ValueError("features on disk cannot become an array without a copy")
        return np.stack(list(self)).astype(dtype or self.dtype, copy=False)

    def slice_snippets(self, start: int, stop: int) -> CropArray:
        """Get the snippets from ``start`` to before ``stop``, still on disk."""
        crops, _, dim = self.shape
        read = partial(_read_slice, self._read, start, stop)
        return CropArray(
            (crops, stop - start, dim), self.dtype, read, self.files, self.start + start
        )


AnyFeatures = FeatureArray | CropArray


def _read_slice(
    read: Callable[[int], CropFeatures], start: int, stop: int, crop: int
) -> CropFeatures:
    return read(crop)[start:stop]


def slice_snippets(array: AnyFeatures, start: int, stop: int) -> AnyFeatures:
    """Get the snippets from ``start`` to before ``stop`` of (C, T, D) features."""
    if isinstance(array, CropArray):
        return array.slice_snippets(start, stop)
    return array[:, start:stop]


class CropViews(Sequence[NDArray[np.float32]]):
    """The crops of several features (C, T, D) in one sequence, each (T, D) float32.

    Crops on disk are read on access; features in memory are converted to float32 once.
    """

    def __init__(self, arrays: Sequence[AnyFeatures]):
        self._arrays: tuple[AnyFeatures, ...] = tuple(
            a if isinstance(a, CropArray) else a.astype(np.float32, copy=False) for a in arrays
        )
        self._crops = [(array, crop) for array in self._arrays for crop in range(len(array))]

    @property
    def arrays(self) -> tuple[AnyFeatures, ...]:
        """The features (C, T, D) that the crops belong to."""
        return self._arrays

    def __len__(self) -> int:
        return len(self._crops)

    @overload
    def __getitem__(self, index: int) -> NDArray[np.float32]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[NDArray[np.float32]]: ...

    def __getitem__(
        self, index: int | slice
    ) -> NDArray[np.float32] | Sequence[NDArray[np.float32]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        array, crop = self._crops[index]
        return array[crop].astype(np.float32, copy=False)
