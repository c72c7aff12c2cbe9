"""One training at a time in one place."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from oddframe.errors import OddframeError
from oddframe.files import told

if sys.platform == "win32":
    import msvcrt

    def _take(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file ``path``, which names the process, and remove it at the end.

    The operating system lets go of it when its process ends, however that ends: what a killed one
    left behind is simply taken over, even where another process has got its number since.

    Args:
        path: The lock file.
        what: What must not be done twice at the same time, for the message.

    Raises:
        OddframeError: another process holds it, or it cannot be written.
    """
    file = _opened(path, what)
    try:
        with told(path):
            os.ftruncate(file, 0)
            os.write(file, f"{os.getpid()}\n".encode())
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(file)


def _opened(path: Path, what: str) -> int:
    while True:
        with told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _take(file)
        except OSError:
            os.close(file)
            holder = _holder(path)
            raise OddframeError(
                f"{what}: another training is at work there{holder}; wait for it, stop it, or "
                "choose another place with --out"
            ) from None
        # Whoever held it may have removed the file between our opening and our taking it.
        with suppress(OSError):
            if path.stat().st_ino == os.fstat(file).st_ino:
                return file
        os.close(file)


def _holder(path: Path) -> str:
    with suppress(OSError, ValueError):
        return f" (process {int(path.read_text())})"
    return ""
