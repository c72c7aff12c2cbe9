"""The video itself with its score: a strip below, a red frame around it during an event."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from oddframe.detector import VideoResult
from oddframe.outputs.encode import Encoder, VideoWriter, first_available
from oddframe.outputs.picture import Picture, even_size, fit
from oddframe.outputs.place import in_pixels, oddest_tiles
from oddframe.outputs.series import steps
from oddframe.outputs.strip import RED, Strip
from oddframe.video.frame import Frame
from oddframe.video.own import MARK

ENCODERS = (
    Encoder("libx264", "mp4", (("preset", "veryfast"), ("crf", "23"), ("g", "100"))),
    Encoder("mpeg4", "mp4", (("b", "3000000"), ("g", "50"))),
)
_LONGEST_SIDE, _NARROWEST = 1280, 320
# Event times and frame times are the same sums, rounded in another order (s).
_SLACK = 1e-6


class Annotator:
    """Draws and encodes the frames that are fed to it; memory does not grow with their number.

    The picture is at most 1280 pixels wide and high, framed red during an event, and so is the
    oddest tile if the model looks at tiles. Below it: the time, the score as a bar and a
    number, marks for "in an event" and, where the truth is known, for "it really happens"; then the
    curve of the whole video, bright up to now, with threshold, events (red) and truth (pink).

    Args:
        path: MP4 file to write.
        result: What to show.
    """

    done = False

    def __init__(self, path: Path, result: VideoResult) -> None:
        self._path = path
        self._result = result
        self._encoder = first_available(ENCODERS)
        self._events = [(event.start_s, event.end_s) for event in result.events]
        self._truth = sorted(result.truth or ())
        tiled = result.track.tiles is not None
        self._tiles = oddest_tiles(result.track) if tiled else None
        self._times = result.track.timebase.frame_times
        self._writer: VideoWriter | None = None

    def add(self, frame: Frame) -> None:
        """Take the next frame.

        Raises:
            OddframeError: the file cannot be written.
        """
        image, time_s = frame.image, frame.time_s
        if self._writer is None:
            self._open(image)
        assert self._writer is not None
        canvas, tall = self._canvas, self._picture_height
        event = _inside(self._events, time_s)
        true = _inside(self._truth, time_s) >= 0
        canvas[:tall] = fit(image, canvas.shape[1], tall)
        if event >= 0:
            edge = self._border
            canvas[:edge] = canvas[tall - edge : tall] = RED
            canvas[:tall, :edge] = canvas[:tall, -edge:] = RED
            self._mark_tile(canvas[:tall], time_s)
        score = self._curve.at(time_s + _SLACK)
        canvas[tall : tall + self._strip.head] = self._strip.header(time_s, score, event, true)
        self._strip.draw_plot(canvas[tall + self._strip.head :], time_s, score)
        self._writer.add(canvas, time_s)

    def _mark_tile(self, picture: Picture, time_s: float) -> None:
        """Frame the oddest tile of this moment, if there are tiles."""
        tiles, times = self._result.track.tiles, self._times
        if tiles is None or self._tiles is None:
            return
        frame = max(0, int(np.searchsorted(times, time_s + _SLACK, side="right")) - 1)
        box = tiles.box(int(self._tiles[frame]))
        left, top, right, bottom = in_pixels(box, picture.shape[1], picture.shape[0])
        thin = max(2, self._border // 2)
        cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), RED, thin)

    def close(self, whole: bool = True) -> None:
        """Finish the file; if it is not ``whole``, only let go of it."""
        if self._writer is not None:
            self._writer.close(whole)

    def _open(self, image: Picture) -> None:
        height, width = image.shape[:2]
        wide, self._picture_height = even_size(width, height, _LONGEST_SIDE, _NARROWEST)
        wide = max(wide, _NARROWEST)
        self._border = max(4, round(min(wide, self._picture_height) / 70))
        self._curve = steps(self._result, wide)
        self._strip = Strip(self._result, self._curve, wide)
        tall = self._picture_height + self._strip.height
        self._canvas: Picture = np.zeros((tall, wide, 3), dtype=np.uint8)
        base = self._result.track.timebase
        self._writer = VideoWriter(self._path, self._encoder, wide, tall, base.fps, MARK)


def _inside(spans: Sequence[tuple[float, float]], time_s: float) -> int:
    """Number of the last half-open interval, of those in order, that holds a time, or -1."""
    number = bisect_right(spans, (time_s + _SLACK, float("inf"))) - 1
    return number if number >= 0 and time_s < spans[number][1] - _SLACK else -1
