"""A copy of the video for the report page: small, and in a format that every browser plays."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from oddframe.errors import InputError
from oddframe.outputs.encode import Encoder, VideoWriter, first_available
from oddframe.outputs.picture import even_size, fit
from oddframe.video.container import open_video
from oddframe.video.frame import Frame
from oddframe.video.own import MARK
from oddframe.video.supervised import call_supervised

# Longer videos are not put into the page: it would be too big to mail, and slow to open.
EMBED_S = 600.0
_EMBED_BYTES = 14e6
_LONGEST_SIDE = 640
_SIDE_FPS = 10.0
_PLAYED = {("h264", "yuv420p"), ("h264", "yuvj420p"), ("vp8", "yuv420p"), ("vp9", "yuv420p")}
_CONTAINERS = {"mov", "mp4", "webm"}


def encoder_for(duration_s: float, embedded: bool) -> Encoder:
    """What to encode a preview with; one that goes into the page is kept to about 14 MB.

    Raises:
        OddframeError: there is no encoder.
    """
    most = 900_000
    if embedded:
        most = min(most, int(_EMBED_BYTES * 8 / max(duration_s, 1.0)))
    rate = str(most)
    x264 = {"preset": "veryfast", "crf": "27", "g": "50", "maxrate": rate, "bufsize": str(2 * most)}
    vp8 = {"deadline": "realtime", "cpu-used": "6", "crf": "20", "b": rate, "g": "50"}
    return first_available(
        (
            Encoder("libx264", "mp4", tuple(x264.items())),
            Encoder("libvpx", "webm", tuple(vp8.items())),
        )
    )


class Preview:
    """Encodes the frames that are fed to it, at most 640 pixels wide and high.

    Args:
        target: File or memory.
        encoder: How.
        fps: Of the video.
        embedded: Whether it goes into the page; if not, it may be hours long, and ten pictures a
            second are enough.
    """

    done = False

    def __init__(
        self, target: Path | BytesIO, encoder: Encoder, fps: float, embedded: bool
    ) -> None:
        self._target, self._encoder = target, encoder
        thin = not embedded and fps > 1.5 * _SIDE_FPS
        self._least_gap = 1 / _SIDE_FPS - 1e-3 if thin else 0.0
        self._fps = _SIDE_FPS if thin else fps
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
            self._size = even_size(image.shape[1], image.shape[0], _LONGEST_SIDE)
            size = self._size
            self._writer = VideoWriter(self._target, self._encoder, *size, self._fps, MARK)
        self._writer.add(fit(image, *self._size), frame.time_s)

    def close(self, whole: bool = True) -> None:
        """Finish the file; if it is not ``whole``, only let go of it."""
        if self._writer is not None:
            self._writer.close(whole)


def plays_in_browsers(path: Path) -> bool:
    """Whether every common browser plays a file as it is."""
    try:
        return bool(call_supervised(path, _plays, path))
    except InputError:
        return False


def _plays(path: Path) -> bool:
    with open_video(path) as video:
        known = _CONTAINERS & set(video.container.format.name.split(","))
        stream = video.stream
        return bool(known) and (stream.codec_context.name, stream.pix_fmt) in _PLAYED
