"""Decodes a video file packet by packet; damaged packets are skipped and counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import av
from av.video.stream import VideoStream

from oddframe.errors import InputError
from oddframe.video.decoding.container import OpenVideo, is_truncated, open_video, read_packets
from oddframe.video.decoding.scale import Scaler
from oddframe.video.frame import Frame, FrameSource, FrameTransform, Image

# Codecs in which each packet is a picture that is shown; others have packets that are not.
_ONE_PICTURE_CODECS = frozenset({"av1", "h264", "hevc"})


class DamageCounter:
    """Counts the damage found while one video is decoded.

    A decoder marks a frame in which it concealed errors, but not the frames that are predicted from
    it. Some decoders, such as those of HEVC and VP9, mark nothing. In damaged files, the decoders
    of H.264 and HEVC also drop pictures without an error; these are counted from the first key
    frame on.
    """

    def __init__(self, video: OpenVideo) -> None:
        self.packets = 0  # That gave no picture.
        self.frames = 0  # That were decoded with errors.
        self._count_missing = video.stream.codec.canonical_name in _ONE_PICTURE_CODECS
        self._first_key: int | None = None  # Time stamp of the first key frame.
        self._missing = 0  # Pictures of decoded packets that the decoder has not returned yet.
        self._corrupt: set[int] = set()  # Time stamps of corrupt packets.
        self.end_stamp = 0  # Latest time stamp at which a packet's picture ends.

    def before_decode(self, packet: av.Packet[VideoStream]) -> None:
        """Register the packet that is decoded next."""
        if packet.pts is not None:
            self.end_stamp = max(self.end_stamp, packet.pts + (packet.duration or 0))
            if packet.is_corrupt:
                self._corrupt.add(packet.pts)
        if not self._count_missing or not packet.size or packet.is_discard:
            return
        if self._first_key is None and packet.is_keyframe:
            self._first_key = packet.pts or 0
        # Pictures shown before the first key frame depend on pictures that are not in the file.
        if self._first_key is not None and (packet.pts is None or packet.pts >= self._first_key):
            self._missing += 1

    def on_unreadable(self) -> None:
        """Count a position in the file that could not be read."""
        self.packets += 1

    def on_failed(self, packet: av.Packet[VideoStream]) -> None:
        """Count a packet that could not be decoded."""
        # An error at the empty packet that flushes the decoder is not damage.
        self.packets += bool(packet.size)
        self._missing -= bool(packet.size and self._first_key is not None)

    def on_decoded(self, pictures: Iterable[av.VideoFrame]) -> None:
        """Register the pictures that the decoder returned for this packet or earlier ones."""
        for picture in pictures:
            key = self._first_key
            if key is not None and (picture.pts is None or picture.pts >= key):
                self._missing -= 1
            if picture.interlaced_frame:  # Two packets may be one frame.
                self._count_missing = False
            self.frames += picture.is_corrupt or picture.pts in self._corrupt

    def at_end(self, missing: int) -> None:
        """Count the pictures still missing, and ``missing`` packets of the index without data."""
        self.packets += missing
        if self._count_missing:
            self.packets += max(0, self._missing)


# A single damaged packet may ask for any amount of memory; after so many, the video is too large.
_MAX_OUT_OF_MEMORY = 16
TOO_LARGE = "its pictures need more memory than decoding may take (--memory allows more)"


class VideoFile(FrameSource):
    """A ``FrameSource`` of a file that FFmpeg decodes; InputError if it contains no video."""

    def __init__(self, path: Path) -> None:
        self.name, self.audio_file = str(path), path
        self._path = path
        self._out_of_memory = 0
        with open_video(path) as video:
            self._damage = DamageCounter(video)
            self.fps, self.expected_frames = video.fps, video.frames

    @property
    def damaged_packets(self) -> int:  # type: ignore[override]
        return self._damage.packets

    @property
    def mended_frames(self) -> int:  # type: ignore[override]
        return self._damage.frames

    def read(self, transforms: Sequence[FrameTransform]) -> Iterator[tuple[Frame, ...]]:
        self._out_of_memory = 0
        scalers = [Scaler(transform) for transform in transforms]
        empty = True
        with open_video(self._path) as video:
            self._damage, clock = DamageCounter(video), video.clock()
            for picture in self._decode(video):
                empty = False
                time_s = clock(_stamp_s(picture))
                yield tuple(
                    Frame(partial(self._convert, scaler, picture), time_s, clock.after_gap)
                    for scaler in scalers
                )
        if empty and self._out_of_memory:
            raise self._too_large()
        if empty:
            raise InputError(
                f"{self.name}: no picture could be decoded ({self.damaged_packets} damaged packets)"
            )

    def _decode(self, video: OpenVideo) -> Iterator[av.VideoFrame]:
        n_packets = 0
        for packet in read_packets(video.container, video.stream, self._damage.on_unreadable):
            n_packets += bool(packet.size)
            self._damage.before_decode(packet)
            try:
                pictures = packet.decode()
            except av.FFmpegError as error:
                self._out_of_memory += isinstance(error, MemoryError)
                if self._out_of_memory > _MAX_OUT_OF_MEMORY:
                    raise self._too_large() from None
                self._damage.on_failed(packet)
                continue
            self._damage.on_decoded(pictures)
            yield from pictures
        # An edit list may skip packets of the index, so they only count in a truncated file.
        is_cut = is_truncated(self._path) or video.stops_early(self._damage.end_stamp)
        self._damage.at_end(max(0, (video.frames or 0) - n_packets) if is_cut else 0)

    def _too_large(self) -> InputError:
        return InputError(f"{self.name}: {TOO_LARGE}")

    def _convert(self, scaler: Scaler, picture: av.VideoFrame) -> Image:
        try:
            return scaler.scale_decoded(picture)
        except av.FFmpegError as error:
            raise InputError(
                f"{self.name}: its pictures ({picture.format.name}) cannot be converted ({error})"
            ) from None


def _stamp_s(picture: av.VideoFrame) -> float | None:
    if picture.pts is None or picture.time_base is None:
        return None
    return picture.pts * picture.time_base.numerator / picture.time_base.denominator
