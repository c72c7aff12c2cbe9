"""Encode videos: pictures with times, the small copy of a report page, joined clips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Protocol, TypeVar

import av
from av.video.stream import VideoStream

from oddframe._utils.files import atomic_write, make_folder, translate_os_errors
from oddframe.errors import InputError, OddframeError
from oddframe.outputs.drawing import RgbImage, even_size, letterbox
from oddframe.video.decoding.container import open_video
from oddframe.video.decoding.isolated import call_isolated, open_source
from oddframe.video.discover import GENERATED_MARK
from oddframe.video.frame import Frame

# Whole numbers of these give 23.976, 24, 25, 29.97, 30, 50, 59.94 and 60 frames a second, and
# MPEG-4 part 2 has no finer time base.
_TICK = Fraction(1, 60_000)
_MAX_TICKS = round(9.9 * 3600 / _TICK)  # MP4 counts the duration of a picture in 31 bits.
_SMPTE_170M = 6  # BT.601, which the conversion from RGB uses; without it, players guess.


@dataclass(frozen=True)
class VideoEncoder:
    """A codec, the container that it goes into, and its options."""

    codec: str
    container: str
    options: tuple[tuple[str, str], ...] = ()

    @property
    def mime(self) -> str:
        """Media type of the file."""
        return f"video/{self.container}"


def first_available(encoders: tuple[VideoEncoder, ...]) -> VideoEncoder:
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

    The first picture is shown from 0 on, whatever its time, as players start there. Over a long
    pause the previous picture is repeated, because MP4 limits the duration of a picture.

    Args:
        target: File to write, with any ending; or memory.
        encoder: Encoder of the video.
        width: Width of every picture, even.
        height: Height of every picture, even.
        fps: About how many pictures there are a second; their times decide when they are shown.
        comment: Comment in the metadata of the file.
    """

    def __init__(
        self,
        target: Path | BytesIO,
        encoder: VideoEncoder,
        width: int,
        height: int,
        fps: float,
        comment: str = "",
    ) -> None:
        file: str | BytesIO
        if isinstance(target, Path):
            self._path, file = target, str(target)
            # The index at the front lets a browser start before it has the whole file.
            flags = {"movflags": "+faststart"} if encoder.container == "mp4" else {}
        else:
            self._path, file, flags = Path("memory"), target, {}
        self._fps = fps
        self._last = -1
        self._shown: av.VideoFrame | None = None
        with translate_os_errors(self._path):
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

    def add(self, image: RgbImage, time_s: float) -> None:
        """Encode a picture (height, width, 3), shown from ``time_s`` on; times must increase.

        Raises:
            OddframeError: the file cannot be written.
        """
        due = max(round(time_s / _TICK), self._last + 1)
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        if self._shown is None and due > 0:
            self._encode(frame, 0)
        while self._shown is not None and due - self._last > _MAX_TICKS:
            self._encode(self._shown, self._last + _MAX_TICKS)
        self._encode(frame, due)
        self._shown = frame

    def _encode(self, frame: av.VideoFrame, due: int) -> None:
        frame.time_base = _TICK
        frame.pts = self._last = due
        frame.duration = max(1, round(1 / self._fps / _TICK))
        with translate_os_errors(self._path):
            self._container.mux(self._stream.encode(frame))

    def close(self, complete: bool = True) -> None:
        """Finish the file; if it is not ``complete``, only close it.

        Raises:
            OddframeError: the file cannot be written.
        """
        try:
            with translate_os_errors(self._path):
                if complete:
                    self._container.mux(self._stream.encode(None))
                self._container.close()
        except OddframeError:
            if complete:
                raise


class _Encoder(Protocol):
    def close(self, complete: bool = True) -> None: ...


_EncoderT = TypeVar("_EncoderT", bound=_Encoder)


@contextmanager
def closing_encoder(encoder: _EncoderT) -> Iterator[_EncoderT]:
    """Finish an encoder's file at the end of the block, or give it up where the block raised."""
    try:
        yield encoder
    except BaseException:
        encoder.close(complete=False)
        raise
    encoder.close()


# Longer videos are not embedded in the page: it would be too big to mail, and slow to open.
MAX_EMBEDDED_S = 600.0
_EMBED_BYTES = 14e6
_MAX_SIDE = 640
_SIDE_FPS = 10.0
_PLAYED = {("h264", "yuv420p"), ("h264", "yuvj420p"), ("vp8", "yuv420p"), ("vp9", "yuv420p")}
_CONTAINERS = {"mov", "mp4", "webm"}


def preview_encoder(duration_s: float, embedded: bool) -> VideoEncoder:
    """The encoder of a preview; one that is embedded in the page has about 14 MB at most.

    Raises:
        OddframeError: there is no encoder.
    """
    max_rate = 900_000
    if embedded:
        max_rate = min(max_rate, int(_EMBED_BYTES * 8 / max(duration_s, 1.0)))
    rate = str(max_rate)
    x264 = {
        "preset": "veryfast",
        "crf": "27",
        "g": "50",
        "maxrate": rate,
        "bufsize": str(2 * max_rate),
    }
    vp8 = {"deadline": "realtime", "cpu-used": "6", "crf": "20", "b": rate, "g": "50"}
    return first_available(
        (
            VideoEncoder("libx264", "mp4", tuple(x264.items())),
            VideoEncoder("libvpx", "webm", tuple(vp8.items())),
        )
    )


class PreviewEncoder:
    """Encodes frames as a preview, at most 640 pixels wide and high.

    Args:
        target: File or memory.
        encoder: Encoder of the video.
        fps: Frame rate of the video.
        embedded: Whether it is embedded in the page; if not, it may be hours long, and ten
            pictures a second are enough.
    """

    done = False

    def __init__(
        self, target: Path | BytesIO, encoder: VideoEncoder, fps: float, embedded: bool
    ) -> None:
        self._target, self._encoder = target, encoder
        reduced = not embedded and fps > 1.5 * _SIDE_FPS
        self._least_gap = 1 / _SIDE_FPS - 1e-3 if reduced else 0.0
        self._fps = _SIDE_FPS if reduced else fps
        self._writer: VideoWriter | None = None
        self._size = (2, 2)
        self._last = float("-inf")

    def add(self, frame: Frame) -> None:
        """Take the next frame.

        Raises:
            OddframeError: the file cannot be written.
        """
        if frame.time_s - self._last < self._least_gap:
            return
        self._last, image = frame.time_s, frame.image
        if self._writer is None:
            self._size = even_size(image.shape[1], image.shape[0], _MAX_SIDE)
            size = self._size
            self._writer = VideoWriter(
                self._target, self._encoder, *size, self._fps, GENERATED_MARK
            )
        self._writer.add(letterbox(image, *self._size), frame.time_s)

    def close(self, complete: bool = True) -> None:
        """Finish the file; if it is not ``complete``, only close it."""
        if self._writer is not None:
            self._writer.close(complete)


def plays_in_browsers(path: Path) -> bool:
    """Whether every common browser plays a file as it is."""
    try:
        return bool(call_isolated(path, _plays, path))
    except InputError:
        return False


def _plays(path: Path) -> bool:
    with open_video(path) as video:
        known = _CONTAINERS & set(video.container.format.name.split(","))
        stream = video.stream
        return bool(known) and (stream.codec_context.name, stream.pix_fmt) in _PLAYED


_ENCODERS = (
    VideoEncoder("libx264", "mp4", (("crf", "20"), ("preset", "veryfast"))),
    VideoEncoder("mpeg4", "mp4", (("qscale", "3"),)),
)


@dataclass(frozen=True)
class LabelledClip:
    """A clip, and whether it shows a true event."""

    path: Path
    abnormal: bool


def join_clips(
    clips: Sequence[LabelledClip], out: Path, size: tuple[int, int]
) -> tuple[tuple[float, float], ...]:
    """Write ``clips`` as one H.264 video of ``size`` (width, height), each at its own frame rate.

    Returns:
        (start, end) in seconds of each run of abnormal clips.

    Raises:
        InputError: a clip cannot be decoded.
        OddframeError: ``out`` cannot be written.
    """
    make_folder(out.parent)
    truth: list[tuple[float, float]] = []
    now = 0.0
    with atomic_write(out) as part:
        rate = max(open_source(clip.path).fps for clip in clips)
        encoder = VideoWriter(part, first_available(_ENCODERS), *size, rate)
        with closing_encoder(encoder) as writer:
            for clip in clips:
                start, first_s = now, None
                source = open_source(clip.path)
                for frame in source.frames():
                    first_s = frame.time_s if first_s is None else first_s
                    now = start + frame.time_s - first_s
                    writer.add(letterbox(frame.image, *size), now)
                now += 1 / source.fps
                if clip.abnormal:
                    if truth and truth[-1][1] == start:
                        truth[-1] = (truth[-1][0], now)
                    else:
                        truth.append((start, now))
    return tuple(truth)
