"""Features of a video that is still being extracted, kept so that a killed run can go on.

A folder of chunks, each written whole or not at all. Going on decodes the video from its start
again, which is cheap, but gives the backbone only what it has not seen.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from oddframe.features.lazy import CropArray
from oddframe.files import make_folder, told, write_bytes

# A minute or two of work on two cores.
CHUNK = 256


class Partial:
    """Rows (snippets, C, D) in ``folder``, in order; nothing is written before a chunk is full."""

    def __init__(self, folder: Path, chunk: int = CHUNK):
        self.folder = folder
        self._chunk = chunk
        self._waiting: list[NDArray[np.float32]] = []
        self._written = 0

    def known(self, crops: int, dim: int) -> int:
        """Rows in the chunks that are whole and of this shape; ``add`` goes on after them."""
        self._waiting, self._written = [], 0
        while self._is_whole(self._path(self._written), (self._chunk, crops, dim)):
            self._written += 1
        return self._written * self._chunk

    def load(self, crops: int, dim: int) -> NDArray[np.float32]:
        """(n, crops, dim) rows of the chunks that are whole and of this shape; n may be 0."""
        self.known(crops, dim)
        return np.concatenate([np.zeros((0, crops, dim), np.float32), *self._chunks()])

    def add(self, rows: NDArray[np.float32]) -> None:
        """The next rows (n, C, D), after those that ``known`` or ``load`` found.

        Raises:
            OddframeError: a chunk cannot be written.
        """
        self._waiting += list(rows)
        while len(self._waiting) >= self._chunk:
            chunk = np.stack(self._waiting[: self._chunk])
            write_bytes(self._path(self._written), save({"rows": chunk}))
            self._written += 1
            self._waiting = self._waiting[self._chunk :]

    def whole(self, crops: int, dim: int) -> CropArray:
        """All rows (C, T, D), read from ``folder`` where they are looked at, until ``discard``.

        Raises:
            OddframeError: they cannot be put together there.
        """
        make_folder(self.folder)
        # A name of its own: another run may be at the same video.
        path = self.folder / f"whole-{secrets.token_hex(4)}"
        shape = (crops, self._written * self._chunk + len(self._waiting), dim)
        with told(path):
            together = np.memmap(path, np.float32, "w+", shape=shape)
            start = 0
            for rows in self._chunks():
                together[:, start : start + len(rows)] = rows.swapaxes(0, 1)
                start += len(rows)
            together.flush()
        return CropArray(shape, np.dtype(np.float32), partial(_mapped, path, shape))

    def discard(self) -> None:
        """Remove the folder: the video is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _chunks(self) -> Iterator[NDArray[np.float32]]:
        for number in range(self._written):
            yield load_file(self._path(number))["rows"]
        if self._waiting:
            yield np.stack(self._waiting)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.safetensors"

    def _is_whole(self, path: Path, shape: tuple[int, int, int]) -> bool:
        try:
            with safe_open(path, framework="np") as file:
                rows = file.get_slice("rows")
                return (*rows.get_shape(), rows.get_dtype()) == (*shape, "F32")
        except (OSError, SafetensorError):
            return False


def _mapped(path: Path, shape: tuple[int, int, int], crop: int) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = np.asarray(np.memmap(path, np.float32, "r", shape=shape))[crop]
    return rows
