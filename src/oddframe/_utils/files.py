"""Reads untrusted files, writes and hashes files, and converts values to JSON.

A file is opened only if it is a regular file: a named pipe would block, and a device may never end.
It is written so that a reader sees the old one or the new one, never half.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from math import isfinite
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import BinaryIO

from oddframe._utils.locks import ProcessLock, try_lock
from oddframe.errors import InputError, OddframeError

# Bytes of a name that its temporary file keeps: with what is added, 255 are the most there can be.
_KEPT = 200
_PART = re.compile(r"\.(.+)\.[0-9a-f]{8}\.part", re.DOTALL)

# What file systems take of a name, and of a path, in bytes.
_MOST_NAME, _MOST_PATH = 255, 4095
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
}
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
_SCRATCH, _SCRATCH_LOCK, _SCRATCH_S = "oddframe-", "lock", 60.0

_BLOCK = 4 * 2**20  # Bytes that are hashed at once.
_HASHES: dict[tuple[Path, int, int], str] = {}  # By path, size and date.
_MOST_HASHES = 2**16
_NEW_NS = 3_000_000_000


def cache_dir() -> Path:
    """Where converted networks are kept: ``$ODDFRAME_CACHE``, else the user's cache folder."""
    if own := os.environ.get("ODDFRAME_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oddframe"


def is_file(path: Path) -> bool:
    """Whether there is a regular file; False, and no error, for a path that no file can have."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def exists(path: Path) -> bool:
    """Whether there is anything; False, and no error, for a path that no file can have."""
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def is_dir(path: Path) -> bool:
    """Whether there is a folder; False, and no error, for a path that none can have."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def invalid_path_reason(text: str) -> str:
    """What is wrong with a path that no file can have; "" if nothing is."""
    if "\0" in text:
        return "holds a NUL character"
    if any(len(os.fsencode(part)) > _MOST_NAME for part in Path(text).parts):
        return f"has a name of more than {_MOST_NAME} bytes"
    return f"has more than {_MOST_PATH} bytes" if len(os.fsencode(text)) > _MOST_PATH else ""


def check_regular(path: Path, error: type[OddframeError] = InputError) -> None:
    """Refuse what is not a regular file, for libraries that open a path themselves.

    Raises:
        error: there is nothing, or a folder, a named pipe, a socket or a device.
    """
    with open_regular_file(path, error):
        pass


def open_regular_file(path: Path, error: type[OddframeError] = InputError) -> BinaryIO:
    """Open a regular file for reading; a named pipe does not block.

    Args:
        path: The file.
        error: What is raised.

    Raises:
        error: there is nothing, or a folder, a named pipe, a socket or a device; or it may not be
            read.
    """
    try:
        # Without O_NONBLOCK, opening a pipe waits until somebody writes into it.
        number = os.open(path, os.O_RDONLY | _NO_WAIT | getattr(os, "O_BINARY", 0))
    except OSError as reason:
        if reason.errno == errno.ENXIO:
            raise error(f"{path}: a socket or a device, not a file") from None
        if isinstance(reason, FileNotFoundError):
            raise error(f"{path}: no such file") from None
        raise error(f"{path}: cannot be read ({reason.strerror or reason})") from None
    except ValueError:
        raise error(f"{path}: no file can have this name") from None
    kind = stat.S_IFMT(os.fstat(number).st_mode)
    if kind != stat.S_IFREG:
        os.close(number)
        what = _KINDS.get(kind, "a device")
        raise error(f"{path}: {what}, not a file; name a file on disk")
    if _NO_WAIT:
        os.set_blocking(number, True)
    return os.fdopen(number, "rb")


def read_bytes(path: Path, max_bytes: int, error: type[OddframeError] = InputError) -> bytes:
    """The whole of a regular file of at most ``most`` bytes.

    Raises:
        error: as ``open_regular_file``, or it is larger.
    """
    with open_regular_file(path, error) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            data = file.read(min(max_bytes, size) + 1)  # Room for all of it is made at once.
        except OSError as reason:
            raise error(f"{path}: cannot be read ({reason.strerror or reason})") from None
    if len(data) > max_bytes:
        raise error(f"{path}: too large for what it should be; at most {max_bytes // 2**10:,} KiB")
    return data


@contextmanager
def translate_os_errors(path: Path) -> Iterator[None]:
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
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``; it takes the place of ``path`` at the end.

    Its contents are on the disk before it moves. After any error inside, ``path`` is as it was and
    the temporary file is gone. The temporary file is locked as long as this process lives: those
    that killed processes left in the folder are removed. Its name says nothing of the format:
    whoever writes it has to.

    Raises:
        OddframeError: the file cannot be written or moved into its place.
    """
    name = f".{path.name.encode()[:_KEPT].decode(errors='ignore')}."
    with translate_os_errors(path):
        remove_stale_parts(path.parent)
        part, file = _locked_part(path.with_name(name))
    try:
        yield part
        with translate_os_errors(path):
            os.fsync(file)
            if sys.platform == "win32":  # Which moves no file that is open.
                os.close(file)
                file = -1
            part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if file >= 0:
            os.close(file)


def remove_stale_parts(folder: Path) -> None:
    """Remove the temporary files of ``atomic_write`` that processes which no longer live left
    there.

    Raises:
        OSError: the folder cannot be read.
    """
    for name in os.listdir(folder):  # noqa: PTH208 (a million paths would take seconds)
        if _PART.fullmatch(name) is None:
            continue
        left = folder / name
        with suppress(OSError):  # Another process may be faster, or it is not ours to remove.
            file = os.open(left, os.O_RDWR | getattr(os, "O_NONBLOCK", 0))
            try:
                if try_lock(file, if_unsupported=False):
                    left.unlink()
            finally:
                os.close(file)


def _locked_part(start: Path) -> tuple[Path, int]:
    """A new temporary file, whose name begins with ``start``, and its locked descriptor."""
    while True:
        part = start.with_name(f"{start.name}{secrets.token_hex(4)}.part")
        file = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        # On Windows an open file cannot be removed, and a lock would keep us from writing it.
        if sys.platform == "win32" or try_lock(file, if_unsupported=True):
            if os.fstat(file).st_nlink:
                return part, file
        os.close(file)  # Another process swept it before it was locked.


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """A new, empty folder that is removed at the end.

    Those that killed processes left beside it are removed first.

    Args:
        parent: Where; it is made if need be. None: where the system keeps temporary files.

    Raises:
        OSError: it cannot be made.
    """
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=_SCRATCH, dir=parent, ignore_cleanup_errors=True) as name:
        lock = ProcessLock(Path(name, _SCRATCH_LOCK))
        lock.acquire(_SCRATCH_S)  # Another process may just be looking whether it is a leftover.
        try:
            for left in Path(name).parent.glob(f"{_SCRATCH}*/{_SCRATCH_LOCK}"):
                if left != lock.path:
                    _sweep_scratch(left)
            work = Path(name, "work")
            work.mkdir()
            yield work
        finally:
            lock.release()


def _sweep_scratch(lock_file: Path) -> None:
    """Remove the folder of ``lock_file`` if it is this user's and no process holds the lock."""
    lock = ProcessLock(lock_file)
    with suppress(OSError):
        if hasattr(os, "geteuid") and lock_file.parent.lstat().st_uid != os.geteuid():
            return
        if lock.acquire(if_unsupported=False):
            shutil.rmtree(lock_file.parent, ignore_errors=True)
            lock.release()


def _target(path: Path) -> Path:
    """What ``atomic_write`` puts in the place of a temporary path; any other path as it is."""
    if found := _PART.fullmatch(path.name):
        return path.with_name(found[1])
    return path


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, unless it is there.

    Raises:
        OddframeError: it cannot be made.
    """
    with translate_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all; folders on the way are made.

    Raises:
        OddframeError: the file cannot be written.
    """
    with translate_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part, translate_os_errors(path):
        part.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with plain line feeds, whole or not at all.

    Raises:
        OddframeError: the file cannot be written.
    """
    write_bytes(path, text.encode("utf-8", errors="replace"))


def json_text(data: object, *, indent: int | None = None, nan_is_null: bool = True) -> str:
    """JSON text of plain data: mappings, sequences, texts, numbers, truths.

    NumPy's numbers, truths and arrays, which ``json`` refuses, are written as Python's: they come
    into any figure that is computed with an array. Paths are written as text.

    Args:
        data: What to write.
        indent: Spaces; None: all in one line.
        nan_is_null: Write ``null`` for a number that is not finite, which JSON does not have;
            otherwise ``NaN`` and ``Infinity``, which only Python reads.
    """
    return json.dumps(_plain(data, nan_is_null), indent=indent)


def _plain(value: object, nan_is_null: bool) -> object:
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(_plain(k, nan_is_null)): _plain(v, nan_is_null) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, nan_is_null) for each in value]
    if isinstance(value, PurePath):
        return str(value)
    return None if nan_is_null and isinstance(value, float) and not isfinite(value) else value


def file_sha256(path: Path, heartbeat: Callable[[], None] = lambda: None) -> str:
    """sha256 (hex) of a file; it is read once as long as its size and date stay.

    Args:
        path: The file.
        heartbeat: Called now and then, for who waits for it.

    Raises:
        InputError: it cannot be read.
    """
    digest = hashlib.sha256()
    with open_regular_file(path) as file:
        try:
            about = os.fstat(file.fileno())
            key = (path, about.st_size, about.st_mtime_ns)
            if (known := _HASHES.get(key)) is not None:
                return known
            while block := file.read(_BLOCK):
                digest.update(block)
                heartbeat()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    # Clocks of file systems tick slowly: what is new may change once more and keep its date.
    if time.time_ns() - about.st_mtime_ns > _NEW_NS and len(_HASHES) < _MOST_HASHES:
        _HASHES[key] = digest.hexdigest()
    return digest.hexdigest()
