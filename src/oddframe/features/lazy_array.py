"""Features that stay on disk: ten crops of UCF-Crime are 33 GB and fit into no memory.

``CropArray`` stands where an array (C, T, D) would: it has its shape, and a crop is read when it is
asked for. What works a crop at a time (scoring, bags) never holds more than one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

CropFeatures = NDArray[np.float32] | NDArray[np.float16]  # (T, D)


class CropArray:
    """Features (C, T, D) of a video on disk, a crop at a time.

    Args:
        shape: (C, T, D).
        dtype: float32 or float16.
        read: Number of a crop -> its rows (T, D), mapped from the file or read from it; picklable,
            for other processes read the same files.
        files: All files that the rows are read from.
        start: First snippet of these files that is part of it.
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
        """(T, D) rows of a crop, from 0.

        Raises:
            IndexError: there is no such crop.
            InputError: its file cannot be read, or is another one by now.
        """
        if not 0 <= crop < len(self):
            raise IndexError(crop)
        return self._read(crop)

    def between(self, start: int, stop: int) -> CropArray:
        """(C, stop - start, D) the snippets from ``start`` to before ``stop``, still on disk."""
        crops, _, dim = self.shape
        read = partial(_sliced_crop, self._read, start, stop)
        shape = crops, stop - start, dim
        return CropArray(shape, self.dtype, read, self.files, self.start + start)

    def __iter__(self) -> Iterator[CropFeatures]:
        return (self[crop] for crop in range(len(self)))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """All crops in memory, for what needs them at once."""
        if copy is False:
            raise ValueError("features on disk cannot be handed out without a copy")
        return np.stack(list(self)).astype(dtype or self.dtype, copy=False)


def _sliced_crop(
    read: Callable[[int], CropFeatures], start: int, stop: int, crop: int
) -> CropFeatures:
    return read(crop)[start:stop]


FeatureArray = NDArray[np.float32] | NDArray[np.float16]
AnyFeatures = FeatureArray | CropArray


def slice_snippets(array: AnyFeatures, start: int, stop: int) -> AnyFeatures:
    """(C, stop - start, D) the snippets of (C, T, D) from ``start`` to before ``stop``."""
    if isinstance(array, CropArray):
        return array.between(start, stop)
    return array[:, start:stop]


class CropViews(Sequence[NDArray[np.float32]]):
    """The crops of one or more features in a row, each (T, D) float32.

    Those on disk are read when they are asked for; those in memory are float32 from then on.
    """

    def __init__(self, arrays: Sequence[AnyFeatures]):
        ready = [
            a if isinstance(a, CropArray) else a.astype(np.float32, copy=False) for a in arrays
        ]
        self._places = [(array, crop) for array in ready for crop in range(len(array))]
        self._ready = tuple(ready)

    @property
    def arrays(self) -> tuple[AnyFeatures, ...]:
        """What the crops are of, each (C, T, D)."""
        return self._ready

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> NDArray[np.float32]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[NDArray[np.float32]]: ...

    def __getitem__(
        self, index: int | slice
    ) -> NDArray[np.float32] | Sequence[NDArray[np.float32]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        array, crop = self._places[index]
        return array[crop].astype(np.float32, copy=False)
