"""Opens untrusted files, names and writes files, hashes files, and converts values to JSON.

Only regular files are opened: reading a named pipe would block, and a device may never end. When a
file is replaced, a reader sees the old file or the new one, never a part of it.
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
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import product
from math import isfinite
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import BinaryIO

from oddframe._utils.locks import ProcessLock, try_lock
from oddframe.errors import InputError, OddframeError

_KEPT_NAME_BYTES = 200  # Of a file's name in that of its temporary file, at most 255 in all.
_PART_NAME = re.compile(r"\.(.+)\.[0-9a-f]{8}\.part", re.DOTALL)

_MAX_NAME, _MAX_PATH = 255, 4095  # What file systems accept, in bytes.
_FILE_TYPES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
}
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
_SCRATCH_PREFIX, _SCRATCH_LOCK, _SCRATCH_LOCK_S = "oddframe-", "lock", 60.0

_BLOCK_BYTES = 4 * 2**20
_hash_cache: dict[tuple[Path, int, int], str] = {}  # By path, size and modification time.
_MAX_CACHED_HASHES = 2**16
_MIN_CACHED_AGE_NS = 3_000_000_000

# What some file system or shell does not accept: separators, wildcards, control characters, and
# surrogates, which is how Python returns bytes that are not text.
_UNSAFE = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f\ud800-\udfff]+')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_MAX_SAFE_BYTES = 180  # An ending such as ".annotated.mp4" has to fit into 255 as well.


def cache_dir() -> Path:
    """The cache of converted networks: ``$ODDFRAME_CACHE``, else a folder in the user's cache."""
    if own := os.environ.get("ODDFRAME_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oddframe"


# Unlike pathlib's methods, these never raise for a path that no file can have.
is_file, is_dir, exists = os.path.isfile, os.path.isdir, os.path.exists


def invalid_path_reason(text: str) -> str:
    """Why no file can have this path; "" if the path is valid."""
    if "\0" in text:
        return "holds a NUL character"
    if any(len(os.fsencode(part)) > _MAX_NAME for part in Path(text).parts):
        return f"has a name of more than {_MAX_NAME} bytes"
    return f"has more than {_MAX_PATH} bytes" if len(os.fsencode(text)) > _MAX_PATH else ""


def check_regular(path: Path) -> None:
    """InputError if a path is no regular file, before a library opens it."""
    open_regular_file(path).close()


def open_regular_file(path: Path, error: type[OddframeError] = InputError) -> BinaryIO:
    """Open a regular file for reading, or raise ``error``; a named pipe does not block."""
    try:
        # Without O_NONBLOCK, opening a pipe blocks until another process writes into it.
        number = os.open(path, os.O_RDONLY | _NONBLOCK | getattr(os, "O_BINARY", 0))
    except OSError as reason:
        if reason.errno == errno.ENXIO:
            raise error(f"{path}: a socket or a device, not a file") from None
        if isinstance(reason, FileNotFoundError):
            raise error(f"{path}: no such file") from None
        raise error(f"{path}: {describe_read_error(reason)}") from None
    except ValueError:
        raise error(f"{path}: no file can have this name") from None
    kind = stat.S_IFMT(os.fstat(number).st_mode)
    if kind != stat.S_IFREG:
        os.close(number)
        what = _FILE_TYPES.get(kind, "a device")
        raise error(f"{path}: {what}, not a file; name a file on disk")
    if _NONBLOCK:
        os.set_blocking(number, True)
    return os.fdopen(number, "rb")


def read_bytes(path: Path, max_bytes: int, error: type[OddframeError] = InputError) -> bytes:
    """Read a regular file of at most ``max_bytes`` bytes, or raise ``error``."""
    with open_regular_file(path, error) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            data = file.read(min(max_bytes, size) + 1)  # One allocation.
        except OSError as reason:
            raise error(f"{path}: {describe_read_error(reason)}") from None
    if len(data) > max_bytes:
        raise error(f"{path}: too large for what it should be; at most {max_bytes // 2**10:,} KiB")
    return data


def describe_read_error(error: OSError) -> str:
    """Describe in one line why a file cannot be read, without its path."""
    return f"cannot be read ({error.strerror or error})"


@contextmanager
def translate_os_errors(path: Path) -> Iterator[None]:
    """Convert OSErrors of writing ``path`` to an ``OddframeError`` with a one-line message."""
    try:
        yield
    except OSError as error:
        if found := _PART_NAME.fullmatch(path.name):
            path = path.with_name(found[1])  # What the temporary file replaces.
        reason = (error.strerror or str(error)).lower()
        advice = "free some space, or " if error.errno == errno.ENOSPC else ""
        raise OddframeError(
            f"{path}: cannot be written ({reason}); {advice}choose another place for it"
        ) from error


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Provide a temporary file beside ``path``, which replaces ``path`` at the end of the block.

    After an exception, ``path`` is unchanged. The temporary file is locked while this process
    lives, so that those of killed processes can be removed. Its name has another ending than
    ``path``: the writer must set the format explicitly.
    """
    name = f".{path.name.encode()[:_KEPT_NAME_BYTES].decode(errors='ignore')}."
    with translate_os_errors(path):
        remove_stale_parts(path.parent)
        part, file = _create_locked_part(path.with_name(name))
    try:
        yield part
        with translate_os_errors(path):
            os.fsync(file)
            if sys.platform == "win32":  # Windows cannot move an open file.
                os.close(file)
                file = -1
            part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if file >= 0:
            os.close(file)


def remove_stale_parts(folder: Path) -> None:
    """Remove temporary files of ``atomic_write`` whose process has ended."""
    for name in os.listdir(folder):  # noqa: PTH208 (a million paths would take seconds)
        if _PART_NAME.fullmatch(name) is None:
            continue
        part = folder / name
        with suppress(OSError):  # Another process was faster, or this user may not remove it.
            file = os.open(part, os.O_RDWR | _NONBLOCK)
            try:
                if try_lock(file, if_unsupported=False):
                    part.unlink()
            finally:
                os.close(file)


def _create_locked_part(start: Path) -> tuple[Path, int]:
    """Create and lock a temporary file whose name begins with ``start``; return its descriptor."""
    while True:
        part = start.with_name(f"{start.name}{secrets.token_hex(4)}.part")
        file = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        # On Windows, an open file cannot be removed, and a lock would prevent writing it.
        if sys.platform == "win32" or try_lock(file, if_unsupported=True):
            if os.fstat(file).st_nlink:
                return part, file
        os.close(file)  # Another process removed it before it was locked.


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """Create an empty folder that is removed at the end of the block.

    Folders that killed processes left in the same parent are removed first. ``parent`` is created
    if it is missing; None: the system's folder of temporary files.
    """
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=_SCRATCH_PREFIX, dir=parent, ignore_cleanup_errors=True) as name:
        lock = ProcessLock(Path(name, _SCRATCH_LOCK))
        lock.acquire(_SCRATCH_LOCK_S)  # Another process may be testing whether it is stale.
        try:
            for lock_file in Path(name).parent.glob(f"{_SCRATCH_PREFIX}*/{_SCRATCH_LOCK}"):
                if lock_file != lock.path:
                    _remove_stale_scratch(lock_file)
            work = Path(name, "work")
            work.mkdir()
            yield work
        finally:
            lock.release()


def _remove_stale_scratch(lock_file: Path) -> None:
    """Remove the folder of ``lock_file`` if this user owns it and no process holds the lock."""
    lock = ProcessLock(lock_file)
    with suppress(OSError):
        if hasattr(os, "geteuid") and lock_file.parent.lstat().st_uid != os.geteuid():
            return
        if lock.acquire(if_unsupported=False):
            shutil.rmtree(lock_file.parent, ignore_errors=True)
            lock.release()


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, unless it exists."""
    with translate_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically; missing parent folders are created."""
    with translate_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            part.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with plain line feeds atomically."""
    write_bytes(path, text.encode("utf-8", errors="replace"))


def json_text(data: object, *, indent: int | None = None, nan_is_null: bool = True) -> str:
    """Convert data to JSON text, also paths, NumPy scalars and arrays.

    Numbers that are not finite, which JSON does not have, become ``null``; without ``nan_is_null``
    they become ``NaN`` and ``Infinity``, which only Python reads.
    """
    return json.dumps(_to_plain(data, nan_is_null), indent=indent)


def _to_plain(value: object, nan_is_null: bool) -> object:
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(_to_plain(k, nan_is_null)): _to_plain(v, nan_is_null) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(each, nan_is_null) for each in value]
    if isinstance(value, PurePath):
        return str(value)
    return None if nan_is_null and isinstance(value, float) and not isfinite(value) else value


def file_sha256(path: Path, heartbeat: Callable[[], None] = lambda: None) -> str:
    """sha256 (hex) of a file; cached while its size and modification time stay the same.

    ``heartbeat`` is called after each block that is read.
    """
    digest = hashlib.sha256()
    with open_regular_file(path) as file:
        try:
            about = os.fstat(file.fileno())
            key = (path, about.st_size, about.st_mtime_ns)
            if (known := _hash_cache.get(key)) is not None:
                return known
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
                heartbeat()
        except OSError as error:
            raise InputError(f"{path}: {describe_read_error(error)}") from None
    # Clocks of file systems are coarse: a new file may change again within the same clock tick.
    is_old = time.time_ns() - about.st_mtime_ns > _MIN_CACHED_AGE_NS
    if is_old and len(_hash_cache) < _MAX_CACHED_HASHES:
        _hash_cache[key] = digest.hexdigest()
    return digest.hexdigest()


def safe_file_name(name: str) -> str:
    """A name that every file system accepts: no separator, no leading dash or dot, not empty."""
    name = _UNSAFE.sub("_", unicodedata.normalize("NFC", name)).strip(" ").rstrip(".")
    if name.startswith(("-", ".")):
        name = "_" + name[1:]
    if _RESERVED.fullmatch(name):
        name = f"_{name}"
    if len(name.encode()) > _MAX_SAFE_BYTES:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = name.encode()[: _MAX_SAFE_BYTES - 9].decode(errors="ignore") + "-" + digest
    return name or "video"


def unique_stems(paths: Sequence[Path], reserved: Sequence[str] = ()) -> list[str]:
    """A file name without ending for each path; all differ, also on systems that ignore case.

    A path keeps its own name if no other path has it. Paths with the same name get their endings
    (``a_mp4``, ``a_mkv``), or as many parent folders as needed (``cam1_a``, ``cam2_a``), or a
    number. The same paths always give the same names. ``reserved``, in lower case, is not used.
    """
    names = [safe_file_name(path.name if is_dir(path) else path.stem) for path in paths]
    max_depth = max((len(path.parts) for path in paths), default=1)
    result = list(names)
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for i, name in enumerate(names):
        groups[name.casefold()].append(i)
    for group in groups.values():
        if len(group) == 1:
            continue
        best = 1  # The shortest names among those that distinguish the most paths.
        for folders, ending in product(range(max_depth), (False, True)):
            longer = [_longer_name(paths[i], names[i], folders, ending) for i in group]
            if (distinct := len({name.casefold() for name in longer})) > best:
                best = distinct
                for i, name in zip(group, longer, strict=True):
                    result[i] = name
    return _numbered(result, reserved)


def _longer_name(path: Path, name: str, folders: int, ending: bool) -> str:
    parents = [part for part in path.parts[:-1] if part not in (path.anchor, ".", "..")]
    suffix = path.suffix.replace(".", "_") if ending else ""
    return safe_file_name("_".join([*(parents[-folders:] if folders else []), name + suffix]))


def _numbered(names: Sequence[str], reserved: Sequence[str]) -> list[str]:
    """Names that still collide get -2, -3 …; a name that was unique before keeps its form."""
    taken = {name.casefold() for name in names}
    used = set(reserved)
    result = []
    for name in names:
        unique, number = name, 1
        while unique.casefold() in used or (number > 1 and unique.casefold() in taken):
            number += 1
            unique = f"{name}-{number}"
        used.add(unique.casefold())
        result.append(unique)
    return result
