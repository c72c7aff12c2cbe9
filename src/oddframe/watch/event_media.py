"""Keeps a camera's latest packets, and answers requests for the clips and pictures of events."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from typing import Any

import av
from av.packet import Packet
from av.video.stream import VideoStream

from oddframe.video.decoding.scale import Scaler
from oddframe.video.frame import FrameTransform, Image
from oddframe.watch.packet_ring import PacketRing, StoredClip
from oddframe.watch.reader_protocol import EventMedia, MediaRequest

_MAX_PICTURE_PIXELS = 1920 * 1080


class MediaCutter:
    """Packets come in the thread that reads; requests are made and answered in another.

    Args:
        seconds: How much is kept; 0: nothing.
        max_bytes: Of the packets' data.
    """

    def __init__(self, seconds: float, max_bytes: int) -> None:
        self._ring = PacketRing(seconds, max_bytes)
        self._lock = threading.Lock()  # Of the ring.
        self._requests: list[MediaRequest] = []

    def add(self, packet: Packet[VideoStream], time_s: float) -> None:
        """Keep a packet, whose picture is shown at ``time_s``."""
        with self._lock:
            self._ring.add(packet, time_s)

    def clear(self) -> None:
        """Forget all packets: what follows is another stream."""
        with self._lock:
            self._ring.clear()

    def request(self, requests: Sequence[MediaRequest]) -> None:
        """Remember requests."""
        self._requests += requests

    def answers(self, until_s: float) -> list[EventMedia]:
        """Answer the requests that end before ``until_s``: their packets have come."""
        ready = [each for each in self._requests if each.end_s < until_s]
        self._requests = [each for each in self._requests if each not in ready]
        return [self._answer(each) for each in ready]

    def _answer(self, request: MediaRequest) -> EventMedia:
        with self._lock:
            clip = self._ring.cut(request.start_s, request.end_s)
        if clip is None or request.peak_s is None:
            return EventMedia(request.event, clip, is_clip=request.peak_s is None)
        return EventMedia(request.event, picture=_picture_at(clip, request.peak_s))


def _picture_at(clip: StoredClip, time_s: float) -> Image | None:
    """The picture of a clip's packets that is shown at ``time_s``."""
    best, base = None, clip.time_base
    near = [packet for packet in clip.packets if packet.time_s <= time_s + 1e-3]
    wanted = max(near, key=lambda packet: packet.time_s, default=clip.packets[0]).pts
    try:
        with av.open(io.BytesIO(clip.header)) as container:
            codec = container.streams.video[0].codec_context
            for stored in [*clip.packets, None]:  # None: what the decoder still has.
                packet: Any = None if stored is None else Packet(stored.data)
                if stored is not None:
                    packet.pts, packet.dts, packet.time_base = stored.pts, stored.dts, base
                for frame in codec.decode(packet):
                    if best is None or (frame.pts is not None and frame.pts <= wanted):
                        best = frame
    except av.FFmpegError:
        pass
    if best is None:
        return None
    return Scaler(FrameTransform(max_pixels=_MAX_PICTURE_PIXELS)).scale_decoded(best)
