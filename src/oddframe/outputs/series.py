"""A score track as few steps as a picture can show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from oddframe.events import EventRule, smoothed
from oddframe.timeline import FloatArray, ScoreTrack


class Curved(Protocol):
    """Scores, and the rule that they are held against."""

    @property
    def track(self) -> ScoreTrack: ...

    @property
    def rule(self) -> EventRule: ...


@dataclass(frozen=True)
class Steps:
    """A curve that is constant, or moves inside a band, between two edges.

    Attributes:
        edges: (n + 1,) seconds, increasing.
        low: (n,) lowest score of each step.
        high: (n,) highest; ``low`` itself where nothing was left out.
    """

    edges: FloatArray
    low: FloatArray
    high: FloatArray

    @property
    def whole(self) -> bool:
        """Whether each step is one score."""
        return bool((self.low == self.high).all())

    def at(self, seconds: float) -> float:
        """Highest score of the step at a time; outside of the video, of the first or last one."""
        step = int(np.searchsorted(self.edges, seconds, side="right")) - 1
        return float(self.high[min(max(step, 0), len(self.high) - 1)])

    def middle(self, seconds: float) -> float:
        """Middle of the step at a time, in seconds."""
        step = int(np.searchsorted(self.edges, seconds, side="right")) - 1
        step = min(max(step, 0), len(self.high) - 1)
        return float(self.edges[step] + self.edges[step + 1]) / 2

    def outline(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Corners (2 n,) for drawing: times, lower scores, upper scores."""
        times = np.repeat(self.edges, 2)[1:-1]
        return times, np.repeat(self.low, 2), np.repeat(self.high, 2)


def steps(result: Curved, most: int) -> Steps:
    """The curve that the threshold was held against, as at most ``most`` steps, no peak lost.

    These are the frame scores, smoothed if the rule smooths. Equal neighbours are one step, so
    snippet scores come out as they are; where that leaves more than ``most``, time is cut into
    ``most`` equal parts with their lowest and highest scores. In a gap of the time line the curve
    is at 0.
    """
    base = result.track.timebase
    frame_scores = smoothed(result.track, result.rule.smooth_s)
    changes = np.append(True, np.diff(frame_scores) != 0)
    changes[list(base.gaps)] = True
    starts = np.flatnonzero(changes)
    # A gap is a step of its own, in front of the frame that follows it.
    places = np.searchsorted(starts, base.gaps)
    edges = np.insert(base.frame_times[starts], places, base.gap_times[:, 0])
    edges = np.append(edges, base.end_s)
    scores = np.insert(frame_scores[starts], places, 0.0)
    if len(starts) <= most:
        return Steps(edges, scores, scores)
    bins = np.linspace(edges[0], edges[-1], most + 1)
    first = np.searchsorted(edges, bins[:-1], side="right") - 1
    last = np.maximum(np.searchsorted(edges, bins[1:], side="left"), first + 1)
    # reduceat reads pairs [first, last); a pair may not start past the end, hence the sentinels.
    pairs = np.stack([first, last], axis=1).ravel()
    low = np.minimum.reduceat(np.append(scores, np.inf), pairs)[::2]
    high = np.maximum.reduceat(np.append(scores, -np.inf), pairs)[::2]
    return Steps(bins, low, high)
