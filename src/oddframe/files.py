"""Writing files so that a reader sees the old one or the new one, never half; hashing them."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from oddframe.errors import InputError, OddframeError

# What a killed process left behind is swept away after this long (s): no write takes an hour.
_STALE_S = 3600.0
# Bytes of a name that its temporary file keeps: with what is added, 255 are the most there can be.
_KEPT = 200
_PART = re.compile(r"\.(.+)\.[0-9a-f]{8}\.part")

_BLOCK = 4 * 2**20  # Bytes that are hashed at once.
_HASHES: dict[tuple[Path, int, int], str] = {}  # By path, size and date.
_MOST_HASHES = 2**16
_NEW_NS = 3_000_000_000


def cache_dir() -> Path:
    """Where converted networks are kept: ``$ODDFRAME_CACHE``, else the user's cache folder."""
    if own := os.environ.get("ODDFRAME_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oddframe"


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
            f"{_target(path)}: cannot be written ({reason}); {way}choose another place for it"
        ) from error


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``; it takes the place of ``path`` at the end.

    Its contents are on the disk before it moves. After any error inside, ``path`` is as it was and
    the temporary file is gone; what earlier killed writes of the same file left is removed. The
    name of the temporary file says nothing of the format: whoever writes it has to.

    Raises:
        OddframeError: the file cannot be written or moved into its place.
    """
    name = f".{path.name.encode()[:_KEPT].decode(errors='ignore')}."
    part = path.with_name(f"{name}{secrets.token_hex(4)}.part")
    try:
        with told(path):
            _sweep(path.parent, name)
        yield part
        with told(path):
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _target(path: Path) -> Path:
    """What ``atomic`` puts in the place of a temporary path; any other path as it is."""
    if found := _PART.fullmatch(path.name):
        return path.with_name(found[1])
    return path


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, unless it is there.

    Raises:
        OddframeError: it cannot be made.
    """
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all; folders on the way are made.

    Raises:
        OddframeError: the file cannot be written.
    """
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as part, told(path):
        part.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with plain line feeds, whole or not at all.

    Raises:
        OddframeError: the file cannot be written.
    """
    write_bytes(path, text.encode("utf-8", errors="replace"))


def file_sha256(path: Path, beat: Callable[[], None] = lambda: None) -> str:
    """sha256 (hex) of a file; it is read once as long as its size and date stay.

    Args:
        path: The file.
        beat: Called now and then, for who waits for it.

    Raises:
        InputError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        about = path.stat()
        key = (path, about.st_size, about.st_mtime_ns)
        if (known := _HASHES.get(key)) is not None:
            return known
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                beat()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    # Clocks of file systems tick slowly: what is new may change once more and keep its date.
    if time.time_ns() - about.st_mtime_ns > _NEW_NS and len(_HASHES) < _MOST_HASHES:
        _HASHES[key] = digest.hexdigest()
    return digest.hexdigest()


def _sweep(folder: Path, name: str) -> None:
    for left in folder.iterdir():
        if left.name.startswith(name) and left.name.endswith(".part"):
            with suppress(FileNotFoundError):  # Another process may be faster.
                if time.time() - left.stat().st_mtime > _STALE_S:
                    left.unlink()
