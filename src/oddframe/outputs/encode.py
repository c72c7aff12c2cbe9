"""Pictures with time stamps -> a video file that a browser plays."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
from av.video.stream import VideoStream

from oddframe.errors import OddframeError
from oddframe.files import told
from oddframe.outputs.picture import Picture

# 23.976, 24, 25, 29.97, 30, 50, 59.94 and 60 frames a second are whole numbers of these, and
# MPEG-4 part 2 takes no finer ones.
_TICK = Fraction(1, 60_000)
_LONGEST = round(9.9 * 3600 / _TICK)  # MP4 counts the length of a picture in 31 bits.
_SMPTE_170M = 6  # BT.601: what the conversion from RGB gives; named, so that no player guesses.


@dataclass(frozen=True)
class Encoder:
    """A codec, the container that it goes into, and its options."""

    codec: str
    container: str
    options: tuple[tuple[str, str], ...] = ()

    @property
    def mime(self) -> str:
        """Media type of the file."""
        return f"video/{self.container}"


def first_available(encoders: tuple[Encoder, ...]) -> Encoder:
    """The first encoder that this machine's FFmpeg libraries have.

    Raises:
        OddframeError: none.
    """
    for encoder in encoders:
        if _has(encoder.codec):
            return encoder
    names = ", ".join(encoder.codec for encoder in encoders)
    raise OddframeError(f"no video encoder: PyAV has none of {names}; install the wheel of PyAV")


def _has(codec: str) -> bool:
    try:
        return av.Codec(codec, "w").is_encoder
    except ValueError:
        return False


class VideoWriter:
    """Encodes RGB pictures one by one; memory does not grow with their number.

    Time 0 is that of every player: the first picture is there from 0 on, whenever it is due. Over a
    long pause the picture before it is repeated, as MP4 cannot hold a longer one.

    Args:
        target: File to write, its ending does not matter; or memory.
        encoder: How.
        width: Of every picture, even.
        height: Of every picture, even.
        fps: About how many pictures a second come; the time stamps are what counts.
        comment: What the file is to say of itself.
    """

    def __init__(
        self,
        target: Path | BytesIO,
        encoder: Encoder,
        width: int,
        height: int,
        fps: float,
        comment: str = "",
    ) -> None:
        file: str | BytesIO
        if isinstance(target, Path):
            self._path, file = target, str(target)
            # The index goes to the front, so that a browser can start before it has the whole file.
            flags = {"movflags": "+faststart"} if encoder.container == "mp4" else {}
        else:
            self._path, file, flags = Path("memory"), target, {}
        self._fps = fps
        self._last = -1
        self._shown: av.VideoFrame | None = None
        with told(self._path):
            self._container = av.open(file, "w", format=encoder.container, options=flags)
            if comment:
                self._container.metadata["comment"] = comment
            rate = Fraction(fps).limit_denominator(1001) or Fraction(1)
            stream = self._container.add_stream(encoder.codec, rate=rate)
            assert isinstance(stream, VideoStream)
            self._stream = stream
            context = stream.codec_context
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.time_base = context.time_base = _TICK
            stream.options = dict(encoder.options)
            context.max_b_frames = 0  # The first picture is shown at 0, whatever the player.
            context.colorspace = context.color_primaries = context.color_trc = _SMPTE_170M

    def add(self, image: Picture, time_s: float) -> None:
        """Encode a picture (height, width, 3), shown from ``time_s`` on; times must increase.

        Raises:
            OddframeError: the file cannot be written.
        """
        due = max(round(time_s / _TICK), self._last + 1)
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        if self._shown is None and due > 0:
            self._encode(frame, 0)
        while self._shown is not None and due - self._last > _LONGEST:
            self._encode(self._shown, self._last + _LONGEST)
        self._encode(frame, due)
        self._shown = frame

    def _encode(self, frame: av.VideoFrame, due: int) -> None:
        frame.time_base = _TICK
        frame.pts = self._last = due
        frame.duration = max(1, round(1 / self._fps / _TICK))
        with told(self._path):
            self._container.mux(self._stream.encode(frame))

    def close(self, whole: bool = True) -> None:
        """Finish the file; if it is not ``whole``, only let go of it.

        Raises:
            OddframeError: the file cannot be written.
        """
        try:
            with told(self._path):
                if whole:
                    self._container.mux(self._stream.encode(None))
                self._container.close()
        except OddframeError:
            if whole:
                raise
