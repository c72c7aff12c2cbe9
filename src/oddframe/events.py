"""Scores -> events: smoothing, hysteresis, gap closing, minimal length; thresholds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from oddframe.errors import InputError, UsageError
from oddframe.timeline import Box, Event, FloatArray, IntArray, ScoreTrack

# Times are sums and quotients of floats: lengths this close (s) are equal.
_TIME_SLACK = 1e-9
# How many thresholds ``calibrate_threshold`` looks at one by one before it widens its steps.
_FINE_STEPS = 256


@dataclass(frozen=True)
class EventRule:
    """How a score curve becomes events.

    Attributes:
        threshold: An event starts where the smoothed score reaches this (onset).
        release: ... and lasts until it falls below this (offset); at most ``threshold_for_rate``.
        smooth_s: Width in seconds of the moving average before thresholding; 0: none.
        min_duration_s: Shorter events are dropped.
        merge_gap_s: Events closer than this are one.

    Raises:
        UsageError: a value is not finite or negative, or ``release`` is above
        ``threshold_for_rate``.
    """

    threshold: float = 0.5
    release: float = 0.4
    smooth_s: float = 0.0
    min_duration_s: float = 0.0
    merge_gap_s: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (np.isfinite(value) and value >= 0):
                raise UsageError(f"{name} of an event rule must be 0 or more, not {value}")
        if self.release > self.threshold:
            raise UsageError(
                f"an event cannot end at {self.release}, above the {self.threshold} where it "
                "starts: release must be at most threshold"
            )

    def with_threshold(self, threshold: float) -> EventRule:
        """The same rule at another threshold; ``release`` keeps its ratio to it."""
        ratio = self.release / self.threshold if self.threshold > 0 else 1.0
        return replace(self, threshold=threshold, release=min(threshold, threshold * ratio))


@dataclass(frozen=True)
class RuleChanges:
    """What differs from an event rule, without its threshold; None: nothing.

    Attributes:
        release: As a share of the threshold, in [0, 1].
        smooth_s: See ``EventRule``, and likewise the others.
    """

    release: float | None = None
    smooth_s: float | None = None
    min_duration_s: float | None = None
    merge_gap_s: float | None = None

    def of(self, rule: EventRule) -> EventRule:
        """``rule`` with these changes.

        Raises:
            UsageError: a value is not finite or negative, or ``release`` is above 1.
        """
        changes = {name: value for name, value in vars(self).items() if value is not None}
        if self.release is not None:
            changes["release"] = self.release * rule.threshold
        return replace(rule, **changes)


def smooth_frame_scores(track: ScoreTrack, smooth_s: float) -> FloatArray:
    """(n_frames,) frame scores, averaged over the ``smooth_s`` seconds around each frame's middle.

    A frame weighs as long as it is shown, so a variable frame rate is right; at either end of the
    video, and at a gap in its time line, the window is cut, not filled.

    Raises:
        InputError: a score is not finite.
    """
    scores = track.to_frames()
    if not np.isfinite(scores).all():
        raise InputError(f"{int((~np.isfinite(scores)).sum())} frame scores are not finite")
    if smooth_s <= 0:
        return scores
    base = track.timebase
    times, ends = base.frame_times, base.frame_ends
    averaged = [
        _averaged(scores[first:end], np.append(times[first:end], ends[end - 1]), smooth_s)
        for first, end in base.segments
    ]
    return np.concatenate(averaged)


def _averaged(scores: FloatArray, edges: FloatArray, smooth_s: float) -> FloatArray:
    """Scores (n,) of frames that follow each other, averaged; ``edges`` (n + 1,) in seconds."""
    # The mean over a window is a difference of the running integral, linear inside a frame.
    integral = np.append(0.0, np.cumsum(scores * np.diff(edges)))
    middle = (edges[1:] + edges[:-1]) / 2
    low = np.maximum(middle - smooth_s / 2, edges[0])
    high = np.minimum(middle + smooth_s / 2, edges[-1])
    mean = (np.interp(high, edges, integral) - np.interp(low, edges, integral)) / (high - low)
    result: FloatArray = np.clip(mean, scores.min(), scores.max())
    return result


@dataclass(frozen=True)
class _SmoothedCurve:
    """A smoothed score curve, (n_frames,) each.

    Attributes:
        scores: Of the frames.
        starts: When each frame is first shown, in seconds.
        ends: When it leaves the screen.
        opens: Whether a frame is the first one, or the first behind a gap.
    """

    scores: FloatArray
    starts: FloatArray
    ends: FloatArray
    opens: NDArray[np.bool_]

    @classmethod
    def of(cls, track: ScoreTrack, smooth_s: float) -> _SmoothedCurve:
        base = track.timebase
        opens = np.zeros(base.n_frames, dtype=np.bool_)
        opens[base.segments[:, 0]] = True
        return cls(smooth_frame_scores(track, smooth_s), base.frame_times, base.frame_ends, opens)


def _spans(curve: _SmoothedCurve, rule: EventRule) -> IntArray:
    """(n, 2) half-open frame intervals of the events of a curve; none spans a gap."""
    held = curve.scores >= rule.release
    after_held = np.append(False, held[:-1]) & ~curve.opens
    before_held = np.append(held[1:] & ~curve.opens[1:], False)
    run_starts = np.flatnonzero(held & ~after_held)
    run_ends = np.flatnonzero(held & ~before_held) + 1
    onsets = np.flatnonzero(curve.scores >= rule.threshold)
    if not onsets.size:
        return np.zeros((0, 2), dtype=np.int64)
    first = onsets[np.minimum(np.searchsorted(onsets, run_starts), len(onsets) - 1)]
    fires = (first >= run_starts) & (first < run_ends)
    starts, ends = first[fires], run_ends[fires]
    between_s = curve.starts[starts[1:]] - curve.ends[ends[:-1] - 1]
    segment = np.cumsum(curve.opens)[starts]
    apart = (between_s > rule.merge_gap_s - _TIME_SLACK) | (np.diff(segment) > 0)
    starts, ends = starts[np.append(True, apart)], ends[np.append(apart, True)]
    length_s = curve.ends[ends - 1] - curve.starts[starts]
    long = length_s >= rule.min_duration_s - _TIME_SLACK
    return np.stack([starts[long], ends[long]], axis=1)


def find_events(track: ScoreTrack, rule: EventRule) -> tuple[Event, ...]:
    """The events of a track, in order of time, disjoint.

    In this order: the frame scores are smoothed; an event starts at the first frame that reaches
    ``threshold_for_rate`` and ends before the first one below ``release``; events closer than
    ``merge_gap_s`` are joined, but not across a gap in the time line; what is then shorter than
    ``min_duration_s`` is dropped. Times are those that a player shows: the start is when the first
    frame appears, the end when the last one leaves the screen. ``peak_s`` and ``score`` are of the
    frame with the highest smoothed score, and ``where`` of the oddest tile there.

    Raises:
        InputError: a score is not finite.
    """
    curve = _SmoothedCurve.of(track, rule.smooth_s)
    spans = _spans(curve, rule)
    peaks = [int(start + np.argmax(curve.scores[start:end])) for start, end in spans]
    places: list[Box | None] = [None] * len(peaks)
    if track.tiles is not None:
        places = [track.tiles.where(snippet) for snippet in _snippets_at(track, peaks)]
    return tuple(
        Event(
            start_s=float(curve.starts[start]),
            end_s=float(curve.ends[end - 1]),
            peak_s=float(curve.starts[peak]),
            score=float(curve.scores[peak]),
            where=where,
        )
        for (start, end), peak, where in zip(spans, peaks, places, strict=True)
    )


def _snippets_at(track: ScoreTrack, frames: Sequence[int]) -> Iterator[int]:
    """For each frame, the highest snippet of those that speak for it."""
    base = track.timebase
    starts, ends = base.snippet_ticks().T
    ticks = base.frame_ticks
    for frame in frames:
        first = int(np.searchsorted(ends, ticks[frame], side="right"))
        last = int(np.searchsorted(starts, ticks[frame], side="right"))
        yield first + int(np.argmax(track.scores[first:last]))


@dataclass(frozen=True)
class Calibration:
    """A threshold, and what it stands on.

    Attributes:
        threshold: The threshold.
        false_alarms: Events that normal video still gives at it.
        hours: Hours of normal video that were looked at; see ``hours_needed``.
    """

    threshold: float
    false_alarms: int
    hours: float


def hours_needed(false_alarms_per_hour: float) -> float:
    """Hours of normal video that can show so few false alarms an hour; infinite for none at all.

    The rule of three: three hours without one rule out one an hour, at 95 %; less video does not.
    """
    return 3.0 / false_alarms_per_hour if false_alarms_per_hour > 0 else float("inf")


def calibrate_threshold(
    tracks: Sequence[ScoreTrack], false_alarms_per_hour: float, rule: EventRule
) -> Calibration:
    """The lowest threshold at which normal video gives at most the wished false alarms an hour.

    Lower thresholds do not always give more events: at 0 a whole video is a single one. So the
    search goes from the top down and stops where the count is first exceeded: at the threshold
    itself, and at every peak of the curves that is higher, the wish is kept. Peaks are looked at
    one by one at first, then in growing steps, so that ten hours take seconds; between the last
    two, the threshold is found by halving. ``release`` keeps its ratio to the threshold.

    Args:
        tracks: Scores of videos in which nothing happens, not ones that the model was trained on.
        false_alarms_per_hour: At most so many events an hour of ``tracks``, over all of them.
        rule: Everything but the threshold.

    Raises:
        UsageError: no tracks, or the rate is negative or not finite.
        InputError: a score is not finite.
    """
    if not tracks:
        raise UsageError("a threshold needs at least one normal video")
    if not 0 <= false_alarms_per_hour < np.inf:
        raise UsageError(f"false alarms an hour must be 0 or more, not {false_alarms_per_hour}")
    curves = [_SmoothedCurve.of(track, rule.smooth_s) for track in tracks]
    hours = sum(track.timebase.covered_s for track in tracks) / 3600

    def count(threshold: float) -> int:
        at = rule.with_threshold(threshold)
        return sum(len(_spans(curve, at)) for curve in curves)

    allowed = int(np.floor(false_alarms_per_hour * hours + _TIME_SLACK))
    parts = [part for c in curves for part in np.split(c.scores, np.flatnonzero(c.opens)[1:])]
    peaks = np.unique(np.concatenate([_peaks(part) for part in parts]))[::-1]
    good = float(np.nextafter(peaks[0], np.inf))
    for peak in peaks[_widening(len(peaks))]:
        if count(float(peak)) > allowed:
            good = _halved(lambda threshold: count(threshold) <= allowed, good, float(peak))
            break
        good = float(peak)
    return Calibration(good, count(good), hours)


def _peaks(curve: FloatArray) -> FloatArray:
    """Values of a curve's local maxima: only there can a lower threshold bring a new event."""
    levels = curve[np.append(True, np.diff(curve) != 0)]
    rising = np.concatenate([[True], np.diff(levels) > 0, [False]])
    peaks: FloatArray = levels[rising[:-1] & ~rising[1:]]
    return peaks


def _widening(n: int) -> IntArray:
    """Positions 0 ... n - 1: each at first, then 2 % further each time, the last one included."""
    steps = np.maximum(1, 1.02 ** np.arange(2000)).cumsum()
    far = np.floor(_FINE_STEPS + steps[steps < max(0, n - _FINE_STEPS)]).astype(np.int64)
    return np.unique(np.concatenate([np.arange(min(n, _FINE_STEPS)), far[far < n], [n - 1]]))


def _halved(keeps: Callable[[float], bool], good: float, bad: float) -> float:
    """The lowest value found between ``bad`` and ``good`` that still keeps the wished rate."""
    while (middle := (good + bad) / 2) < good and middle > bad and good - bad > 1e-9 * good:
        if keeps(middle):
            good = middle
        else:
            bad = middle
    return good


@dataclass(frozen=True)
class EventMatch:
    """Events against the truth.

    Attributes:
        found: True intervals that at least one event touches.
        missed: True intervals that none does.
        false: Events that touch no true interval.
        delays_s: For each found interval, seconds from its start to the start of the first event
            that touches it; 0 where that one started before.
    """

    found: int
    missed: int
    false: int
    delays_s: tuple[float, ...]


def match_events(
    events: Sequence[Event], truth: Sequence[tuple[float, float]], min_overlap_s: float = 0.0
) -> EventMatch:
    """Count found and missed intervals of ``truth`` (start, end, in seconds) and false alarms.

    An event and an interval touch if they share more than ``min_overlap_s`` seconds.
    """
    starts = np.array([event.start_s for event in events]).reshape(1, -1)
    ends = np.array([event.end_s for event in events]).reshape(1, -1)
    true = np.array(truth, dtype=np.float64).reshape(-1, 2)
    shared = np.minimum(ends, true[:, 1:]) - np.maximum(starts, true[:, :1])
    touch = shared > min_overlap_s
    delays = tuple(
        float(max(0.0, starts[0, row].min() - start))
        for row, start in zip(touch, true[:, 0], strict=True)
        if row.any()
    )
    found = int(touch.any(axis=1).sum())
    return EventMatch(found, len(true) - found, int((~touch.any(axis=0)).sum()), delays)
