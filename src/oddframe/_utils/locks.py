"""Locks between processes: the system releases one when its process ends, however it ends."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from filelock import lock_descriptor, unlock_descriptor

_POLL_S = 0.05
# A link at the place of a lock is not followed: what it leads to would be overwritten.
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)


class ProcessLock:
    """A lock on the file ``path``, which holds the number of the process while it is held.

    The file is made by ``acquire`` and removed by ``release``; one that a killed process left does
    not hold the lock. On a file system without locks every process acquires it, but for those that
    say otherwise.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def acquire(self, wait_s: float = 0.0, *, if_unsupported: bool = True) -> bool:
        """Take the lock; False if another process, or another lock of this one, has it.

        Args:
            wait_s: Seconds to wait for it.
            if_unsupported: The answer on a file system without locks; False where something is
                removed that a living process may still use.

        Raises:
            OSError: the file cannot be written.
        """
        until = time.monotonic() + wait_s
        while not self._taken(if_unsupported):
            if time.monotonic() >= until:
                return False
            time.sleep(_POLL_S)
        return True

    def release(self) -> None:
        """Remove the file and let go of the lock, if it is held."""
        if self._file is None:
            return
        file, self._file = self._file, None
        with suppress(OSError):
            if self._is_at_path(file):
                self.path.unlink()
        with suppress(OSError):  # Explicitly, because a child process may have a copy of ``file``.
            unlock_descriptor(file)
        os.close(file)

    def holder(self) -> int | None:
        """Number of the process that has the lock; None if the file does not say it."""
        with suppress(OSError, ValueError):
            return int(self.path.read_text())
        return None

    def _taken(self, if_unsupported: bool) -> bool:
        while True:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                file = os.open(self.path, _FLAGS, 0o644)
            except FileNotFoundError:  # Another process has just removed the folder.
                continue
            if not try_lock(file, if_unsupported=if_unsupported):
                os.close(file)
                return False
            # Its last owner may have removed the file between our opening and locking it.
            if self._is_at_path(file):
                break
            os.close(file)
        self._file = file
        try:
            os.ftruncate(file, 0)
            os.write(file, f"{os.getpid()}\n".encode())
        except BaseException:
            self.release()
            raise
        return True

    def _is_at_path(self, file: int) -> bool:
        try:
            return os.path.samestat(self.path.stat(), os.fstat(file))
        except FileNotFoundError:
            return False


def wait_for_lock(file: int) -> None:
    """Lock an open file until it is closed; where the file system has no locks, do nothing."""
    while not try_lock(file, if_unsupported=True):
        time.sleep(_POLL_S)


def try_lock(file: int, *, if_unsupported: bool) -> bool:
    """Lock an open file until it is closed; False if another process has locked it.

    Args:
        file: Its descriptor.
        if_unsupported: The answer where the file system has no locks.
    """
    try:
        return lock_descriptor(file, blocking=False)
    except OSError:
        return if_unsupported
