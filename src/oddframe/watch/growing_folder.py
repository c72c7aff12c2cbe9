"""A folder that a recorder writes videos into: which of them is complete and comes next."""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from oddframe.errors import InputError

_SUFFIXES = frozenset(
    {".mp4", ".mkv", ".avi", ".mov", ".ts", ".m4v", ".webm", ".flv", ".mpg", ".mpeg"}
)
_SETTLED_S = 2.0  # A file that has not grown for so long is complete.


@dataclass(frozen=True, order=True)
class RecordedFile:
    """A video in the folder; the one that was written first is the smallest.

    Attributes:
        written_s: When it was written last (``time.time``).
        path: Where it is.
        size: In bytes.
    """

    written_s: float
    path: Path
    size: int


class GrowingFolder:
    """Gives each video of a folder and those below once, when it does not grow any more.

    Args:
        folder: Hidden files in it are being written, and left out.
        written_after_s: Videos that are there and were written earlier are left out.
    """

    def __init__(self, folder: Path, written_after_s: float) -> None:
        self._folder = folder
        found = self._videos()
        self._known = {each.path for each in found if each.written_s <= written_after_s}
        self._growing: dict[Path, tuple[int, float]] = {}  # Size, and since when it has it.

    def next_complete(self) -> RecordedFile | None:
        """The next video; None: there is none now, or the next one still grows.

        Those after one that grows wait for it: they are later.

        Raises:
            InputError: the folder cannot be listed.
        """
        found = self._videos()
        paths = {each.path for each in found}
        self._known &= paths
        self._growing = {path: seen for path, seen in self._growing.items() if path in paths}
        new = next((each for each in found if each.path not in self._known), None)
        if new is None:
            return None
        size, since_s = self._growing.get(new.path, (-1, 0.0))
        if size != new.size:
            self._growing[new.path] = new.size, time.monotonic()
            return None
        if time.monotonic() - since_s < _SETTLED_S:
            return None
        self._known.add(new.path)
        return new

    def _videos(self) -> list[RecordedFile]:
        """All videos, oldest first."""
        found = []
        for folder, _, names in os.walk(self._folder, onerror=self._check_error):
            for name in names:
                path = Path(folder, name)
                if path.suffix.lower() in _SUFFIXES and not name.startswith("."):
                    with suppress(OSError):  # The recorder has just removed it.
                        status = path.stat()
                        if stat.S_ISREG(status.st_mode):
                            found.append(RecordedFile(status.st_mtime, path, status.st_size))
        return sorted(found)

    def _check_error(self, error: OSError) -> None:
        """A folder below may have been removed; without the folder itself, nothing can come."""
        if error.filename == str(self._folder):
            raise InputError(f"{self._folder}: cannot be listed ({error.strerror})")
