"""Locks between processes, which the system releases when a process ends, even by a kill."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from filelock import lock_descriptor, unlock_descriptor

_POLL_S = 0.05
# A symbolic link is not followed: its target would be overwritten.
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)


class ProcessLock:
    """A lock on the file ``path``, which contains the process id while the lock is held.

    ``acquire`` creates the file and ``release`` removes it; a file left by a killed process is not
    locked. On a file system without locks, ``if_unsupported`` is the result of locking: pass False
    before removing something that a running process may still use.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def acquire(self, wait_s: float = 0.0, *, if_unsupported: bool = True) -> bool:
        """Acquire the lock; False if another process or another ``ProcessLock`` holds it."""
        until = time.monotonic() + wait_s
        while not self._try_acquire(if_unsupported):
            if time.monotonic() >= until:
                return False
            time.sleep(_POLL_S)
        return True

    def release(self) -> None:
        """Remove the file and release the lock, if it is held."""
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
        """Id of the process that holds the lock; None if the file does not tell it."""
        with suppress(OSError, ValueError):
            return int(self.path.read_text())
        return None

    def _try_acquire(self, if_unsupported: bool) -> bool:
        while True:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                file = os.open(self.path, _FLAGS, 0o644)
            except FileNotFoundError:  # Another process has just removed the folder.
                continue
            if not try_lock(file, if_unsupported=if_unsupported):
                os.close(file)
                return False
            # The last owner may have removed the file between opening and locking it here.
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
    """Lock an open file until it is closed; do nothing on a file system without locks."""
    while not try_lock(file, if_unsupported=True):
        time.sleep(_POLL_S)


def try_lock(file: int, *, if_unsupported: bool) -> bool:
    """Lock a file descriptor until it is closed; False if another process has locked it."""
    try:
        return lock_descriptor(file, blocking=False)
    except OSError:
        return if_unsupported
