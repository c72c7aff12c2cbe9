"""Encode videos: pictures with times, the small copy of a report page, joined clips."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Self

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
    options: Mapping[str, str] = field(default_factory=dict)


def first_available(encoders: tuple[VideoEncoder, ...]) -> VideoEncoder:
    """The first encoder that this machine's FFmpeg libraries have; OddframeError: there is none."""
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


class _Closing(ABC):
    """Finishes its file at the end of a ``with`` block, or gives it up where the block raised."""

    @abstractmethod
    def close(self, complete: bool = True) -> None:
        """Finish the file; if it is not ``complete``, only close it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(complete=kind is None)


class VideoWriter(_Closing):
    """Encodes RGB pictures one by one; memory does not grow with their number.

    The first picture is shown from 0 on, whatever its time, as players start there. Over a long
    pause the previous picture is repeated, because MP4 limits the duration of a picture. Width and
    height are even; ``fps`` is about right: the pictures' times decide when they are shown.
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
        """Encode a picture (height, width, 3), shown from ``time_s`` on; times must increase."""
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
        try:
            with translate_os_errors(self._path):
                if complete:
                    self._container.mux(self._stream.encode(None))
                self._container.close()
        except OddframeError:
            if complete:
                raise


class FrameEncoder(_Closing):
    """A frame consumer that writes a video; its writer is made for the size of the first frame."""

    done = False
    _writer: VideoWriter | None = None

    def close(self, complete: bool = True) -> None:
        if self._writer is not None:
            self._writer.close(complete)


# Longer videos are not embedded in the page: it would be too big to mail, and slow to open.
MAX_EMBEDDED_S = 600.0
_EMBED_BYTES = 14e6
_MAX_SIDE = 640
_SIDE_FPS = 10.0
_PLAYED = {("h264", "yuv420p"), ("h264", "yuvj420p"), ("vp8", "yuv420p"), ("vp9", "yuv420p")}
_CONTAINERS = {"mov", "mp4", "webm"}


def preview_encoder(duration_s: float, embedded: bool) -> VideoEncoder:
    """The encoder of a preview; one that is embedded in the page has about 14 MB at most."""
    rate = 900_000
    if embedded:
        rate = min(rate, int(_EMBED_BYTES * 8 / max(duration_s, 1.0)))
    x264 = {"preset": "veryfast", "crf": "27", "g": "50"}
    x264 |= {"maxrate": str(rate), "bufsize": str(2 * rate)}
    vp8 = {"deadline": "realtime", "cpu-used": "6", "crf": "20", "b": str(rate), "g": "50"}
    encoders = VideoEncoder("libx264", "mp4", x264), VideoEncoder("libvpx", "webm", vp8)
    return first_available(encoders)


class PreviewEncoder(FrameEncoder):
    """Encodes frames as a preview, at most 640 pixels wide and high.

    If it is not embedded in the page, it may be hours long, and ten pictures a second are enough.
    """

    def __init__(
        self, target: Path | BytesIO, encoder: VideoEncoder, fps: float, embedded: bool
    ) -> None:
        self._target, self._encoder = target, encoder
        reduced = not embedded and fps > 1.5 * _SIDE_FPS
        self._least_gap = 1 / _SIDE_FPS - 1e-3 if reduced else 0.0
        self._fps = _SIDE_FPS if reduced else fps
        self._size = (2, 2)
        self._last = float("-inf")

    def add(self, frame: Frame) -> None:
        if frame.time_s - self._last < self._least_gap:
            return
        self._last, image = frame.time_s, frame.image
        if self._writer is None:
            self._size = even_size(image.shape[1], image.shape[0], _MAX_SIDE)
            self._writer = VideoWriter(
                self._target, self._encoder, *self._size, self._fps, GENERATED_MARK
            )
        self._writer.add(letterbox(image, *self._size), frame.time_s)


def plays_in_browsers(path: Path) -> bool:
    """Whether every common browser plays a file as it is."""
    try:
        return path.is_file() and bool(call_isolated(path, _plays, path))
    except InputError:
        return False


def _plays(path: Path) -> bool:
    with open_video(path) as video:
        known = _CONTAINERS & set(video.container.format.name.split(","))
        stream = video.stream
        return bool(known) and (stream.codec_context.name, stream.pix_fmt) in _PLAYED


_ENCODERS = (
    VideoEncoder("libx264", "mp4", {"crf": "20", "preset": "veryfast"}),
    VideoEncoder("mpeg4", "mp4", {"qscale": "3"}),
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

    Returns (start, end) in seconds of each run of abnormal clips.
    """
    make_folder(out.parent)
    truth: list[tuple[float, float]] = []
    now = 0.0
    with atomic_write(out) as part:
        rate = max(open_source(clip.path).fps for clip in clips)
        with VideoWriter(part, first_available(_ENCODERS), *size, rate) as writer:
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
