"""Event detection compared with a frame-by-frame loop; calibration and matching of events."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from oddframe.errors import InputError, UsageError
from oddframe.events import (
    EventRule,
    calibrate_threshold,
    find_events,
    match_events,
    smooth_frame_scores,
)
from oddframe.timeline import Event, ScoreTrack, Timebase


@st.composite
def tracks(draw: st.DrawFn) -> ScoreTrack:
    """Short videos of constant or variable rate, scores with plateaus and ties."""
    n = draw(st.integers(1, 120))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pts = np.cumsum(rng.uniform(0.01, 0.5, n)) if draw(st.booleans()) else None
    snippet, stride = draw(st.sampled_from([(1, 1), (4, 4), (8, 4)]))
    fps = n / (pts[-1] - pts[0] + 0.1) if pts is not None else draw(st.sampled_from([5.0, 25.0]))
    timebase = Timebase(fps, n, snippet, stride, None, pts)
    return ScoreTrack(np.round(rng.random(timebase.n_snippets), 1), timebase)


@st.composite
def rules(draw: st.DrawFn) -> EventRule:
    threshold = draw(st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]))
    return EventRule(
        threshold=threshold,
        release=threshold * draw(st.sampled_from([0.0, 0.5, 0.8, 1.0])),
        smooth_s=draw(st.sampled_from([0.0, 0.3, 2.0])),
        min_duration_s=draw(st.sampled_from([0.0, 0.2, 1.0])),
        merge_gap_s=draw(st.sampled_from([0.0, 0.2, 1.0])),
    )


def read_frame_by_frame(track: ScoreTrack, rule: EventRule) -> list[tuple[float, float, float]]:
    """Reference implementation: a loop over frames."""
    curve, exact = smooth_frame_scores(track, rule.smooth_s), track.to_frames()
    edges = [*track.timebase.frame_times, track.timebase.end_s]
    spans: list[list[int]] = []
    for held, frames in groupby(range(len(curve)), key=lambda i: curve[i] >= rule.release):
        inside = list(frames)
        if held and max(curve[inside]) >= rule.threshold:
            start, end = inside[0], inside[-1] + 1
            touched = {i for i in inside if exact[i] >= rule.release}
            if start in touched:
                while start > 0 and exact[start - 1] >= rule.release:
                    start -= 1
            if end - 1 in touched:
                while end < len(exact) and exact[end] >= rule.release:
                    end += 1
            peak = inside[int(np.argmax(curve[inside]))]
            sure = [peak, *(i for i in range(start, end) if exact[i] >= rule.release)]
            spans.append([min(sure), max(sure) + 1])
    joined: list[list[int]] = []
    for start, end in spans:
        if joined and edges[start] - edges[joined[-1][1]] < rule.merge_gap_s - 1e-9:
            joined[-1][1] = max(end, joined[-1][1])
        else:
            joined.append([start, end])
    return [
        (edges[start], edges[end], max(curve[start:end]))
        for start, end in joined
        if edges[end] - edges[start] >= rule.min_duration_s - 1e-9
    ]


@given(tracks(), rules())
def test_events_equal_those_of_a_frame_by_frame_loop(track, rule):
    events = find_events(track, rule)
    assert [(e.start_s, e.end_s, e.score) for e in events] == read_frame_by_frame(track, rule)


@given(tracks(), rules())
def test_events_are_sorted_separate_long_enough_and_inside_the_video(track, rule):
    events = find_events(track, rule)
    start, end = track.timebase.frame_times[0], track.timebase.end_s
    for event in events:
        assert start <= event.start_s <= event.peak_s < event.end_s <= end
        assert event.duration_s >= rule.min_duration_s - 1e-9
        assert event.score >= rule.threshold
    for one, next_one in pairwise(events):
        assert next_one.start_s - one.end_s >= max(rule.merge_gap_s - 1e-9, 1e-12)


@given(tracks(), st.sampled_from([0.05, 0.3, 2.0, 100.0]))
def test_smoothing_is_the_mean_over_the_window(track, width):
    curve = smooth_frame_scores(track, width)
    scores = track.to_frames()
    edges = np.append(track.timebase.frame_times, track.timebase.end_s)
    for i in range(len(scores)):
        middle = (edges[i] + edges[i + 1]) / 2
        low, high = max(middle - width / 2, edges[0]), min(middle + width / 2, edges[-1])
        shown = np.maximum(0, np.minimum(edges[1:], high) - np.maximum(edges[:-1], low))
        assert curve[i] == pytest.approx((scores * shown).sum() / shown.sum(), abs=1e-9)


def test_times_come_from_the_videos_own_timestamps():
    pts = np.array([10.0, 10.1, 10.2, 15.0, 15.5, 16.0])
    timebase = Timebase(1.0, 6, snippet_frames=1, stride=1, pts=pts)
    track = ScoreTrack(np.array([0.0, 0.0, 0.9, 0.6, 0.45, 0.1]), timebase)
    (event,) = find_events(track, EventRule(threshold=0.5, release=0.4, merge_gap_s=0))
    assert event == Event(10.2, 16.0, 10.2, 0.9)


def test_a_whole_video_is_an_event_up_to_the_end_of_its_last_frame():
    track = ScoreTrack(np.ones(2), Timebase(25.0, 20))
    (event,) = find_events(track, EventRule())
    assert (event.start_s, event.end_s) == (0.0, 0.8)


@settings(max_examples=40)
@given(st.lists(tracks(), min_size=1, max_size=3), rules(), st.sampled_from([0, 30, 200, 2000]))
def test_the_threshold_and_all_higher_peaks_keep_the_rate(videos, rule, wished):
    assume(rule.threshold > 0)
    found = calibrate_threshold(videos, wished, rule)
    hours = sum(t.timebase.duration_s for t in videos) / 3600
    at = rule.with_threshold(found.threshold)
    assert found.hours == pytest.approx(hours)
    assert sum(len(find_events(t, at)) for t in videos) == found.false_alarms
    assert found.false_alarms <= wished * hours + 1e-6
    levels = np.unique(np.concatenate([smooth_frame_scores(t, rule.smooth_s) for t in videos]))
    if rule.min_duration_s == 0:
        for level in levels[levels > found.threshold]:
            above = rule.with_threshold(float(level))
            assert sum(len(find_events(t, above)) for t in videos) <= wished * hours + 1e-6


def test_the_threshold_is_the_lowest_that_keeps_the_rate():
    scores = np.zeros(3600)
    scores[[100, 800, 2000, 3000]] = [0.9, 0.8, 0.7, 0.6]
    track = ScoreTrack(scores, Timebase(1.0, 3600, snippet_frames=1, stride=1))
    rule = EventRule(merge_gap_s=0)
    for wished, just_above in ((0, 0.9), (1, 0.8), (2, 0.7), (3.9, 0.6)):
        found = calibrate_threshold([track], wished, rule).threshold
        assert found == pytest.approx(just_above, abs=1e-8)
        assert found > just_above


def test_many_peaks_still_get_an_exact_threshold():
    rng = np.random.default_rng(0)
    track = ScoreTrack(rng.random(20_000), Timebase(25.0, 20_000, snippet_frames=1, stride=1))
    rule = EventRule(threshold=0.5, release=0.5, merge_gap_s=0)
    hours = track.timebase.duration_s / 3600
    found = calibrate_threshold([track], 1000 / hours, rule)
    assert found.false_alarms in range(990, 1001)


def test_invalid_calibration_arguments_are_refused():
    with pytest.raises(UsageError, match="at least one normal video"):
        calibrate_threshold([], 1, EventRule())
    track = ScoreTrack(np.zeros(1), Timebase(25.0, 16))
    for wish in (-1, np.nan, np.inf):
        with pytest.raises(UsageError, match="0 or more"):
            calibrate_threshold([track], wish, EventRule())


def test_scores_that_are_not_finite_are_refused_by_find_events():
    track = ScoreTrack(np.array([np.nan]), Timebase(25.0, 16))
    with pytest.raises(InputError, match="16 frame scores are not finite"):
        find_events(track, EventRule())


def test_an_invalid_rule_is_refused():
    with pytest.raises(UsageError, match="release must be at most threshold"):
        EventRule(threshold=0.3, release=0.4)
    with pytest.raises(UsageError, match="smooth_s"):
        EventRule(smooth_s=float("nan"))


def test_another_threshold_keeps_the_ratio_of_release():
    rule = EventRule(threshold=0.5, release=0.4).with_threshold(0.25)
    assert (rule.threshold, rule.release) == (0.25, pytest.approx(0.2))
    assert EventRule(threshold=0.0, release=0.0).with_threshold(0.7).release == 0.7


def test_matching_counts_found_missed_false_and_delay():
    events = [Event(0, 1, 0, 1), Event(4, 5, 4, 1), Event(6, 9, 6, 1), Event(20, 21, 20, 1)]
    match = match_events(events, [(3.5, 8), (8.5, 10), (12, 13)])
    assert (match.found, match.missed, match.false) == (2, 1, 2)
    assert match.delays_s == (0.5, 0.0)


def test_adjacent_intervals_without_overlap_do_not_match():
    match = match_events([Event(0, 1, 0, 1)], [(1, 2)])
    assert (match.found, match.missed, match.false) == (0, 1, 1)
    assert match_events([], []).delays_s == ()


@given(st.lists(tracks(), min_size=2, max_size=3), rules(), st.floats(0, 100_000))
def test_segments_between_gaps_have_the_events_of_separate_videos(
    parts: list[ScoreTrack], rule: EventRule, merge_gap_s: float
) -> None:
    rule = replace(rule, merge_gap_s=merge_gap_s)
    shape = parts[0].timebase
    bases, end_s = [], -20_000.0
    for base in (part.timebase for part in parts):
        pts = base.frame_times - base.start_s + end_s + 20_000.0
        bases.append(replace(shape, n_frames=base.n_frames, pts=pts))
        end_s = bases[-1].end_s
    rng = np.random.default_rng(0)
    alone = [ScoreTrack(np.round(rng.random(base.n_snippets), 1), base) for base in bases]
    whole = replace(
        shape,
        n_frames=sum(base.n_frames for base in bases),
        pts=np.concatenate([base.frame_times for base in bases]),
        gaps=tuple(np.cumsum([base.n_frames for base in bases])[:-1].tolist()),
    )
    track = ScoreTrack(np.concatenate([part.scores for part in alone]), whole)
    found = [event for part in alone for event in find_events(part, rule)]
    assert [(e.start_s, e.end_s) for e in find_events(track, rule)] == [
        (e.start_s, e.end_s) for e in found
    ]
    hours = sum(base.duration_s for base in bases) / 3600
    assert calibrate_threshold([track], 1.0, rule).hours == pytest.approx(hours)
