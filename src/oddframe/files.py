"""Writing files so that a reader sees the old one or the new one, never half of one."""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

from oddframe.errors import OddframeError

# What a killed process left behind is swept away after this long (s): no write takes an hour.
_STALE_S = 3600.0


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``: beside it first, onto the disk, then in its place in one move.

    Folders on the way are made. What earlier killed writes of the same file left is removed.

    Raises:
        OddframeError: it cannot be written; ``path`` is as it was.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise OddframeError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    name = f".{path.name}."
    for left in path.parent.iterdir():
        if left.name.startswith(name) and left.name.endswith(".part"):
            with suppress(OSError):  # Another process was faster, or the folder is not ours.
                if time.time() - left.stat().st_mtime > _STALE_S:
                    left.unlink()
