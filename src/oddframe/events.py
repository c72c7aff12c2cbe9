"""Finds events in score tracks, calibrates thresholds on normal video, and matches events to truth.

Scores become events by smoothing, thresholding with hysteresis, merging and a minimal duration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from oddframe.errors import InputError, UsageError
from oddframe.heatmap import find_boxes, to_rows
from oddframe.timeline import Event, FloatArray, IntArray, Reasons, ScoreTrack

_TOLERANCE_S = 1e-9  # Durations are sums of floats: those that differ by less are equal.
Span = tuple[float, float]  # Start and end in seconds.
_ALWAYS: Span = (-np.inf, np.inf)
_FINE_STEPS = 256  # Peaks that ``calibrate_threshold`` tests one by one before its steps grow.


@dataclass(frozen=True)
class EventRule:
    """Parameters of event detection.

    Attributes:
        threshold: There is an event where the smoothed score reaches this value.
        release: It lasts while the score is at least this value, which is at most ``threshold``.
        smooth_s: Width in seconds of the moving average before thresholding; 0: none.
        min_duration_s: Shorter events are dropped.
        merge_gap_s: Events that are closer than this (seconds) are merged.

    Raises:
        UsageError: a value is not finite or negative, or ``release`` is above ``threshold``.
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
    """Changes to an event rule; None: no change.

    Attributes:
        release: As a fraction of the threshold, in [0, 1].
        smooth_s: See ``EventRule``.
        min_duration_s: See ``EventRule``.
        merge_gap_s: See ``EventRule``.
    """

    release: float | None = None
    smooth_s: float | None = None
    min_duration_s: float | None = None
    merge_gap_s: float | None = None

    def apply_to(self, rule: EventRule) -> EventRule:
        """Return ``rule`` with these changes.

        Raises:
            UsageError: a value is not finite or negative, or ``release`` is above 1.
        """
        changes = {name: value for name, value in vars(self).items() if value is not None}
        if self.release is not None:
            changes["release"] = self.release * rule.threshold
        return replace(rule, **changes)


def smooth_frame_scores(track: ScoreTrack, smooth_s: float) -> FloatArray:
    """(n_frames,) frame scores, averaged over the ``smooth_s`` seconds around each frame's middle.

    Frames are weighted by how long they are shown. At the ends of the video, and at a gap in its
    time line, the window is shortened.
    """
    scores = track.to_frames()
    if not np.isfinite(scores).all():
        raise InputError(f"{int((~np.isfinite(scores)).sum())} frame scores are not finite")
    if smooth_s <= 0:
        return scores
    base = track.timebase
    times, ends = base.frame_times, base.frame_ends
    segments = [
        _moving_average(scores[first:end], np.append(times[first:end], ends[end - 1]), smooth_s)
        for first, end in base.segments
    ]
    return np.concatenate(segments)


def _moving_average(scores: FloatArray, edges: FloatArray, smooth_s: float) -> FloatArray:
    """Average the scores (n,) of the frames of a segment; ``edges`` (n + 1,) in seconds."""
    # The integral of the scores is linear within a frame, so it can be interpolated.
    integral = np.append(0.0, np.cumsum(scores * np.diff(edges)))
    middle = (edges[1:] + edges[:-1]) / 2
    low = np.maximum(middle - smooth_s / 2, edges[0])
    high = np.minimum(middle + smooth_s / 2, edges[-1])
    mean = (np.interp(high, edges, integral) - np.interp(low, edges, integral)) / (high - low)
    result: FloatArray = np.clip(mean, scores.min(), scores.max())
    return result


class _Curve:
    """Frame scores, smoothed and as they are, when frames are shown, and where segments start."""

    def __init__(self, track: ScoreTrack, smooth_s: float) -> None:
        base = track.timebase
        self.scores = smooth_frame_scores(track, smooth_s)
        self.unsmoothed = track.to_frames()
        self.starts, self.ends = base.frame_times, base.frame_ends
        self.segment_starts = np.isin(np.arange(base.n_frames), base.segments[:, 0])

    def within(self, span_s: Span) -> NDArray[np.bool_]:
        """(n_frames,) which frames are shown inside a span of time."""
        start_s, end_s = span_s
        return (self.starts >= start_s - _TOLERANCE_S) & (self.ends <= end_s + _TOLERANCE_S)

    def runs(self, above: NDArray[np.bool_]) -> IntArray:
        """(n, 2) half-open intervals of the frames ``above``, none across a gap."""
        after = np.append(False, above[:-1]) & ~self.segment_starts
        before = np.append(above[1:] & ~self.segment_starts[1:], False)
        return np.stack([np.flatnonzero(above & ~after), np.flatnonzero(above & ~before) + 1], 1)


def _held_runs(
    curve: _Curve, rule: EventRule, settled_s: Span = _ALWAYS, held_s: Span | None = None
) -> IntArray:
    """(n, 2) half-open frame intervals where smoothed scores of at least ``release`` reach
    ``threshold``; scores in the time ``held_s`` have reached it.
    """
    fires = (curve.scores >= rule.threshold) & curve.within(settled_s)
    if held_s is not None:
        fires |= curve.within(held_s)
    onsets = np.flatnonzero(fires)
    if not onsets.size:
        return np.zeros((0, 2), dtype=np.int64)
    runs = curve.runs(curve.scores >= rule.release)
    return runs[np.searchsorted(onsets, runs[:, 0]) < np.searchsorted(onsets, runs[:, 1])]


def _find_spans(
    curve: _Curve, rule: EventRule, settled_s: Span = _ALWAYS, held_s: Span | None = None
) -> IntArray:
    """(n, 2) half-open frame intervals of the events; none contains a gap."""
    spans = _held_runs(curve, rule, settled_s, held_s)
    if not spans.size:
        return spans
    exact = curve.runs(curve.unsmoothed >= rule.release)
    starts, ends = np.array([_extent(curve, exact, *span) for span in spans]).T
    between_s = curve.starts[starts[1:]] - curve.ends[ends[:-1] - 1]
    segment = np.cumsum(curve.segment_starts)[starts]
    apart = (between_s > rule.merge_gap_s - _TOLERANCE_S) | (np.diff(segment) > 0)
    starts, ends = starts[np.append(True, apart)], ends[np.append(apart, True)]
    length_s = curve.ends[ends - 1] - curve.starts[starts]
    long = length_s >= rule.min_duration_s - _TOLERANCE_S
    return np.stack([starts[long], ends[long]], axis=1)


def _extent(curve: _Curve, exact: IntArray, start: int, end: int) -> tuple[int, int]:
    """From when to when an event is, by the runs (n, 2) of unsmoothed scores that its span touches.

    Smoothing moves a boundary by up to half its width, so it decides only whether there is an
    event. The frame with the highest smoothed score always belongs to it.
    """
    first = np.searchsorted(exact[:, 1], start, side="right")
    touched = exact[first : np.searchsorted(exact[:, 0], end)]
    peak = start + int(np.argmax(curve.scores[start:end]))
    edges = np.append(touched.ravel(), [peak, peak + 1])
    return int(edges.min()), int(edges.max())


def find_events(
    track: ScoreTrack, rule: EventRule, *, settled_s: Span = _ALWAYS, held_s: Span | None = None
) -> tuple[Event, ...]:
    """Find the events of a track; they are disjoint and in order of time.

    There is an event where the smoothed scores are at least ``release`` and reach ``threshold``. It
    lasts from the first to the last frame of the unsmoothed scores of at least ``release`` there.
    Events closer than ``merge_gap_s`` are merged, but not across a gap in the time line; then
    events shorter than ``min_duration_s`` are dropped.

    Times are those that a player shows: the start is when the first frame appears, the end when the
    last one leaves the screen. ``peak_s`` and ``score`` belong to the frame with the highest
    smoothed score, ``where`` to the tile with the highest score, or the motion square, there, and
    so do the reasons (``similar``, ``memory_slots``, ``actions``). ``boxes`` and ``heatmap`` say
    where things move there, if the scores are of a video itself.

    Of a part of a stream, scores outside ``settled_s`` may be others in the whole: earlier ones
    belong to no event, and later smoothed ones start none. The scores in the time ``held_s``, of
    ``last_held``, belong to one even if those that reached the threshold are no longer there.

    Raises:
        InputError: a score is not finite.
    """
    curve = _settled_curve(track, rule, settled_s)
    spans = _find_spans(curve, rule, settled_s, held_s)
    peaks = [int(start + np.argmax(curve.scores[start:end])) for start, end in spans]
    snippets = list(_snippets_at(track, peaks))
    none = Reasons()
    events = [
        Event(
            start_s=float(curve.starts[start]),
            end_s=float(curve.ends[end - 1]),
            peak_s=float(curve.starts[peak]),
            score=float(curve.scores[peak]),
            where=track.where(snippet),
            **vars(none if track.reasons is None else track.reasons.at(snippet)),
        )
        for (start, end), peak, snippet in zip(spans, peaks, snippets, strict=True)
    ]
    if track.heat is not None:
        ends = [
            peak + _run_length(curve.scores[peak:end])
            for (_, end), peak in zip(spans, peaks, strict=True)
        ]
        events = [
            _with_heat(track, event, (event.peak_s + float(curve.ends[end - 1])) / 2)
            for event, end in zip(events, ends, strict=True)
        ]
    return tuple(events)


def _settled_curve(track: ScoreTrack, rule: EventRule, settled_s: Span) -> _Curve:
    """The curve of a track, with no scores before ``settled_s``."""
    curve = _Curve(track, rule.smooth_s)
    if settled_s[0] > -np.inf:
        for scores in (curve.scores, curve.unsmoothed):
            scores[curve.starts < settled_s[0] - _TOLERANCE_S] = -1.0
    return curve


def _run_length(scores: FloatArray) -> int:
    """How many scores at the start are equal."""
    differs = np.flatnonzero(scores != scores[0])
    return int(differs[0]) if differs.size else len(scores)


def _with_heat(track: ScoreTrack, event: Event, time_s: float) -> Event:
    """The event with the heat at a time (s), and with the boxes of all times."""
    heatmap = track.heatmap(time_s)
    boxes = find_boxes(heatmap)
    return replace(
        event,
        where=event.where or (boxes[0] if boxes else None),
        boxes=boxes,
        heatmap=to_rows(heatmap),
        boxes_at=tuple(
            (each, find_boxes(track.heatmap(each)))
            for each in track.part_times(event.start_s, event.end_s).tolist()
        ),
    )


def last_held(
    track: ScoreTrack, rule: EventRule, settled_s: Span, held_s: Span | None
) -> Span | None:
    """When (s) the scores of an event were last at least ``release``, in the time ``settled_s``.

    Between those of an event, smoothed scores may be lower; see ``find_events`` for ``held_s``, of
    the part of the stream before. None: no event.
    """
    curve = _settled_curve(track, rule, settled_s)
    runs = _held_runs(curve, rule, settled_s, held_s)
    if not runs.size:
        return None
    start, end = runs[-1]
    return float(curve.starts[start]), min(float(curve.ends[end - 1]), settled_s[1])


def held_since(track: ScoreTrack, rule: EventRule, settled_s: float) -> float:
    """Since when (s) the scores at the end of a stream, after ``settled_s``, reach ``release``.

    A later event may begin there. Infinite: they do not.
    """
    curve = _Curve(track, rule.smooth_s)
    runs = curve.runs(np.maximum(curve.scores, curve.unsmoothed) >= rule.release)
    lasting = runs[curve.ends[runs[:, 1] - 1] >= settled_s - _TOLERANCE_S]
    return float(curve.starts[lasting[0, 0]]) if len(lasting) else float("inf")


def _snippets_at(track: ScoreTrack, frames: Sequence[int]) -> Iterator[int]:
    """For each frame, the snippet with the highest score among those that cover it."""
    base = track.timebase
    starts, ends = base.snippet_ticks().T
    ticks = base.frame_ticks
    for frame in frames:
        first = int(np.searchsorted(ends, ticks[frame], side="right"))
        last = int(np.searchsorted(starts, ticks[frame], side="right"))
        yield first + int(np.argmax(track.scores[first:last]))


@dataclass(frozen=True)
class Calibration:
    """A calibrated threshold."""

    threshold: float
    false_alarms: int  # Events in the normal videos at this threshold.
    hours: float  # Of the normal videos; see ``hours_needed``.


def hours_needed(false_alarms_per_hour: float) -> float:
    """Hours of normal video needed to confirm a false alarm rate; infinite for a rate of 0.

    The rule of three: with 95 % confidence, three hours without one show less than one an hour.
    """
    return 3.0 / false_alarms_per_hour if false_alarms_per_hour > 0 else float("inf")


def calibrate_threshold(
    tracks: Sequence[ScoreTrack], false_alarms_per_hour: float, rule: EventRule
) -> Calibration:
    """Find the lowest threshold at which normal videos have at most the given false alarm rate.

    A lower threshold does not always give more events: at 0, a whole video is a single event. So
    the search goes down from the highest peak of the curves, in growing steps, to the first that
    gives too many events, and bisects before it. ``release`` keeps its ratio to the threshold.
    """
    if not tracks:
        raise UsageError("a threshold needs at least one normal video")
    if not 0 <= false_alarms_per_hour < np.inf:
        raise UsageError(f"false alarms an hour must be 0 or more, not {false_alarms_per_hour}")
    curves = [_Curve(track, rule.smooth_s) for track in tracks]
    hours = sum(track.timebase.covered_s for track in tracks) / 3600

    def count(threshold: float) -> int:
        at = rule.with_threshold(threshold)
        return sum(len(_find_spans(curve, at)) for curve in curves)

    allowed = int(np.floor(false_alarms_per_hour * hours + _TOLERANCE_S))
    parts = [
        part for c in curves for part in np.split(c.scores, np.flatnonzero(c.segment_starts)[1:])
    ]
    peaks = np.unique(np.concatenate([_peaks(part) for part in parts]))[::-1]
    good = float(np.nextafter(peaks[0], np.inf))
    for peak in peaks[_growing_steps(len(peaks))]:
        if count(float(peak)) > allowed:
            good = _bisect(lambda threshold: count(threshold) <= allowed, good, float(peak))
            break
        good = float(peak)
    return Calibration(good, count(good), hours)


def _peaks(curve: FloatArray) -> FloatArray:
    """Values of a curve's local maxima; only below these can a lower threshold add an event."""
    levels = curve[np.append(True, np.diff(curve) != 0)]
    rising = np.concatenate([[True], np.diff(levels) > 0, [False]])
    peaks: FloatArray = levels[rising[:-1] & ~rising[1:]]
    return peaks


def _growing_steps(n: int) -> IntArray:
    """Positions 0 ... n - 1: all at first, then steps that grow by 2 %, and the last position."""
    steps = np.maximum(1, 1.02 ** np.arange(2000)).cumsum()
    far = np.floor(_FINE_STEPS + steps[steps < max(0, n - _FINE_STEPS)]).astype(np.int64)
    return np.unique(np.concatenate([np.arange(min(n, _FINE_STEPS)), far[far < n], [n - 1]]))


def _bisect(is_good: Callable[[float], bool], good: float, bad: float) -> float:
    """The lowest value between ``bad`` and ``good``, found by bisection, that is good."""
    while (middle := (good + bad) / 2) < good and middle > bad and good - bad > 1e-9 * good:
        if is_good(middle):
            good = middle
        else:
            bad = middle
    return good


@dataclass(frozen=True)
class EventMatch:
    """Events compared with the true intervals; an event matches an interval if they overlap."""

    found: int
    missed: int
    false: int  # Events that match no true interval.
    # For each found interval, seconds to the first event that matches it; 0: it started earlier.
    delays_s: tuple[float, ...]


def match_events(events: Sequence[Event], truth: Sequence[tuple[float, float]]) -> EventMatch:
    """Count found and missed intervals of ``truth`` (start, end, in seconds) and false alarms."""
    starts = np.array([event.start_s for event in events]).reshape(1, -1)
    ends = np.array([event.end_s for event in events]).reshape(1, -1)
    true = np.array(truth, dtype=np.float64).reshape(-1, 2)
    matches = np.minimum(ends, true[:, 1:]) > np.maximum(starts, true[:, :1])
    delays = tuple(
        float(max(0.0, starts[0, row].min() - start))
        for row, start in zip(matches, true[:, 0], strict=True)
        if row.any()
    )
    found = int(matches.any(axis=1).sum())
    return EventMatch(found, len(true) - found, int((~matches.any(axis=0)).sum()), delays)
