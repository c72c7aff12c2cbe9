"""Highlights of a video: the few times worth a picture, and the frames shown at them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from oddframe.events import smooth_frame_scores
from oddframe.outputs.drawing import HasScores, RgbImage, even_size, letterbox, step_curve
from oddframe.timeline import Event, FloatArray
from oddframe.video.frame import Frame

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
    """At most ``max_count`` highlights, in order of time.

    At most half of them are the peaks of the highest events and the middles of true intervals that
    no event overlaps. The others are times with low scores outside of both, as far as possible
    from each other. A short video gets fewer.
    """
    base = result.track.timebase
    peaks = event_peak_times(result)
    spans = [(event.start_s, event.end_s) for event in result.events]
    truth = result.truth or ()
    missed = [span for span in truth if not any(_spans_overlap(span, other) for other in spans)]
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
    return tuple(Highlight(time, _is_abnormal(result, time)) for time in sorted(kept))


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


def _spans_overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _is_abnormal(result: HasEvents, time: float) -> bool:
    if result.truth is not None:
        return any(start <= time < end for start, end in result.truth)
    return any(event.start_s <= time < event.end_s for event in result.events)


class KeyFrameCollector:
    """Keeps a small copy of the frame that is shown at each of some times.

    ``add`` takes the frames in order of time; ``images`` then has a copy by time.

    Args:
        seconds: The times. Before the first frame, that frame is taken; after the last, the last.
        max_side: Longest side of the copies, pixels.
    """

    def __init__(self, seconds: Iterable[float], max_side: int) -> None:
        self.images: dict[float, RgbImage] = {}
        self._times = sorted(set(seconds), reverse=True)
        self._max_side = max_side
        self._previous: Frame | None = None

    @property
    def done(self) -> bool:
        """Whether all copies are made."""
        return not self._times

    def add(self, frame: Frame) -> None:
        """Take the next frame; its picture is only made if it is kept."""
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
