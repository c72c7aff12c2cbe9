"""Which few moments of a video to show.

Single frames of a video, caught as it passes by.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from oddframe.events import smooth_frame_scores
from oddframe.outputs.drawing import HasScores, RgbImage, even_size, letterbox, step_curve
from oddframe.timeline import Event, FloatArray
from oddframe.video.frame import Frame

# Instants that a normal moment is chosen from.
_CANDIDATES = 400
# What part of the video's length a score of 1 weighs: far apart is good, quiet is better.
_QUIET = 0.3


class HasEvents(HasScores, Protocol):
    """A curve, what was found in it, and what really happens."""

    @property
    def events(self) -> tuple[Event, ...]: ...

    @property
    def truth(self) -> tuple[tuple[float, float], ...] | None: ...


@dataclass(frozen=True)
class Highlight:
    """An instant worth a picture; ``abnormal`` by the truth if it is known, else by the events."""

    time_s: float
    abnormal: bool


def select_highlights(result: HasEvents, max_count: int = 6) -> tuple[Highlight, ...]:
    """At most ``most`` instants, in order of time.

    The peaks of the highest events and the middles of true intervals that no event touches, for at
    most half of them; the rest are quiet instants outside of both, as far as possible from each
    other. A short video gets fewer.
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
    if base.gaps:  # Nothing is shown inside of one.
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
    """For each event, the instant that stands for it: the middle of the snippet of its peak."""
    curve = step_curve(result, result.track.timebase.n_frames)
    return [
        min(max(curve.middle(event.peak_s), event.start_s), event.end_s) for event in result.events
    ]


def _spread_out(
    times: FloatArray, scores: FloatArray, taken: list[float], most: int, duration_s: float
) -> list[float]:
    """Up to ``most`` of ``times``, each as far as possible from those chosen before it."""
    chosen: list[float] = []
    # Walls at both ends, half as strong as a neighbour: the first picture is not the first frame.
    ends = np.minimum(times, times[-1] - times) * 2 if len(times) else times
    while len(chosen) < most and len(times):
        near = [np.abs(times - other) for other in (*taken, *chosen)]
        distance = np.min([ends, *near], axis=0)
        best = int(np.argmax(distance - _QUIET * duration_s * scores))
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
    """Catches the frame that is on the screen at each of some instants.

    Frames are fed in order of time with ``add``; ``images`` then has a small copy for each instant.

    Args:
        seconds: The instants. Before the first frame: the first; after the last: the last.
        longest: Longest side of the copies, pixels.
    """

    def __init__(self, seconds: Iterable[float], max_side: int) -> None:
        self.images: dict[float, RgbImage] = {}
        self._waiting = sorted(set(seconds), reverse=True)
        self._longest = max_side
        self._shown: Frame | None = None

    @property
    def done(self) -> bool:
        """Whether no later frame can change anything."""
        return not self._waiting

    def add(self, frame: Frame) -> None:
        """Take the next frame; its picture is only made if it is caught."""
        # Time stamps are rounded: a frame that comes a moment after the instant is meant by it.
        while self._waiting and self._waiting[-1] < frame.time_s - 1e-6:
            self._catch(self._shown or frame)
        self._shown = frame

    def close(self, complete: bool = True) -> None:
        """The video is over: instants after it get its last frame."""
        while complete and self._waiting and self._shown is not None:
            self._catch(self._shown)

    def _catch(self, frame: Frame) -> None:
        image = frame.image
        size = even_size(image.shape[1], image.shape[0], self._longest)
        # A copy: the frame itself may be large, and is not ours to keep.
        self.images[self._waiting.pop()] = letterbox(image, *size).copy()
