"""Saves the features of an unfinished extraction, so that a killed run can be resumed.

A folder has one file of rows a crop, which grows by a whole chunk of snippets at a time, and
``done.json``, which states how many rows are complete. A resumed run decodes the video from its
start, which is cheap, but computes only the features that are missing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oddframe._utils.files import make_folder, open_regular_file, translate_os_errors, write_text
from oddframe._utils.locks import ProcessLock
from oddframe.errors import InputError
from oddframe.features.lazy_array import CropArray

# Snippets that are written at a time: a minute or two of work on two cores.
CHUNK_SNIPPETS = 256
# Seconds until the folder of a killed run is removed.
_KEPT_S = 7 * 86_400.0
_LOCK = ".lock"
# Names of such folders: in a store's ``unfinished`` (there also without the ending, as an earlier
# version named them), and hidden beside score files.
_NAME = re.compile(r"unfinished/[0-9a-f]{24}(\.partial)?|.*/\.[0-9a-f]{16}\.partial", re.DOTALL)


class PartialFeatures:
    """Rows (snippets, C, D) in ``folder``, written ``chunk`` snippets at a time.

    Processes that may use the same folder call ``acquire`` first and ``release`` at the end; the
    other methods are for the process that holds the lock. Each chunk is written in the context
    ``writing``, for example one that sends heartbeats while a slow disk is busy.
    """

    def __init__(
        self,
        folder: Path,
        chunk: int = CHUNK_SNIPPETS,
        writing: Callable[[], AbstractContextManager[None]] = nullcontext,
    ):
        self.folder = folder
        self._chunk, self._writing = chunk, writing
        self._lock = _folder_lock(folder)
        self._waiting: list[NDArray[np.float32]] = []
        self._written = 0

    def acquire(self, wait_s: float = 0.0) -> bool:
        """Lock the folder; False if another process holds the lock.

        Also removes folders beside it that killed runs have left for more than a week.
        """
        with translate_os_errors(self._lock.path):
            if not self._lock.acquire(wait_s):
                return False
        _remove_old(self.folder.parent)
        return True

    def release(self) -> None:
        """Unlock the folder."""
        self._lock.release()

    def count_rows(self, crops: int, dim: int) -> int:
        """Number of complete rows of this shape; ``add`` appends to them."""
        self._waiting, self._written = [], 0
        try:
            with open_regular_file(self.folder / "done.json") as file:
                done = json.loads(file.read())
            if (done["crops"], done["dim"]) == (crops, dim):
                on_disk = min(path.stat().st_size // (4 * dim) for path in self._paths(crops))
                rows = min(int(done["rows"]), on_disk)
                self._written = max(0, rows - rows % self._chunk)
        except (OSError, InputError, ValueError, TypeError, KeyError):
            pass  # Nothing that can be used.
        return self._written

    def load(self, crops: int, dim: int) -> NDArray[np.float32]:
        """(n, crops, dim) the complete rows of this shape; n may be 0."""
        n = self.count_rows(crops, dim)
        if not n:
            return np.zeros((0, crops, dim), np.float32)
        rows = [
            np.fromfile(path, np.float32, n * dim).reshape(n, dim) for path in self._paths(crops)
        ]
        return np.stack(rows, axis=1)

    def add(self, rows: NDArray[np.float32]) -> None:
        """Append rows (n, C, D) to those that ``count_rows`` or ``load`` found."""
        self._waiting += list(rows)
        while len(self._waiting) >= self._chunk:
            chunk = np.stack(self._waiting[: self._chunk])
            with self._writing():
                self._append(chunk)
                done = {"rows": self._written, "crops": chunk.shape[1], "dim": chunk.shape[2]}
                write_text(self.folder / "done.json", json.dumps(done))
            self._waiting = self._waiting[self._chunk :]

    def finish(self, crops: int, dim: int) -> CropArray:
        """All rows (C, T, D), read from disk on access; valid until ``discard``."""
        if self._waiting:
            with self._writing():  # ``done.json`` counts whole chunks only.
                self._append(np.stack(self._waiting))
            self._waiting = []
        shape = (self._written, dim)
        read = partial(_mapped, self._paths(crops), shape)
        return CropArray((crops, *shape), np.dtype(np.float32), read)

    def discard(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _append(self, rows: NDArray[np.float32]) -> None:
        make_folder(self.folder)
        before = self._written * rows.shape[2] * 4
        for crop, path in enumerate(self._paths(rows.shape[1])):
            with translate_os_errors(path), path.open("ab") as file:
                file.truncate(before)  # Of a run that was killed while it wrote.
                file.write(np.ascontiguousarray(rows[:, crop], np.float32).data)
                file.flush()
                os.fsync(file.fileno())
        self._written += len(rows)

    def _paths(self, crops: int) -> list[Path]:
        return [self.folder / f"{crop:03d}.rows" for crop in range(crops)]


def _mapped(paths: Sequence[Path], shape: tuple[int, int], crop: int) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = np.asarray(np.memmap(paths[crop], np.float32, "r", shape=shape))
    return rows


def _folder_lock(folder: Path) -> ProcessLock:
    return ProcessLock(folder.with_name(folder.name + _LOCK))


def _remove_old(parent: Path) -> None:
    """Remove folders in ``parent`` that killed runs left and that were not resumed for a week."""
    with suppress(OSError):
        names = {name.removesuffix(_LOCK) for name in os.listdir(parent)}  # noqa: PTH208
        for name in names:
            folder = parent / name
            if _NAME.fullmatch(f"{parent.name}/{name}") is None or not _is_old(folder):
                continue
            lock = _folder_lock(folder)
            if lock.acquire(if_unsupported=False):
                try:
                    if _is_old(folder):  # Not resumed since.
                        shutil.rmtree(folder, ignore_errors=True)
                finally:
                    lock.release()


def _is_old(folder: Path) -> bool:
    """Whether nothing was written into a folder for long, or only its lock file is left."""
    try:
        return time.time() - folder.stat().st_mtime > _KEPT_S
    except FileNotFoundError:
        return True
