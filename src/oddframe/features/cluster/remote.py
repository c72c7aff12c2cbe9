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

from oddframe._utils.files import atomic_write, make_folder, translate_os_errors
from oddframe.errors import InputError, OddframeError, UsageError
from oddframe.features.extraction.worker import hash_video
from oddframe.features.formats.feature_file import (
    FeatureFileHeader,
    read_feature_header,
    read_open_header,
)
from oddframe.features.store.store import content_hash
from oddframe.video.discover import find_videos, group_videos

_Out = TypeVar("_Out")

# A store that answers badly is asked again after so many seconds each.
_WAITS_S = (1.0, 4.0)
_BLOCK = 4 * 2**20
_HEAD = 64 * 2**10  # Bytes that are fetched at once where only a header is read.


@dataclass(frozen=True)
class RemotePath:
    """A file or a folder: ``s3://bucket/videos``, or a path that all machines see.

    What is read from another machine is asked for three times before it counts as lost.
    """

    text: str

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(f"{self.text.rstrip('/')}/{name}")

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

    def header(self) -> FeatureFileHeader | None:
        """What the feature file here says of itself; None: there is none, or a damaged one.

        Raises:
            InputError: the storage cannot be read.
        """
        if not self.exists():
            return None
        try:
            if self.is_local:
                return read_feature_header(self.path)
            return self._ask(self._remote_header)
        except InputError:
            return None

    def sha256(self) -> str:
        """Of the content of a video, as ``content_hash`` has it.

        Raises:
            InputError: it cannot be read.
        """
        if self.is_local:
            return hash_video(self.path)

        def read(fs: Any, path: str) -> str:
            if fs.isdir(path):
                with TemporaryDirectory() as folder:
                    _download(fs, path, Path(folder, "frames"))
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
        with translate_os_errors(to):
            if not self.is_local:
                self._ask(lambda fs, path: _download(fs, path, to))
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
            with atomic_write(self.path) as part, translate_os_errors(self.path):
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

    def _remote_header(self, fs: Any, path: str) -> FeatureFileHeader:
        with fs.open(path, "rb", block_size=_HEAD) as file:
            return read_open_header(cast(BinaryIO, file), int(file.size), self.text)

    def _ask(self, question: Callable[[Any, str], _Out]) -> _Out:
        """Ask the file system, again where it fails and that may pass."""
        fs, path = _open_file_system(self.text)
        for wait in (*_WAITS_S, None):
            try:
                return question(fs, path)
            except OddframeError:
                raise
            except FileNotFoundError:
                raise InputError(f"{self.text}: no such file or folder") from None
            except PermissionError as error:
                reason = _one_line(error)
                raise InputError(f"{self.text}: no permission there ({reason})") from None
            except Exception as error:  # Each store has errors of its own.
                if wait is None:
                    raise InputError(f"{self.text}: cannot be read ({_one_line(error)})") from None
                time.sleep(wait)
        raise AssertionError


@dataclass(frozen=True)
class RemoteVideo:
    """A video.

    Attributes:
        name: As it was given.
        place: Where it lies.
        size: In bytes.
    """

    name: str
    place: RemotePath
    size: int


def find_remote_videos(texts: Sequence[str], size_of: Callable[[Path], int]) -> list[RemoteVideo]:
    """The videos that paths and addresses mean, as ``find_videos`` finds those on this machine.

    An address with ``*`` is a pattern; a folder is searched with those below it.

    Raises:
        InputError: a store cannot be listed.
        UsageError: nothing here can open such an address.
    """
    found: dict[str, RemoteVideo] = {}
    for text in texts:
        if RemotePath(text).is_local:
            for path in find_videos([text]):
                at = str(path.resolve())
                found.setdefault(at, RemoteVideo(str(path), RemotePath(at), size_of(path)))
        else:
            for source in _find_in_store(text):
                found.setdefault(source.name, source)
    return list(found.values())


def to_remote_path(text: str) -> RemotePath:
    """The place that is meant by an address, or by a path on this machine."""
    return RemotePath(text) if "://" in text else RemotePath(str(Path(text).absolute()))


def _find_in_store(text: str) -> list[RemoteVideo]:
    place = RemotePath(text)
    if "*" in text:
        start = text.partition("://")[0]
        names = place._ask(lambda fs, path: sorted(fs.glob(path)))
        return [s for name in names for s in _find_in_store(f"{start}://{name.lstrip('/')}")]
    files = place.files()
    if not files:
        size = place._ask(lambda fs, path: fs.info(path)["size"]) if place.exists() else 0
        return [RemoteVideo(text, place, int(size))]
    sources = []
    for path, held in group_videos(map(PurePosixPath, files)).items():
        at = place / str(path) if path.parts else place
        sources.append(RemoteVideo(at.text, at, sum(files[str(file)] for file in held)))
    return sources or [RemoteVideo(text, place, 0)]


def _download(fs: Any, path: str, to: Path) -> None:
    if fs.isfile(path):
        fs.get_file(path, str(to))
        return
    to.mkdir(parents=True, exist_ok=True)
    for entry in fs.ls(path, detail=True):
        if entry["type"] == "file":
            fs.get_file(entry["name"], str(to / PurePosixPath(entry["name"]).name))


def _open_file_system(text: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise UsageError(
            f"{text}: needs fsspec, and s3fs for S3: pip install 'oddframe[ray]'"
        ) from None
    try:
        fs, path = url_to_fs(text)
    except ImportError as error:
        raise UsageError(f"{text}: {_one_line(error)} ('oddframe[ray]' brings s3fs)") from None
    except ValueError as error:
        raise UsageError(f"{text}: {_one_line(error)}") from None
    fs.invalidate_cache()
    return fs, str(path)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
