"""The latest packets of a camera, so that an event's clip can begin before the event.

Packets are kept as bytes: they may go to another process, and need no open connection.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
from av.packet import Packet
from av.video.stream import VideoStream

# A container that takes any codec; its header describes the stream.
_HEADER_FORMAT = "nut"


@dataclass(frozen=True, slots=True)
class StoredPacket:
    """One packet of a video stream.

    Attributes:
        data: Its bytes.
        pts: When its picture is shown, in ticks of the stream's time base.
        dts: When it is decoded, in the same ticks.
        duration: How long its picture is shown, in ticks; 0: unknown.
        is_key: Whether decoding can start here.
        time_s: When its picture is shown, in the time of the stream in seconds.
    """

    data: bytes
    pts: int
    dts: int
    duration: int
    is_key: bool
    time_s: float


@dataclass(frozen=True)
class StoredClip:
    """Packets from a key frame on, and what a muxer has to know about their stream.

    Attributes:
        header: A NUT file with one packet; its stream has the codec's parameters.
        time_base: Seconds of a tick of the packets' time stamps.
        packets: In the order of the stream.
    """

    header: bytes
    time_base: Fraction
    packets: tuple[StoredPacket, ...]


class PacketRing:
    """The latest packets of one video stream, from a key frame on.

    Args:
        seconds: How much is kept at least, if ``max_bytes`` allows: older packets are dropped
            together with all up to the next key frame.
        max_bytes: Of the packets' data. If the pictures since one key frame alone are more, they
            are dropped, and the ring is empty until the next key frame.
    """

    def __init__(self, seconds: float, max_bytes: int) -> None:
        self._seconds, self._max_bytes = seconds, max_bytes
        self.clear()

    def clear(self) -> None:
        """Forget everything: after a reconnect or a change of resolution, the stream is another."""
        self._packets: deque[StoredPacket] = deque()
        self._key_times: deque[float] = deque()
        self._header, self._time_base = b"", Fraction(1)
        self._is_unknown = False  # The codec cannot be described.
        self.n_bytes = 0

    def add(self, packet: Packet[VideoStream], time_s: float) -> None:
        """Keep a packet; of a codec that NUT does not know, nothing is kept.

        Args:
            packet: Of the one stream, in its order.
            time_s: When its picture is shown, in the time of the stream in seconds.
        """
        pts = packet.pts if packet.pts is not None else packet.dts
        if pts is None or packet.size == 0 or (not self._packets and not packet.is_keyframe):
            return
        if self._is_unknown:
            return
        if not self._header:
            try:
                self._header, self._time_base = _describe(packet), Fraction(packet.time_base)
            except (av.FFmpegError, ValueError):
                self._is_unknown = True
                return
        dts = packet.dts if packet.dts is not None else pts
        is_key, duration = packet.is_keyframe, packet.duration or 0
        self._packets.append(StoredPacket(bytes(packet), pts, dts, duration, is_key, time_s))
        self.n_bytes += packet.size
        if is_key:
            self._key_times.append(time_s)
        while self._packets and self._may_drop(time_s):
            self._drop_first_group()

    def cut(self, start_s: float, end_s: float) -> StoredClip | None:
        """Packets from the key frame at or before ``start_s`` to ``end_s``, in stream time.

        If there is no such key frame any more, from the first that is kept. None: nothing of that
        time is kept.
        """
        packets = list(self._packets)
        keys = [i for i, packet in enumerate(packets) if packet.is_key]
        first = max((i for i in keys if packets[i].time_s <= start_s), default=0)
        inside = [i for i in range(first, len(packets)) if packets[i].time_s <= end_s]
        if not inside:
            return None
        # Up to the last packet that is shown in time: others before it are needed to decode it.
        return StoredClip(self._header, self._time_base, tuple(packets[first : inside[-1] + 1]))

    def _may_drop(self, now_s: float) -> bool:
        if self.n_bytes > self._max_bytes:
            return True
        return len(self._key_times) > 1 and now_s - self._key_times[1] >= self._seconds

    def _drop_first_group(self) -> None:
        """Drop the first key frame and all packets up to the next one."""
        self._key_times.popleft()
        while self._packets:
            self.n_bytes -= len(self._packets.popleft().data)
            if self._packets and self._packets[0].is_key:
                break


def write_clip(clip: StoredClip, file: str, container_format: str) -> None:
    """Write packets into a file as they are, with times from 0 on.

    Raises:
        av.FFmpegError: the file cannot be written, or the container does not take the codec.
        ValueError: the container does not take the codec.
    """
    # +faststart: players on the web show the first picture before the file is complete.
    options = {"movflags": "+faststart"} if container_format == "mp4" else {}
    with (
        av.open(io.BytesIO(clip.header)) as source,
        av.open(file, "w", format=container_format, options=options) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0], opaque=True)
        offset = clip.packets[0].dts
        for pts, dts, stored in _rising(clip.packets):
            packet = Packet(stored.data)
            packet.stream = stream
            packet.time_base = clip.time_base
            packet.pts, packet.dts, packet.duration = pts - offset, dts - offset, stored.duration
            packet.is_keyframe = stored.is_key
            target.mux(packet)


def codec_name(clip: StoredClip) -> str:
    """FFmpeg's name of the clip's codec: ``h264``."""
    with av.open(io.BytesIO(clip.header)) as source:
        return source.streams.video[0].codec_context.codec.canonical_name


def _rising(packets: Sequence[StoredPacket]) -> list[tuple[int, int, StoredPacket]]:
    """Packets with time stamps that muxers accept; those of cameras jump and repeat."""
    result: list[tuple[int, int, StoredPacket]] = []
    last = packets[0].dts - 1
    for packet in packets:
        last = max(packet.dts, last + 1)
        result.append((max(packet.pts, last), last, packet))
    return result


def _describe(packet: Packet[VideoStream]) -> bytes:
    """A NUT file of one packet, which describes its stream."""
    header = io.BytesIO()
    with av.open(header, "w", format=_HEADER_FORMAT) as container:
        stream = container.add_stream_from_template(packet.stream, opaque=True)
        copy = Packet(bytes(packet))
        copy.stream = stream
        copy.time_base = packet.time_base
        copy.pts = copy.dts = 0
        copy.is_keyframe = True
        container.mux(copy)
    return header.getvalue()
