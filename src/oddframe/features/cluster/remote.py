"""Files and folders wherever they lie: on this machine, in an S3 store, anything fsspec knows."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, TypeVar, cast

from oddframe._utils.files import atomic, make_folder, told
from oddframe.errors import InputError, OddframeError, UsageError
from oddframe.features.extraction.worker import hash_of
from oddframe.features.formats.safetensors_file import StoredHeader, header_in, read_stored_header
from oddframe.features.store.store import content_hash
from oddframe.video.discover import find_inputs, videos_among

_Out = TypeVar("_Out")

# A store that answers badly is asked again after so many seconds each.
_WAITS_S = (1.0, 4.0)
_BLOCK = 4 * 2**20
_HEAD = 64 * 2**10  # Bytes that are fetched at once where only a header is read.


@dataclass(frozen=True)
class Place:
    """A file or a folder: ``s3://bucket/videos``, or a path that all machines see.

    What is read from another machine is asked for three times before it counts as lost.
    """

    text: str

    def __truediv__(self, name: str) -> Place:
        return Place(f"{self.text.rstrip('/')}/{name}")

    @property
    def is_local(self) -> bool:
        """Whether it is a path."""
        return "://" not in self.text

    @property
    def path(self) -> Path:
        """The path of what is local."""
        return Path(self.text)

    def exists(self) -> bool:
        """Whether there is a file.

        Raises:
            InputError: the storage cannot be read.
        """
        if self.is_local:
            return self.path.is_file()
        return bool(self._ask(lambda fs, path: fs.isfile(path)))

    def header(self) -> StoredHeader | None:
        """What the feature file here says of itself; None: there is none, or a damaged one.

        Raises:
            InputError: the storage cannot be read.
        """
        if not self.exists():
            return None
        try:
            if self.is_local:
                return read_stored_header(self.path)
            return self._ask(self._remote_header)
        except InputError:
            return None

    def sha256(self) -> str:
        """Of the content of a video, as ``content_hash`` has it.

        Raises:
            InputError: it cannot be read.
        """
        if self.is_local:
            return hash_of(self.path)

        def read(fs: Any, path: str) -> str:
            if fs.isdir(path):
                with TemporaryDirectory() as folder:
                    _get(fs, path, Path(folder, "frames"))
                    return content_hash(Path(folder, "frames"))
            digest = hashlib.sha256()
            if fs.info(path)["size"] == 0:
                raise InputError(f"{self.text}: the file is empty (0 bytes)")
            with fs.open(path, "rb", block_size=_BLOCK, cache_type="readahead") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
            return digest.hexdigest()

        return self._ask(read)

    def fetch(self, to: Path) -> None:
        """Copy the file or the folder of frames to a path on this machine.

        Raises:
            InputError: it cannot be read.
            OddframeError: it cannot be written.
        """
        make_folder(to.parent)
        with told(to):
            if not self.is_local:
                self._ask(lambda fs, path: _get(fs, path, to))
            elif self.path.is_dir():
                shutil.copytree(self.path, to)
            else:
                shutil.copyfile(self.path, to)

    def put(self, file: Path) -> None:
        """Write a copy of a file here, whole or not at all.

        Raises:
            OddframeError: it cannot be written.
        """
        if self.is_local:
            make_folder(self.path.parent)
            with atomic(self.path) as part, told(self.path):
                shutil.copyfile(file, part)
            return
        try:
            self._ask(lambda fs, path: fs.put_file(str(file), path))
        except InputError as error:
            raise OddframeError(str(error).replace("cannot be read", "cannot be written")) from None

    def files(self) -> dict[str, int]:
        """Bytes of each file in this folder and those below, by its path from here; none: a file.

        Raises:
            InputError: it cannot be listed.
        """

        def find(fs: Any, path: str) -> dict[str, int]:
            inside = path.rstrip("/") + "/"
            found = fs.find(path, detail=True)
            return {
                name.removeprefix(inside): int(info["size"])
                for name, info in found.items()
                if name.startswith(inside)
            }

        return self._ask(find)

    def _remote_header(self, fs: Any, path: str) -> StoredHeader:
        with fs.open(path, "rb", block_size=_HEAD) as file:
            return header_in(cast(BinaryIO, file), int(file.size), self.text)

    def _ask(self, question: Callable[[Any, str], _Out]) -> _Out:
        """Ask the file system, again where it fails and that may pass."""
        fs, path = _system(self.text)
        for wait in (*_WAITS_S, None):
            try:
                return question(fs, path)
            except OddframeError:
                raise
            except FileNotFoundError:
                raise InputError(f"{self.text}: no such file or folder") from None
            except PermissionError as error:
                reason = _line(error)
                raise InputError(f"{self.text}: no permission there ({reason})") from None
            except Exception as error:  # Each store has errors of its own.
                if wait is None:
                    raise InputError(f"{self.text}: cannot be read ({_line(error)})") from None
                time.sleep(wait)
        raise AssertionError


@dataclass(frozen=True)
class Source:
    """A video.

    Attributes:
        name: As it was given.
        place: Where it lies.
        size: In bytes.
    """

    name: str
    place: Place
    size: int


def find_sources(texts: Sequence[str], size_of: Callable[[Path], int]) -> list[Source]:
    """The videos that paths and addresses mean, as ``find_inputs`` finds those on this machine.

    An address with ``*`` is a pattern; a folder is searched with those below it.

    Raises:
        InputError: a store cannot be listed.
        UsageError: nothing here can open such an address.
    """
    found: dict[str, Source] = {}
    for text in texts:
        if Place(text).is_local:
            for path in find_inputs([text]):
                at = str(path.resolve())
                found.setdefault(at, Source(str(path), Place(at), size_of(path)))
        else:
            for source in _remote_sources(text):
                found.setdefault(source.name, source)
    return list(found.values())


def absolute(text: str) -> Place:
    """The place that is meant by an address, or by a path on this machine."""
    return Place(text) if "://" in text else Place(str(Path(text).absolute()))


def _remote_sources(text: str) -> list[Source]:
    place = Place(text)
    if "*" in text:
        start = text.partition("://")[0]
        names = place._ask(lambda fs, path: sorted(fs.glob(path)))
        return [s for name in names for s in _remote_sources(f"{start}://{name.lstrip('/')}")]
    files = place.files()
    if not files:
        size = place._ask(lambda fs, path: fs.info(path)["size"]) if place.exists() else 0
        return [Source(text, place, int(size))]
    sources = []
    for path, held in videos_among(map(PurePosixPath, files)).items():
        at = place / str(path) if path.parts else place
        sources.append(Source(at.text, at, sum(files[str(file)] for file in held)))
    return sources or [Source(text, place, 0)]


def _get(fs: Any, path: str, to: Path) -> None:
    if fs.isfile(path):
        fs.get_file(path, str(to))
        return
    to.mkdir(parents=True, exist_ok=True)
    for entry in fs.ls(path, detail=True):
        if entry["type"] == "file":
            fs.get_file(entry["name"], str(to / PurePosixPath(entry["name"]).name))


def _system(text: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise UsageError(
            f"{text}: needs fsspec, and s3fs for S3: pip install 'oddframe[ray]'"
        ) from None
    try:
        fs, path = url_to_fs(text)
    except ImportError as error:
        raise UsageError(f"{text}: {_line(error)} ('oddframe[ray]' brings s3fs)") from None
    except ValueError as error:
        raise UsageError(f"{text}: {_line(error)}") from None
    fs.invalidate_cache()
    return fs, str(path)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
