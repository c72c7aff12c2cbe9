"""What several pictures share: colours, scaling, fonts, and the score curve as steps to draw."""

from __future__ import annotations

import io
from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFont

from oddframe.events import EventRule, smooth_frame_scores
from oddframe.timeline import FloatArray, ScoreTrack

RgbImage = NDArray[np.uint8]

# One set of colours for figure, page and video (RGB).
BLUE_RGB = (47, 111, 222)
RED_RGB = (214, 48, 49)
GREEN_RGB = (32, 148, 88)
PINK_RGB = (250, 200, 211)


def even_size(width: int, height: int, max_side: int, min_width: int = 2) -> tuple[int, int]:
    """A size of the same aspect ratio within ``max_side`` x ``max_side``, both sides even.

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


def encode_jpeg(image: RgbImage, quality: int = 82) -> bytes:
    """An RGB picture as a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def embedded_jpeg(image: RgbImage, quality: int) -> dict[str, str | int]:
    """An RGB image for a page: ``url`` (a data URI with a JPEG), ``width`` and ``height``."""
    url = f"data:image/jpeg;base64,{b64encode(encode_jpeg(image, quality)).decode()}"
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
    """A score curve as steps: one score, or a band of scores, between two edges.

    Attributes:
        edges: (n + 1,) seconds, increasing.
        low: (n,) lowest score of each step.
        high: (n,) highest; equal to ``low`` where a step is one score.
    """

    edges: FloatArray
    low: FloatArray
    high: FloatArray

    @property
    def is_exact(self) -> bool:
        """Whether each step is one score."""
        return bool((self.low == self.high).all())

    def at(self, seconds: float) -> float:
        """Highest score of the step at a time; outside of the video, of the first or last step."""
        step = int(np.searchsorted(self.edges, seconds, side="right")) - 1
        return float(self.high[min(max(step, 0), len(self.high) - 1)])

    def middle(self, seconds: float) -> float:
        """Middle of the step at a time (s)."""
        step = int(np.searchsorted(self.edges, seconds, side="right")) - 1
        step = min(max(step, 0), len(self.high) - 1)
        return float(self.edges[step] + self.edges[step + 1]) / 2

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
