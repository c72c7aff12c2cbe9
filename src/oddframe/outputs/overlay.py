"""The annotated video: a score overlay below the picture, a red frame around it during an event."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from oddframe._utils.files import atomic_write
from oddframe.detector import VideoResult
from oddframe.outputs.drawing import (
    RgbImage,
    StepCurve,
    draw_boxes,
    draw_heat,
    even_size,
    letterbox,
    load_font,
    step_curve,
)
from oddframe.outputs.encode import FrameEncoder, VideoEncoder, VideoWriter, first_available
from oddframe.outputs.registry import FrameConsumer, VideoTarget
from oddframe.outputs.text import format_clock
from oddframe.timeline import Box, IntArray, ScoreTrack
from oddframe.video.discover import GENERATED_MARK
from oddframe.video.frame import Frame

_Colour = tuple[int, int, int]
EVENT_RED = (226, 62, 60)
_DARK, _LINE, _WHITE = (18, 21, 27), (104, 164, 255), (240, 243, 248)
_PINK, _GREY = (244, 154, 178), (128, 138, 153)


class ScoreOverlay:
    """The part below the picture, both of an even height in pixels.

    The header has the time, the score as a bar and a number, a mark during an event and, where the
    truth is known, one during a true interval. Below is the curve of the whole video, bright up to
    the current time, with threshold, events (red) and truth (pink).
    """

    def __init__(self, result: VideoResult, curve: StepCurve, width: int) -> None:
        scale = min(2.0, max(0.8, width / 640))
        self.header_height = round(30 * scale / 2) * 2
        self.height = self.header_height + round(64 * scale / 2) * 2
        self._scale, self._width = scale, width
        self._top = round(8 * scale)  # Of the curve in the plot.
        self._floor = self.height - self.header_height - self._top
        self._start, self._end = float(curve.edges[0]), float(curve.edges[-1])
        self._threshold = result.rule.threshold
        self._margin = round(12 * scale)
        self._text = load_font(round(14 * scale))
        self._bold = load_font(round(12 * scale), bold=True)
        self._drawn: tuple[str, str, int, bool] | None = None
        self._header: RgbImage = np.zeros((self.header_height, width, 3), dtype=np.uint8)
        self._bright = self._plot(result, curve)
        base = np.full_like(self._bright, _DARK)
        self._dim = cv2.addWeighted(self._bright, 0.42, base, 0.58, 0)

    def header(self, time_s: float, score: float, event: int, true: bool) -> RgbImage:
        """(header_height, width, 3): time, score, marks; drawn again only where they change."""
        duration = self._end - self._start
        stamp = format_clock(time_s, 1, hours=duration >= 3600)
        shown = (stamp, f"{score:.2f}", event, true)
        if shown == self._drawn:
            return self._header
        image = Image.new("RGB", (self._width, self.header_height), _DARK)
        draw = ImageDraw.Draw(image)
        middle, gap = self.header_height / 2, round(14 * self._scale)
        x = float(self._margin)
        draw.text((x, middle), stamp, _WHITE, self._text, anchor="lm")
        x += self._text.getlength("0" * len(stamp)) + gap
        x = self._bar(draw, x, score) + round(8 * self._scale)
        draw.text((x, middle), shown[1], _WHITE, self._text, anchor="lm")
        right = float(self._width - self._margin)
        if event >= 0:
            right = self._pill(draw, right, f"EVENT {event + 1}", EVENT_RED, _WHITE) - gap / 2
        if true:
            self._pill(draw, right, "TRUTH", _PINK, _DARK)
        self._header, self._drawn = np.asarray(image, dtype=np.uint8), shown
        return self._header

    def _bar(self, draw: ImageDraw.ImageDraw, x: float, score: float) -> float:
        """Draw the score as a bar from ``x`` on, the threshold as a notch; return where it ends."""
        length, half = round(min(110 * self._scale, self._width * 0.2)), round(4 * self._scale)
        middle = self.header_height / 2
        colour = EVENT_RED if score >= self._threshold else _LINE
        box = (x, middle - half, x + length, middle + half)
        draw.rounded_rectangle(box, radius=half, fill=(48, 55, 66))
        if (filled := length * min(score, 1.0)) >= 1:
            draw.rounded_rectangle((x, box[1], x + filled, box[3]), radius=half, fill=colour)
        notch = x + length * min(self._threshold, 1.0)
        draw.line((notch, box[1] - 3, notch, box[3] + 3), fill=_WHITE, width=max(1, half // 3))
        return x + length

    def _pill(
        self, draw: ImageDraw.ImageDraw, right: float, text: str, fill: _Colour, ink: _Colour
    ) -> float:
        padding = round(8 * self._scale)
        left = right - self._bold.getlength(text) - 2 * padding
        half = round(10 * self._scale)
        middle = self.header_height / 2
        draw.rounded_rectangle((left, middle - half, right, middle + half), radius=half, fill=fill)
        draw.text(((left + right) / 2, middle), text, ink, self._bold, anchor="mm")
        return left

    def draw_plot(self, area: RgbImage, time_s: float, score: float) -> None:
        """Draw the curve with a playhead into ``area`` (height - header_height, width, 3)."""
        x = round(self._x(time_s))
        area[:, :x] = self._bright[:, :x]
        area[:, x:] = self._dim[:, x:]
        half = max(1, round(self._scale))
        left = min(max(0, x - half + 1), self._width - half)
        area[self._top - 4 : self._floor + 1, left : left + half] = _WHITE
        radius = round(3.5 * self._scale)
        cv2.circle(area, (x, round(self._y(score))), radius, _WHITE, -1, cv2.LINE_AA)

    def _x(self, time_s: float) -> float:
        share = (time_s - self._start) / (self._end - self._start)
        return self._margin + min(max(share, 0.0), 1.0) * (self._width - 2 * self._margin - 1)

    def _y(self, score: float) -> float:
        return self._floor - min(max(score, 0.0), 1.0) * (self._floor - self._top)

    def _plot(self, result: VideoResult, curve: StepCurve) -> RgbImage:
        """(height - header_height, width, 3): the curve of the whole video, bright."""
        plot: RgbImage = np.full(
            (self.height - self.header_height, self._width, 3), _DARK, dtype=np.uint8
        )
        top, floor = self._top, self._floor
        for start, end in result.track.timebase.gap_times:
            self._shade(plot, float(start), float(end), _GREY, 0.35)
        for start, end in result.truth or ():
            self._shade(plot, start, end, _PINK, 0.35)
        for event in result.events:
            self._shade(plot, event.start_s, event.end_s, EVENT_RED, 0.22)
            left, right = self._columns(event.start_s, event.end_s)
            plot[top - 4 : top - 1, left:right] = EVENT_RED
        y = round(self._y(result.rule.threshold))
        dash = round(5 * self._scale)
        for x in range(self._margin, self._width - self._margin, 2 * dash):
            plot[y, x : min(x + dash, self._width - self._margin)] = _GREY
        plot[floor, self._margin : self._width - self._margin] = (70, 78, 90)
        times, low, high = curve.outline()
        xs = np.array([self._x(time) for time in times])
        upper = np.stack([xs, [self._y(score) for score in high]], axis=1)
        lower = np.stack([xs, [self._y(score) for score in low]], axis=1)
        under = plot.copy()
        ground = [[xs[-1], floor], [xs[0], floor]]
        cv2.fillPoly(under, [_sixteenths(np.concatenate([upper, ground]))], _LINE, cv2.LINE_AA, 4)
        plot = np.asarray(cv2.addWeighted(under, 0.22, plot, 0.78, 0), dtype=np.uint8)
        if not curve.is_exact:
            band = _sixteenths(np.concatenate([upper, lower[::-1]]))
            cv2.fillPoly(plot, [band], _LINE, cv2.LINE_AA, 4)
        thick = max(1, round(1.6 * self._scale)) if curve.is_exact else 1
        cv2.polylines(plot, [_sixteenths(upper)], False, _LINE, thick, cv2.LINE_AA, 4)
        return plot

    def _columns(self, start_s: float, end_s: float) -> tuple[int, int]:
        left = round(self._x(start_s))
        return left, max(left + 2, round(self._x(end_s)) + 1)

    def _shade(
        self, plot: RgbImage, start: float, end: float, colour: _Colour, part: float
    ) -> None:
        left, right = self._columns(start, end)
        area = plot[self._top : self._floor, left:right]
        area[:] = (area * (1 - part) + np.array(colour) * part).astype(np.uint8)


def _sixteenths(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Points for OpenCV's drawing, which counts sixteenths of a pixel with ``shift=4``."""
    return np.round(points * 16).astype(np.int32)


ANNOTATION_ENCODERS = (
    VideoEncoder("libx264", "mp4", {"preset": "veryfast", "crf": "23", "g": "100"}),
    VideoEncoder("mpeg4", "mp4", {"b": "3000000", "g": "50"}),
)
_MAX_SIDE, _MIN_WIDTH = 1280, 320
# Event times and frame times are rounded differently: they may differ by this (s).
_SLACK = 1e-6


class Annotator(FrameEncoder):
    """Draws and encodes frames one by one; memory does not grow with their number.

    The picture is at most 1280 pixels wide and high, with a red frame during an event, heat and the
    event's boxes; without boxes the tile with the highest score, or the motion square. A
    ``ScoreOverlay`` is below the picture.
    """

    def __init__(self, path: Path, result: VideoResult) -> None:
        self._path = path
        self._result = result
        self._encoder = first_available(ANNOTATION_ENCODERS)
        self._events = [(event.start_s, event.end_s) for event in result.events]
        self._truth = sorted(result.truth or ())
        self._boxes = frame_boxes(result.track)
        self._box_times = [np.array([at for at, _ in e.boxes_at]) for e in result.events]
        self._times = result.track.timebase.frame_times

    def add(self, frame: Frame) -> None:
        image, time_s = frame.image, frame.time_s
        if self._writer is None:
            self._open(image)
        assert self._writer is not None
        canvas, height = self._canvas, self._picture_height
        event = _index_at(self._events, time_s)
        true = _index_at(self._truth, time_s) >= 0
        canvas[:height] = letterbox(image, canvas.shape[1], height)
        if event >= 0:
            self._draw_where(canvas[:height], event, time_s)
            edge = self._border
            canvas[:edge] = canvas[height - edge : height] = EVENT_RED
            canvas[:height, :edge] = canvas[:height, -edge:] = EVENT_RED
        score = self._curve.at(time_s + _SLACK)
        end = height + self._overlay.header_height
        canvas[height:end] = self._overlay.header(time_s, score, event, true)
        self._overlay.draw_plot(canvas[end:], time_s, score)
        self._writer.add(canvas, time_s)

    def _draw_where(self, picture: RgbImage, event: int, time_s: float) -> None:
        """Draw where an event is at a time (s)."""
        track, times = self._result.track, self._box_times[event]
        if track.heat is not None:
            draw_heat(picture, track.heatmap(time_s))
        boxes: Sequence[Box] = ()
        if times.size:
            nearest = int(np.abs(times - time_s).argmin())
            boxes = self._result.events[event].boxes_at[nearest][1]
        elif self._boxes is not None:
            frame_number = np.searchsorted(self._times, time_s + _SLACK, side="right") - 1
            boxes = [self._boxes(max(0, int(frame_number)))]
        draw_boxes(picture, boxes, EVENT_RED, max(2, self._border // 2))

    def _open(self, image: RgbImage) -> None:
        height, width = image.shape[:2]
        width, self._picture_height = even_size(width, height, _MAX_SIDE, _MIN_WIDTH)
        width = max(width, _MIN_WIDTH)
        self._border = max(4, round(min(width, self._picture_height) / 70))
        self._curve = step_curve(self._result, width)
        self._overlay = ScoreOverlay(self._result, self._curve, width)
        height = self._picture_height + self._overlay.height
        self._canvas: RgbImage = np.zeros((height, width, 3), dtype=np.uint8)
        base = self._result.track.timebase
        self._writer = VideoWriter(
            self._path, self._encoder, width, height, base.fps, GENERATED_MARK
        )


def _index_at(spans: Sequence[tuple[float, float]], time_s: float) -> int:
    """Number of the last of some sorted, half-open intervals that contains a time, or -1."""
    number = bisect_right(spans, (time_s + _SLACK, float("inf"))) - 1
    return number if number >= 0 and time_s < spans[number][1] - _SLACK else -1


@contextmanager
def annotated_video_writer(result: VideoResult, target: VideoTarget) -> Iterator[FrameConsumer]:
    """Write the annotated video; a writer of ``outputs.registry``."""
    with atomic_write(target.path) as part, Annotator(part, result) as annotator:
        yield annotator


def frame_boxes(track: ScoreTrack) -> Callable[[int], Box] | None:
    """A function from a frame's number to the tile with the highest score, or the motion square.

    That is of the latest snippet that has started. None: the scores have neither.
    """
    if (tiles := track.tiles) is not None:
        top = top_tiles(track)
        return lambda frame: tiles.box(int(top[frame]))
    if track.boxes is None:
        return None
    starts = track.timebase.snippet_ticks()[:, 0]
    snippets = np.searchsorted(starts, track.timebase.frame_ticks, side="right") - 1
    boxes: list[Box] = [tuple(box) for box in track.boxes[snippets].tolist()]
    return boxes.__getitem__


def top_tiles(track: ScoreTrack) -> IntArray:
    """(n_frames,) number of the tile with the highest score at each frame; there must be tiles."""
    assert track.tiles is not None
    highest = np.full(track.timebase.n_frames, -np.inf)
    tiles = np.zeros(track.timebase.n_frames, dtype=np.int64)
    for number, scores in enumerate(track.tiles.scores):
        frames = track.timebase.to_frames(scores)
        tiles[frames > highest] = number
        highest = np.maximum(highest, frames)
    return tiles
