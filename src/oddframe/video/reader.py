"""Decodes a video file packet by packet: damage is skipped and counted, and never a silent stop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import av

from oddframe.errors import InputError
from oddframe.video.clock import FrameClock
from oddframe.video.container import OpenVideo, open_video, packets_of
from oddframe.video.damage import Damage
from oddframe.video.frame import Frame, FrameSource, Image
from oddframe.video.preprocessing import Look
from oddframe.video.scale import Scaler
from oddframe.video.structure import is_cut_off

# A damaged packet may ask for any amount of memory; many that do are a video too large for it.
_MOST_STARVED = 16
TOO_LARGE = "its pictures need more memory than decoding may take (--memory allows more)"


class VideoFile(FrameSource):
    """A file that FFmpeg reads, as a ``FrameSource``. Each ``frames()`` reads it from its start.

    Raises:
        InputError: there is no such file, or no video in it.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._starved = 0
        self._path = path
        with open_video(path) as video:
            self._damage = Damage(video.codec)
            self._fps = video.fps
            self._expected_frames = video.frames

    @property
    def fps(self) -> float:
        """Average frame rate as the container states it."""
        return self._fps

    @property
    def expected_frames(self) -> int | None:
        """Number of frames as the container states it."""
        return self._expected_frames

    @property
    def damaged_packets(self) -> int:  # type: ignore[override]
        """Packets of the picture that gave none, so far."""
        return self._damage.packets

    @property
    def mended_frames(self) -> int:  # type: ignore[override]
        """Frames that were decoded with errors, so far."""
        return self._damage.frames

    @property
    def sound_file(self) -> Path:
        """The video file itself."""
        return self._path

    def looks(self, looks: Sequence[Look]) -> Iterator[tuple[Frame, ...]]:
        """The frames, see ``FrameSource.looks``."""
        self._starved = 0
        scalers = [Scaler(look) for look in looks]
        empty = True
        with open_video(self._path) as video:
            self._damage = Damage(video.codec)
            clock = FrameClock(video.fps, video.duration_s, video.origin_s)
            for picture in self._decode(video):
                empty = False
                time_s = clock(_stamp_s(picture))
                yield tuple(
                    Frame(partial(self._image, each, picture), time_s, clock.after_gap)
                    for each in scalers
                )
        if empty and self._starved:
            raise self._too_large()
        if empty:
            raise InputError(
                f"{self.name}: no picture could be decoded ({self.damaged_packets} damaged packets)"
            )

    def _decode(self, video: OpenVideo) -> Iterator[av.VideoFrame]:
        seen = 0
        for packet in packets_of(video.container, video.stream, self._damage.unread):
            seen += bool(packet.size)
            self._damage.met(packet)
            try:
                pictures = packet.decode()
            except av.FFmpegError as error:
                self._starved += isinstance(error, MemoryError)
                if self._starved > _MOST_STARVED:
                    raise self._too_large() from None
                self._damage.failed(packet)
                continue
            self._damage.gave(pictures)
            yield from pictures
        # Lost, not merely over: an edit list may leave out what the index has.
        lost = is_cut_off(self._path) or video.stops_early(self._damage.until)
        self._damage.ended(max(0, (video.frames or 0) - seen) if lost else 0)

    def _too_large(self) -> InputError:
        return InputError(f"{self.name}: {TOO_LARGE}")

    def _image(self, scaler: Scaler, picture: av.VideoFrame) -> Image:
        try:
            return scaler.decoded(picture, turns=round(picture.rotation / 90) % 4)
        except av.FFmpegError as error:
            raise InputError(
                f"{self.name}: its pictures ({picture.format.name}) cannot be converted ({error})"
            ) from None


def _stamp_s(picture: av.VideoFrame) -> float | None:
    if picture.pts is None or picture.time_base is None:
        return None
    return picture.pts * picture.time_base.numerator / picture.time_base.denominator
