"""What several pictures share: colours, scaling, fonts, score curves as steps, key frames."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFont

from oddframe.events import EventRule, smooth_frame_scores
from oddframe.timeline import Box, Event, FloatArray, ScoreTrack
from oddframe.video.frame import Frame

RgbImage = NDArray[np.uint8]

# One set of colours for figure, page and video (RGB).
BLUE_RGB = (47, 111, 222)
RED_RGB = (214, 48, 49)
GREEN_RGB = (32, 148, 88)
PINK_RGB = (250, 200, 211)


def even_size(width: int, height: int, max_side: int, min_width: int = 2) -> tuple[int, int]:
    """A size of the same aspect ratio within a square of ``max_side``, both sides even.

    Narrower pictures grow to ``min_width``, as far as ``max_side`` allows.
    """
    scale = min(1.0, max_side / width, max_side / height)
    if width * scale < min_width:
        scale = min(min_width / width, max_side / height)
    return (max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2))


def letterbox(image: RgbImage, width: int, height: int) -> RgbImage:
    """Scale ``image`` (h, w, 3) to (height, width, 3), with black bars where its shape differs."""
    h, w = image.shape[:2]
    if (h, w) == (height, width):
        return image
    scale = min(width / w, height / h)
    inner = (max(1, round(w * scale)), max(1, round(h * scale)))
    # Even sizes are up to a pixel off the true aspect ratio: no bars for that.
    if abs(h * width / w - height) <= 1 or abs(w * height / h - width) <= 1:
        inner = (width, height)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(image, inner, interpolation=interpolation), dtype=np.uint8)
    if inner == (width, height):
        return small
    canvas = np.zeros((height, width, 3), dtype=np.uint8)
    x, y = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas[y : y + inner[1], x : x + inner[0]] = small
    return canvas


_HEAT_SHARE = 0.55  # Of the hottest colour in the picture.


def draw_heat(picture: RgbImage, heatmap: NDArray[np.floating[Any]]) -> None:
    """Tint a picture (h, w, 3) in place where a heat map (rows, columns) is hot."""
    height, width = picture.shape[:2]
    heat = np.asarray(heatmap, np.float32)
    heat = np.clip(cv2.resize(heat, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)
    colours = cv2.applyColorMap(np.round(heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    share = (_HEAT_SHARE * np.sqrt(heat))[:, :, None]
    picture[:] = picture * (1 - share) + colours[:, :, ::-1] * share


def draw_boxes(
    picture: RgbImage, boxes: Sequence[Box], colour: tuple[int, int, int], thickness: int
) -> None:
    """Draw rectangles into a picture (h, w, 3), the first one thicker."""
    height, width = picture.shape[:2]
    for number, box in enumerate(boxes):
        left, top, right, bottom = box_in_pixels(box, width, height)
        line = thickness if number == 0 else max(1, thickness // 2)
        cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), colour, line)


def box_in_pixels(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a box, in pixels of a picture of this size."""
    left, top, right, bottom = box
    return round(left * width), round(top * height), round(right * width), round(bottom * height)


def embedded_jpeg(image: RgbImage, quality: int) -> dict[str, str | int]:
    """An RGB image for a page: ``url`` (a data URI with a JPEG), ``width`` and ``height``."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, optimize=True)
    url = f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}"
    return {"url": url, "width": image.shape[1], "height": image.shape[0]}


@lru_cache(maxsize=16)
def load_font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib: the same letters on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


class HasScores(Protocol):
    """A score track with the event rule whose threshold applies to it."""

    @property
    def track(self) -> ScoreTrack: ...

    @property
    def rule(self) -> EventRule: ...


@dataclass(frozen=True)
class StepCurve:
    """A score curve as steps: one score, or a band of scores, between two edges."""

    edges: FloatArray  # (n + 1,) seconds, increasing.
    low: FloatArray  # (n,) lowest score of each step.
    high: FloatArray  # (n,) highest; equal to ``low`` where a step is one score.

    @property
    def is_exact(self) -> bool:
        """Whether each step is one score."""
        return bool((self.low == self.high).all())

    def at(self, seconds: float) -> float:
        """Highest score of the step at a time; outside of the video, of the first or last step."""
        return float(self.high[self._step(seconds)])

    def middle(self, seconds: float) -> float:
        """Middle of the step at a time (s)."""
        step = self._step(seconds)
        return float(self.edges[step] + self.edges[step + 1]) / 2

    def _step(self, seconds: float) -> int:
        step = int(np.searchsorted(self.edges, seconds, side="right")) - 1
        return min(max(step, 0), len(self.high) - 1)

    def outline(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Corners of the curve, each (2 n,): times, lowest scores, highest scores."""
        times = np.repeat(self.edges, 2)[1:-1]
        return times, np.repeat(self.low, 2), np.repeat(self.high, 2)


def step_curve(result: HasScores, max_steps: int) -> StepCurve:
    """The curve that the threshold applies to, as at most ``max_steps`` steps that keep all peaks.

    The curve is the frame scores, smoothed if the rule smooths. Equal neighbours are one step, so
    snippet scores stay as they are. If that gives more than ``max_steps``, time is divided into
    ``max_steps`` equal parts with their lowest and highest scores. In a gap the curve is 0.
    """
    base = result.track.timebase
    frame_scores = smooth_frame_scores(result.track, result.rule.smooth_s)
    changes = np.append(True, np.diff(frame_scores) != 0)
    changes[list(base.gaps)] = True
    starts = np.flatnonzero(changes)
    # A gap is a step of its own, before the frame that follows it.
    places = np.searchsorted(starts, base.gaps)
    edges = np.insert(base.frame_times[starts], places, base.gap_times[:, 0])
    edges = np.append(edges, base.end_s)
    scores = np.insert(frame_scores[starts], places, 0.0)
    if len(starts) <= max_steps:
        return StepCurve(edges, scores, scores)
    bins = np.linspace(edges[0], edges[-1], max_steps + 1)
    first = np.searchsorted(edges, bins[:-1], side="right") - 1
    last = np.maximum(np.searchsorted(edges, bins[1:], side="left"), first + 1)
    # reduceat reads pairs [first, last); a pair may not start past the end, hence the sentinels.
    pairs = np.stack([first, last], axis=1).ravel()
    low = np.minimum.reduceat(np.append(scores, np.inf), pairs)[::2]
    high = np.maximum.reduceat(np.append(scores, -np.inf), pairs)[::2]
    return StepCurve(bins, low, high)


# Longest side of the key frames in figures and pages (pixels).
KEY_FRAME_SIDE = 480
# So many times are candidates for a highlight without an event.
_CANDIDATES = 400
# A score of 1 counts against a candidate as much as this share of the video's length: candidates
# should be far apart, and rather have a low score.
_SCORE_WEIGHT = 0.3


class HasEvents(HasScores, Protocol):
    """A score track with the events found in it and the true intervals."""

    @property
    def events(self) -> tuple[Event, ...]: ...

    @property
    def truth(self) -> tuple[tuple[float, float], ...] | None: ...


@dataclass(frozen=True)
class Highlight:
    """A time worth a picture; ``abnormal`` by the truth if it is known, else by the events."""

    time_s: float
    abnormal: bool


def select_highlights(result: HasEvents, max_count: int = 6) -> tuple[Highlight, ...]:
    """At most ``max_count`` highlights, in order of time; a short video gets fewer.

    At most half are the peaks of the highest events and the middles of true intervals that no event
    overlaps. The others are times with low scores outside of both, far from each other.
    """
    base = result.track.timebase
    peaks = event_peak_times(result)
    spans = [(event.start_s, event.end_s) for event in result.events]
    truth = result.truth or ()
    missed = [
        (start, end)
        for start, end in truth
        if not any(start < other[1] and other[0] < end for other in spans)
    ]
    order = sorted(range(len(peaks)), key=lambda i: -result.events[i].score)
    odd = [peaks[i] for i in order] + [(start + end) / 2 for start, end in missed]
    kept = odd[: max(1, max_count // 2)]

    times = np.linspace(base.frame_times[0], base.frame_times[-1], _CANDIDATES)
    if base.gaps:  # No frame is shown in a gap.
        times = base.frame_times[np.linspace(0, base.n_frames - 1, _CANDIDATES).astype(int)]
    scores = np.interp(
        times, base.frame_times, smooth_frame_scores(result.track, result.rule.smooth_s)
    )
    quiet = np.ones(len(times), dtype=np.bool_)
    for start, end in (*spans, *truth):
        quiet &= (times < start) | (times >= end)
    kept += _spread_out(times[quiet], scores[quiet], kept, max_count - len(kept), base.duration_s)
    abnormal = spans if result.truth is None else truth
    return tuple(Highlight(t, any(a <= t < b for a, b in abnormal)) for t in sorted(kept))


def event_peak_times(result: HasEvents) -> list[float]:
    """For each event, the time of its picture: the middle of the snippet with its peak."""
    curve = step_curve(result, result.track.timebase.n_frames)
    return [
        min(max(curve.middle(event.peak_s), event.start_s), event.end_s) for event in result.events
    ]


def _spread_out(
    times: FloatArray, scores: FloatArray, taken: list[float], most: int, duration_s: float
) -> list[float]:
    """Up to ``most`` of ``times``, each as far as possible from those chosen before it."""
    chosen: list[float] = []
    # Both ends count as neighbours at twice their distance: the first picture is not the first
    # frame.
    ends = np.minimum(times, times[-1] - times) * 2 if len(times) else times
    while len(chosen) < most and len(times):
        near = [np.abs(times - other) for other in (*taken, *chosen)]
        distance = np.min([ends, *near], axis=0)
        best = int(np.argmax(distance - _SCORE_WEIGHT * duration_s * scores))
        if (taken or chosen) and distance[best] < duration_s / (3 * most + 3):
            break
        chosen.append(float(times[best]))
    return chosen


class KeyFrameCollector:
    """Keeps a small copy of the frame that is shown at each of some times, in ``images``.

    Before the first frame, that frame is taken; after the last, the last. ``max_side`` is pixels.
    """

    def __init__(self, seconds: Iterable[float], max_side: int) -> None:
        self.images: dict[float, RgbImage] = {}
        self._times = sorted(set(seconds), reverse=True)
        self._max_side = max_side
        self._previous: Frame | None = None

    @property
    def done(self) -> bool:
        return not self._times

    def add(self, frame: Frame) -> None:
        # Time stamps are rounded: a time just before that of a frame means this frame.
        while self._times and self._times[-1] < frame.time_s - 1e-6:
            self._keep(self._previous or frame)
        self._previous = frame

    def close(self, complete: bool = True) -> None:
        """Take the last frame for the times after the end; not if the video is not ``complete``."""
        while complete and self._times and self._previous is not None:
            self._keep(self._previous)

    def _keep(self, frame: Frame) -> None:
        image = frame.image
        size = even_size(image.shape[1], image.shape[0], self._max_side)
        # A copy, because the frame may be large, and its memory may be used again.
        self.images[self._times.pop()] = letterbox(image, *size).copy()
