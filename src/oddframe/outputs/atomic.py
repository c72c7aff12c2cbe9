"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from oddframe.errors import OddframeError


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write ``path`` into one line.

    Raises:
        OddframeError: no permission, disk full, name too long, and so on.
    """
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        way = "free some space, or " if error.errno == errno.ENOSPC else ""
        raise OddframeError(
            f"{path}: cannot be written ({reason}); {way}choose another place with --out"
        ) from error


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``; it takes the place of ``path`` at the end.

    After any error inside, ``path`` is as it was and the temporary file is gone. The name of the
    temporary file says nothing of the format: whoever writes it has to.

    Raises:
        OddframeError: the file cannot be moved into its place.
    """
    # Short: a name that just fits into 255 bytes leaves no room for anything more.
    part = path.with_name(f".{os.getpid()}-{abs(hash(path.name)) % 10**8:08d}.part")
    try:
        yield part
        with told(path):
            part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, unless it is there.

    Raises:
        OddframeError: it cannot be made.
    """
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with plain line feeds, whole or not at all.

    Raises:
        OddframeError: the file cannot be written.
    """
    write_bytes(path, text.encode("utf-8", errors="replace"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        OddframeError: the file cannot be written.
    """
    with atomic(path) as part, told(path):
        part.write_bytes(data)
