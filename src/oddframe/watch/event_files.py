"""Clips and pictures of events on disk: ``CAMERA/YYYY-MM-DD/ID.mp4``, and how long they stay.

Nothing but files with exactly such names is ever removed: the folder may hold other things.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import cv2

from oddframe._utils.files import atomic_write, make_folder, write_bytes
from oddframe.errors import OddframeError
from oddframe.video.frame import Image
from oddframe.watch.messages import CameraEvent, camera_part
from oddframe.watch.packet_ring import StoredClip, codec_name, write_clip

# Codecs that players expect in MP4; others go to Matroska, which takes them all.
_MP4_CODECS = frozenset({"h264", "hevc", "av1", "mpeg4", "vp9"})
_CONTAINERS = {"mp4": "mp4", "mkv": "matroska"}
_JPEG_QUALITY = 90
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_NAME = re.compile(r"(?P<camera>.+)-(?P<start>\d{8}T\d{6}Z)-[0-9a-f]{8}\.(?:mp4|mkv|jpg)")


def clip_span(
    start_s: float, end_s: float, before_s: float, after_s: float, max_s: float
) -> tuple[float, float]:
    """From when to when an event's clip goes: some seconds around it, at most ``max_s`` long.

    Of a long event it has the beginning. Cut it when the stream has come to the end of this span:
    later, the ring may not have its start any more.
    """
    first = start_s - before_s
    return first, min(end_s + after_s, first + max_s)


@dataclass(frozen=True)
class EventFiles:
    """Where the clips and pictures of events go.

    Attributes:
        folder: ``--out``; camera folders are created in it.
        max_days: Files of events that started earlier are removed; None: no limit.
        max_bytes: If all clips and pictures together are larger, the oldest are removed; None: no
            limit.
    """

    folder: Path
    max_days: float | None = None
    max_bytes: int | None = None

    def write_picture(self, event: CameraEvent, picture: Image) -> str:
        """Write a picture as JPEG, as it is; return its path for ``CameraEvent.picture``.

        Args:
            event: Whose picture it is.
            picture: (height, width, 3) RGB uint8.

        Raises:
            OddframeError: it cannot be written.
        """
        name = self._name(event, "jpg")
        done, data = cv2.imencode(
            ".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        )
        if not done:
            raise OddframeError(f"{name}: a picture of {picture.shape} cannot be a JPEG")
        path = self._make_place(name)
        write_bytes(path, data.tobytes())
        return name

    def write_clip(self, event: CameraEvent, clip: StoredClip) -> str:
        """Write a clip without encoding it again; return its path for ``CameraEvent.clip``.

        Raises:
            OddframeError: it cannot be written, or its codec is none of recordings, such as the
                raw pictures of a webcam.
        """
        name = self._name(event, "mp4" if codec_name(clip) in _MP4_CODECS else "mkv")
        path = self._make_place(name)
        try:
            with atomic_write(path) as part:
                write_clip(clip, str(part), _CONTAINERS[path.suffix[1:]])
        except (av.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "unknown codec"
            raise OddframeError(
                f"{path}: no clip: {codec_name(clip)} cannot be written ({reason.lower()})"
            ) from None
        return name

    def remove_old(self, now: datetime | None = None) -> int:
        """Remove clips and pictures beyond the limits, oldest first; return how many.

        It lists all of them: call it now and then, not for each event.
        """
        if self.max_days is None and self.max_bytes is None:
            return 0
        now = now or datetime.now(UTC)
        files = sorted(self._files(), key=lambda file: (file.start, file.path))
        n_bytes = sum(file.size for file in files)
        n_removed = 0
        for file in files:
            is_old = self.max_days is not None and now - file.start > timedelta(self.max_days)
            is_too_much = self.max_bytes is not None and n_bytes > self.max_bytes
            if not is_old and not is_too_much:
                break
            try:
                file.path.unlink(missing_ok=True)
            except OSError:  # Of another user, or on a disk that fails: the others still go.
                continue
            n_removed += 1
            n_bytes -= file.size
            _remove_if_empty(file.path.parent)
        return n_removed

    def _name(self, event: CameraEvent, ending: str) -> str:
        return f"{camera_part(event.camera)}/{event.start:%Y-%m-%d}/{event.id}.{ending}"

    def _make_place(self, name: str) -> Path:
        path = self.folder / name
        make_folder(path.parent)
        return path

    def _files(self) -> list[_File]:
        """All clips and pictures; links and names that differ in any way are left alone."""
        return [
            found
            for camera in _folders(self.folder)
            for day in _folders(camera)
            if _DATE.fullmatch(day.name)
            for entry in _entries(day)
            if (found := _own_file(entry, camera.name)) is not None
        ]


@dataclass(frozen=True)
class _File:
    path: Path
    start: datetime
    size: int


def _own_file(entry: os.DirEntry[str], camera: str) -> _File | None:
    match = _NAME.fullmatch(entry.name)
    if match is None or match["camera"] != camera:
        return None
    try:
        start = datetime.strptime(match["start"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if not entry.is_file(follow_symlinks=False):
            return None
        return _File(Path(entry.path), start, entry.stat(follow_symlinks=False).st_size)
    except (OSError, ValueError):
        return None


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _folders(folder: Path) -> list[Path]:
    """Folders inside a folder, but no links to any."""
    return [Path(each.path) for each in _entries(folder) if each.is_dir(follow_symlinks=False)]


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:  # It is not empty.
        return
