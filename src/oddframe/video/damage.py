"""Counts what a decoder lost of a video, also where it says nothing, and what it mended."""

from __future__ import annotations

from collections.abc import Iterable

import av
from av.video.stream import VideoStream

# Where every packet is a picture that is shown; other codecs have packets that only help decoding.
_ONE_EACH = frozenset({"av1", "h264", "hevc"})


class Damage:
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
        self.until = 0

    def met(self, packet: av.Packet[VideoStream]) -> None:
        """A packet that is decoded next."""
        if packet.pts is not None:
            self.until = max(self.until, packet.pts + (packet.duration or 0))
            if packet.is_corrupt:
                self._doubtful.add(packet.pts)
        if not self._silent or not packet.size or packet.is_discard:
            return
        if self._first is None and packet.is_keyframe:
            self._first = packet.pts or 0
        # What is shown before the first key frame leans on what is not in the file.
        if self._first is not None and (packet.pts is None or packet.pts >= self._first):
            self._owed += 1

    def unread(self) -> None:
        """A place in the file that could not be read."""
        self.packets += 1

    def failed(self, packet: av.Packet[VideoStream]) -> None:
        """It could not be decoded. The end of a stream that was drained before is no damage."""
        self.packets += bool(packet.size)
        self._owed -= bool(packet.size and self._first is not None)

    def gave(self, pictures: Iterable[av.VideoFrame]) -> None:
        """What came of it, or of those before it."""
        for picture in pictures:
            if self._first is not None and (picture.pts is None or picture.pts >= self._first):
                self._owed -= 1
            if picture.interlaced_frame:  # Two packets may be one frame.
                self._silent = False
            torn = bool(self._doubtful) and picture.pts in self._doubtful
            self.frames += picture.is_corrupt or torn

    def ended(self, missing: int) -> None:
        """That was the last packet; so many more were promised by the file's index."""
        self.packets += missing
        if self._silent:
            self.packets += max(0, self._owed)
