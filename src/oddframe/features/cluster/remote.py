"""Files and folders on this machine, in an S3 store, or in any other file system of fsspec."""

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
from oddframe.features.extraction.worker import hash_video, video_size
from oddframe.features.formats.feature_file import (
    FeatureFileHeader,
    read_feature_header,
    read_open_header,
)
from oddframe.features.store.store import content_hash
from oddframe.video.discover import find_videos, group_videos

_ResultT = TypeVar("_ResultT")

# A request that fails is repeated after each of these times (s).
_RETRY_WAITS_S = (1.0, 4.0)
_BLOCK_BYTES = 4 * 2**20
_HEADER_BYTES = 64 * 2**10  # Fetched at once if only a header is read.


@dataclass(frozen=True)
class RemotePath:
    """A file or a folder: ``s3://bucket/videos``, or a path that is the same on every machine.

    A request to a remote file system is tried three times before it counts as failed; then methods
    raise InputError, or OddframeError if they write.
    """

    url: str

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(f"{self.url.rstrip('/')}/{name}")

    @property
    def is_local(self) -> bool:
        """Whether it is a path and not an address."""
        return "://" not in self.url

    def exists(self) -> bool:
        """Whether there is a file (not a folder)."""
        if self.is_local:
            return Path(self.url).is_file()
        return bool(self._request(lambda fs, path: fs.isfile(path)))

    def header(self) -> FeatureFileHeader | None:
        """The header of a feature file; None: there is no such file, or it is damaged."""
        if not self.exists():
            return None
        try:
            if self.is_local:
                return read_feature_header(Path(self.url))
            return self._request(self._remote_header)
        except InputError:
            return None

    def sha256(self) -> str:
        """sha256 (hex) of the content of a video, as ``content_hash`` computes it."""
        if self.is_local:
            return hash_video(Path(self.url))

        def read(fs: Any, path: str) -> str:
            if fs.isdir(path):
                with TemporaryDirectory() as folder:
                    _download(fs, path, Path(folder, "frames"))
                    return content_hash(Path(folder, "frames"))
            digest = hashlib.sha256()
            if fs.info(path)["size"] == 0:
                raise InputError(f"{self.url}: the file is empty (0 bytes)")
            with fs.open(path, "rb", block_size=_BLOCK_BYTES, cache_type="readahead") as file:
                while block := file.read(_BLOCK_BYTES):
                    digest.update(block)
            return digest.hexdigest()

        return self._request(read)

    def fetch(self, to: Path) -> None:
        """Copy the file or the folder of frames to a path on this machine."""
        make_folder(to.parent)
        with translate_os_errors(to):
            if not self.is_local:
                self._request(lambda fs, path: _download(fs, path, to))
            elif Path(self.url).is_dir():
                shutil.copytree(Path(self.url), to)
            else:
                shutil.copyfile(Path(self.url), to)

    def put(self, file: Path) -> None:
        """Copy a file of this machine to this path, whole or not at all."""
        if self.is_local:
            path = Path(self.url)
            make_folder(path.parent)
            with atomic_write(path) as part, translate_os_errors(path):
                shutil.copyfile(file, part)
            return
        try:
            self._request(lambda fs, path: fs.put_file(str(file), path))
        except InputError as error:
            raise OddframeError(str(error).replace("cannot be read", "cannot be written")) from None

    def files(self) -> dict[str, int]:
        """Sizes in bytes of all files below this folder, by relative path; empty for a file."""

        def find(fs: Any, path: str) -> dict[str, int]:
            prefix = path.rstrip("/") + "/"
            found = {n: i for n, i in fs.find(path, detail=True).items() if n.startswith(prefix)}
            return {name.removeprefix(prefix): int(info["size"]) for name, info in found.items()}

        return self._request(find)

    def _remote_header(self, fs: Any, path: str) -> FeatureFileHeader:
        with fs.open(path, "rb", block_size=_HEADER_BYTES) as file:
            return read_open_header(cast(BinaryIO, file), int(file.size), self.url)

    def _request(self, function: Callable[[Any, str], _ResultT]) -> _ResultT:
        """Call ``function(file system, path)``, again if it fails for a reason that may pass."""
        fs, path = _open_file_system(self.url)
        for wait in (*_RETRY_WAITS_S, None):
            try:
                return function(fs, path)
            except OddframeError:
                raise
            except FileNotFoundError:
                raise InputError(f"{self.url}: no such file or folder") from None
            except PermissionError as error:
                reason = _one_line(error)
                raise InputError(f"{self.url}: no permission there ({reason})") from None
            except Exception as error:  # Each file system has its own types.
                if wait is None:
                    raise InputError(f"{self.url}: cannot be read ({_one_line(error)})") from None
                time.sleep(wait)
        raise AssertionError


@dataclass(frozen=True)
class RemoteVideo:
    """A video: its path or address as it was given, where it is, and its size in bytes."""

    name: str
    location: RemotePath
    size: int


def find_remote_videos(inputs: Sequence[str]) -> list[RemoteVideo]:
    """The videos that paths and addresses name; see ``find_videos``.

    An address with ``*`` is a pattern; a folder is searched with the folders below it.
    """
    found: dict[str, RemoteVideo] = {}
    for text in inputs:
        if RemotePath(text).is_local:
            videos = [
                RemoteVideo(str(path), RemotePath(str(path.resolve())), video_size(path))
                for path in find_videos([text])
            ]
        else:
            videos = _find_at_address(text)
        for video in videos:
            found.setdefault(video.location.url, video)
    return list(found.values())


def to_remote_path(url: str) -> RemotePath:
    """An address as it is, a path made absolute."""
    return RemotePath(url) if "://" in url else RemotePath(str(Path(url).absolute()))


def _find_at_address(url: str) -> list[RemoteVideo]:
    location = RemotePath(url)
    if "*" in url:
        protocol = url.partition("://")[0]
        names = location._request(lambda fs, path: sorted(fs.glob(path)))
        return [v for name in names for v in _find_at_address(f"{protocol}://{name.lstrip('/')}")]
    sizes = location.files()
    if not sizes:
        size = 0
        if location.exists():
            size = location._request(lambda fs, path: int(fs.info(path)["size"]))
        return [RemoteVideo(url, location, size)]
    videos = []
    for path, files in group_videos(map(PurePosixPath, sizes)).items():
        video = location / str(path) if path.parts else location
        videos.append(RemoteVideo(video.url, video, sum(sizes[str(file)] for file in files)))
    return videos or [RemoteVideo(url, location, 0)]


def _download(fs: Any, path: str, to: Path) -> None:
    if fs.isfile(path):
        fs.get_file(path, str(to))
        return
    to.mkdir(parents=True, exist_ok=True)
    for entry in fs.ls(path, detail=True):
        if entry["type"] == "file":
            fs.get_file(entry["name"], str(to / PurePosixPath(entry["name"]).name))


def _open_file_system(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise UsageError(
            f"{url}: needs fsspec, and s3fs for S3: pip install 'oddframe[ray]'"
        ) from None
    try:
        fs, path = url_to_fs(url)
    except ImportError as error:
        raise UsageError(f"{url}: {_one_line(error)} ('oddframe[ray]' brings s3fs)") from None
    except ValueError as error:
        raise UsageError(f"{url}: {_one_line(error)}") from None
    fs.invalidate_cache()
    return fs, str(path)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
