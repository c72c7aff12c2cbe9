"""Decodes a video file packet by packet: damage is skipped and counted, and never a silent stop.

Counts what a decoder lost of a video, also where it says nothing, and what it mended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import av
from av.video.stream import VideoStream

from oddframe.errors import InputError
from oddframe.video.decoding.clock import FrameClock
from oddframe.video.decoding.container import OpenVideo, is_truncated, open_video, read_packets
from oddframe.video.decoding.scale import Scaler
from oddframe.video.frame import Frame, FrameSource, Image
from oddframe.video.snippets.transforms import FrameTransform

# Where every packet is a picture that is shown; other codecs have packets that only help decoding.
_ONE_EACH = frozenset({"av1", "h264", "hevc"})


class DamageCounter:
    """What was met so far while one video was decoded.

    A decoder says of a frame that it was decoded with errors, which it has painted over from what
    lies beside and before; it says nothing of the frames that are predicted from that one. Some
    decoders, HEVC's and VP9's among them, say nothing at all. With damage, H.264's and HEVC's also
    leave pictures out without an error: those are counted from the first key frame on.

    Attributes:
        packets: Packets of the picture that gave none.
        frames: Frames that were decoded with errors.
        until: Latest time stamp at which a packet's picture is over.
    """

    def __init__(self, codec: str) -> None:
        self.packets = self.frames = 0
        self._silent = codec in _ONE_EACH
        self._first: int | None = None  # When the first key frame is shown.
        self._owed = 0  # Pictures that packets promised and that are not there yet.
        self._doubtful: set[int] = set()  # When pictures of torn packets are shown.
        self.end_stamp = 0

    def before_decode(self, packet: av.Packet[VideoStream]) -> None:
        """A packet that is decoded next."""
        if packet.pts is not None:
            self.end_stamp = max(self.end_stamp, packet.pts + (packet.duration or 0))
            if packet.is_corrupt:
                self._doubtful.add(packet.pts)
        if not self._silent or not packet.size or packet.is_discard:
            return
        if self._first is None and packet.is_keyframe:
            self._first = packet.pts or 0
        # What is shown before the first key frame leans on what is not in the file.
        if self._first is not None and (packet.pts is None or packet.pts >= self._first):
            self._owed += 1

    def on_unreadable(self) -> None:
        """A place in the file that could not be read."""
        self.packets += 1

    def on_failed(self, packet: av.Packet[VideoStream]) -> None:
        """It could not be decoded. The end of a stream that was drained before is no damage."""
        self.packets += bool(packet.size)
        self._owed -= bool(packet.size and self._first is not None)

    def on_decoded(self, pictures: Iterable[av.VideoFrame]) -> None:
        """What came of it, or of those before it."""
        for picture in pictures:
            if self._first is not None and (picture.pts is None or picture.pts >= self._first):
                self._owed -= 1
            if picture.interlaced_frame:  # Two packets may be one frame.
                self._silent = False
            torn = bool(self._doubtful) and picture.pts in self._doubtful
            self.frames += picture.is_corrupt or torn

    def at_end(self, missing: int) -> None:
        """That was the last packet; so many more were promised by the file's index."""
        self.packets += missing
        if self._silent:
            self.packets += max(0, self._owed)


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
            self._damage = DamageCounter(video.codec)
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
    def audio_file(self) -> Path:
        """The video file itself."""
        return self._path

    def read(self, read: Sequence[FrameTransform]) -> Iterator[tuple[Frame, ...]]:
        """The frames, see ``FrameSource.looks``."""
        self._starved = 0
        scalers = [Scaler(look) for look in read]
        empty = True
        with open_video(self._path) as video:
            self._damage = DamageCounter(video.codec)
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
        for packet in read_packets(video.container, video.stream, self._damage.on_unreadable):
            seen += bool(packet.size)
            self._damage.before_decode(packet)
            try:
                pictures = packet.decode()
            except av.FFmpegError as error:
                self._starved += isinstance(error, MemoryError)
                if self._starved > _MOST_STARVED:
                    raise self._too_large() from None
                self._damage.on_failed(packet)
                continue
            self._damage.on_decoded(pictures)
            yield from pictures
        # Lost, not merely over: an edit list may leave out what the index has.
        lost = is_truncated(self._path) or video.stops_early(self._damage.end_stamp)
        self._damage.at_end(max(0, (video.frames or 0) - seen) if lost else 0)

    def _too_large(self) -> InputError:
        return InputError(f"{self.name}: {TOO_LARGE}")

    def _image(self, scaler: Scaler, picture: av.VideoFrame) -> Image:
        try:
            return scaler.scale_decoded(picture, quarter_turns=round(picture.rotation / 90) % 4)
        except av.FFmpegError as error:
            raise InputError(
                f"{self.name}: its pictures ({picture.format.name}) cannot be converted ({error})"
            ) from None


def _stamp_s(picture: av.VideoFrame) -> float | None:
    if picture.pts is None or picture.time_base is None:
        return None
    return picture.pts * picture.time_base.numerator / picture.time_base.denominator
