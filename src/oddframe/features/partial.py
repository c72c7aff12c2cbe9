"""Features of a video that is still being extracted, kept so that a killed run can go on.

A folder of chunks, each written whole or not at all. Going on decodes the video from its start
again, which is cheap, but gives the backbone only what it has not seen.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from oddframe.files import write_bytes

# A minute or two of work on two cores.
CHUNK = 256


class Partial:
    """Rows (snippets, C, D) in ``folder``, in order; nothing is written before a chunk is full."""

    def __init__(self, folder: Path, chunk: int = CHUNK):
        self.folder = folder
        self._chunk = chunk
        self._waiting: list[NDArray[np.float32]] = []
        self._written = 0

    def load(self, crops: int, dim: int) -> NDArray[np.float32]:
        """(n, crops, dim) rows of the chunks that are whole and of this shape; n may be 0."""
        found: list[NDArray[np.float32]] = []
        while (path := self._path(len(found))).is_file():
            try:
                rows = load_file(path)["rows"]
            except (OSError, SafetensorError, KeyError):
                break
            if rows.shape != (self._chunk, crops, dim) or rows.dtype != np.float32:
                break
            found.append(rows)
        self._written = len(found)
        self._waiting = []
        return np.concatenate(found) if found else np.zeros((0, crops, dim), np.float32)

    def add(self, rows: NDArray[np.float32]) -> None:
        """The next rows (n, C, D), after those that ``load`` gave.

        Raises:
            OddframeError: a chunk cannot be written.
        """
        self._waiting += list(rows)
        while len(self._waiting) >= self._chunk:
            chunk = np.stack(self._waiting[: self._chunk])
            write_bytes(self._path(self._written), save({"rows": chunk}))
            self._written += 1
            self._waiting = self._waiting[self._chunk :]

    def discard(self) -> None:
        """Remove the folder: the video is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.safetensors"
