from __future__ import annotations

import dataclasses
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oddframe.errors import InputError
from oddframe.timeline import Event, ScoreTrack, Timebase


@st.composite
def timebases(draw: st.DrawFn, *, variable: bool | None = None) -> Timebase:
    """Any timebase: overlapping, adjacent or spaced snippets, with or without rate."""
    n = draw(st.integers(1, 80))
    pts = None
    if draw(st.booleans()) if variable is None else variable:
        gaps = draw(st.lists(st.floats(0.001, 1.5), min_size=n - 1, max_size=n - 1))
        pts = np.append(0.0, np.cumsum(gaps))
    return Timebase(
        fps=draw(st.sampled_from([1.0, 10.0, 24000 / 1001, 25.0, 29.97, 60.0])),
        n_frames=n,
        snippet_frames=draw(st.integers(1, 20)),
        stride=draw(st.integers(1, 40)),
        rate=draw(st.none() | st.sampled_from([1.0, 8.0, 25.0, 30000 / 1001])),
        pts=pts,
    )


@dataclasses.dataclass
class ExplicitArrays:
    """Explicit arrays of a video without gaps, from second 0 on, computed from the definitions."""

    base: Timebase

    def __post_init__(self) -> None:
        base = self.base
        self.times = np.arange(base.n_frames) / base.fps if base.pts is None else base.pts
        self.end_s = float(self.times[-1]) + 1.0 / base.fps
        self.frame_ticks = np.arange(base.n_frames)
        if base.rate is not None:
            since_start = self.times - self.times[0]
            self.frame_ticks = np.floor((since_start + 1e-6) * base.rate).astype(np.int64)
        self.n_ticks = int(self.frame_ticks[-1]) + 1
        self.reach = max(base.snippet_frames, base.stride)
        self.n_snippets = 1 + -(-max(0, self.n_ticks - self.reach) // base.stride)

    def tick_frames(self) -> np.ndarray:
        if self.base.rate is None:
            return np.arange(self.base.n_frames)
        ticks = np.arange(self.n_ticks) / self.base.rate + self.times[0] + 1e-6
        return np.searchsorted(self.times, ticks, side="right") - 1

    def snippet_ticks(self) -> np.ndarray:
        starts = np.arange(self.n_snippets) * self.base.stride
        return np.stack([starts, np.minimum(starts + self.reach, self.n_ticks)], axis=1)

    def snippet_times(self) -> np.ndarray:
        times = self.times
        if self.base.rate is not None:
            times = np.arange(self.n_ticks) / self.base.rate + times[0]
        return np.append(times, self.end_s)[self.snippet_ticks()]

    def to_frames(self, scores: np.ndarray) -> np.ndarray:
        spans = self.snippet_ticks()
        if self.base.stride >= self.base.snippet_frames:
            return np.repeat(scores, spans[:, 1] - spans[:, 0])[self.frame_ticks]
        total, count = np.zeros(self.n_ticks + 1), np.zeros(self.n_ticks + 1)
        for edge, sign in ((spans[:, 0], 1.0), (spans[:, 1], -1.0)):
            np.add.at(total, edge, sign * scores)
            np.add.at(count, edge, sign)
        mean = np.cumsum(total)[:-1] / np.cumsum(count)[:-1]
        return np.clip(mean, scores.min(), scores.max())[self.frame_ticks]


def scores_for(timebase: Timebase, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(timebase.n_snippets)


@settings(max_examples=300)
@given(timebases())
def test_counts_and_times_equal_explicit_arrays(timebase: Timebase) -> None:
    explicit, scores = ExplicitArrays(timebase), scores_for(timebase)
    assert timebase.n_ticks == explicit.n_ticks
    assert timebase.n_snippets == explicit.n_snippets
    assert timebase.end_s == timebase.start_s + timebase.duration_s == explicit.end_s
    assert timebase.covered_s == timebase.duration_s
    assert np.array_equal(timebase.frame_times, explicit.times)
    assert np.array_equal(timebase.frame_ends, np.append(explicit.times[1:], explicit.end_s))
    assert np.array_equal(timebase.frame_ticks, explicit.frame_ticks)
    assert np.array_equal(timebase.tick_frames(), explicit.tick_frames())
    assert np.array_equal(timebase.snippet_ticks(), explicit.snippet_ticks())
    assert np.array_equal(timebase.snippet_times(), explicit.snippet_times())
    assert np.array_equal(timebase.to_frames(scores), explicit.to_frames(scores))


@pytest.mark.parametrize("rate", [None, 25.0])
def test_a_large_number_of_frames_takes_no_memory(rate: float | None) -> None:
    tracemalloc.start()
    try:
        claimed = Timebase(25.0, 10**9, rate=rate)
        found = (claimed.n_ticks, claimed.n_snippets, claimed.end_s, claimed.duration_s)
        with pytest.raises(InputError, match="62500000 snippets, but scores"):
            ScoreTrack(np.zeros(10), claimed)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == (10**9, 62_500_000, 4e7, 4e7)
    assert peak < 1e6


@st.composite
def videos_with_gaps(draw: st.DrawFn) -> tuple[Timebase, list[Timebase]]:
    """A video with gaps, and its segments as separate videos."""
    lengths = draw(st.lists(st.integers(1, 40), min_size=2, max_size=4))
    how = {
        "snippet_frames": draw(st.integers(1, 20)),
        "stride": draw(st.integers(1, 40)),
        "rate": draw(st.none() | st.sampled_from([8.0, 25.0])),
    }
    start_s, parts = draw(st.sampled_from([0.0, 2.5])), []
    for n in lengths:
        steps = draw(st.lists(st.floats(0.001, 1.5), min_size=n - 1, max_size=n - 1))
        pts = start_s + np.append(0.0, np.cumsum(steps))
        parts.append(Timebase(10.0, n, pts=pts, **how))
        start_s = pts[-1] + draw(st.floats(10.1, 40_000))
    gaps = tuple(np.cumsum(lengths[:-1]).tolist())
    pts = np.concatenate([part.frame_times for part in parts])
    return Timebase(10.0, len(pts), pts=pts, gaps=gaps, **how), parts


@given(videos_with_gaps())
def test_segments_between_gaps_are_cut_like_separate_videos(
    case: tuple[Timebase, list[Timebase]],
) -> None:
    whole, parts = case
    ticks = np.cumsum([0, *(part.n_ticks for part in parts)])
    frames = np.cumsum([0, *(part.n_frames for part in parts)])

    def joined(arrays: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(arrays)

    assert whole.n_ticks == ticks[-1]
    assert whole.n_snippets == sum(part.n_snippets for part in parts)
    pairs = list(zip(parts, ticks, strict=False))
    assert np.array_equal(whole.frame_ticks, joined([p.frame_ticks + t for p, t in pairs]))
    assert np.array_equal(whole.snippet_ticks(), joined([p.snippet_ticks() + t for p, t in pairs]))
    starts = zip(parts, frames, strict=False)
    assert np.array_equal(whole.tick_frames(), joined([p.tick_frames() + f for p, f in starts]))
    assert np.array_equal(whole.snippet_times(), joined([p.snippet_times() for p in parts]))
    assert np.array_equal(whole.frame_ends, joined([p.frame_ends for p in parts]))
    scores = scores_for(whole)
    cuts = np.cumsum([part.n_snippets for part in parts])[:-1]
    each = [p.to_frames(s) for p, s in zip(parts, np.split(scores, cuts), strict=True)]
    assert np.array_equal(whole.to_frames(scores), joined(each))
    assert whole.covered_s == pytest.approx(sum(part.duration_s for part in parts))
    assert whole.gap_times.tolist() == [
        [before.end_s, after.start_s] for before, after in pairwise(parts)
    ]


@given(timebases(variable=False))
def test_a_later_start_shifts_all_times(timebase: Timebase) -> None:
    late = dataclasses.replace(timebase, start_s=4.0)
    assert np.allclose(late.frame_times, timebase.frame_times + 4.0)
    assert np.allclose(late.snippet_times(), timebase.snippet_times() + 4.0)
    assert late.duration_s == pytest.approx(timebase.duration_s)
    assert np.array_equal(late.snippet_ticks(), timebase.snippet_ticks())
    assert np.array_equal(late.frame_ticks, timebase.frame_ticks)


@given(timebases())
def test_every_frame_belongs_to_a_snippet(timebase: Timebase) -> None:
    spans = timebase.snippet_ticks()
    assert spans[0, 0] == 0
    assert spans[-1, 1] == timebase.n_ticks
    assert (spans[1:, 0] <= spans[:-1, 1]).all()  # No gap.
    assert (spans[:, 0] < spans[:, 1]).all()
    assert ((timebase.frame_ticks >= 0) & (timebase.frame_ticks < timebase.n_ticks)).all()


@given(timebases())
def test_there_is_no_superfluous_snippet(timebase: Timebase) -> None:
    if timebase.n_snippets > 1:
        reach = max(timebase.snippet_frames, timebase.stride)
        before_last = (timebase.n_snippets - 2) * timebase.stride + reach
        assert before_last < timebase.n_ticks


@given(st.integers(1, 100_000))
def test_sixteen_by_sixteen_is_the_published_count(n: int) -> None:
    assert Timebase(30, n).n_snippets == -(-n // 16)


@pytest.mark.parametrize(("n", "count"), [(1, 1), (15, 1), (16, 1), (17, 2), (1601, 101)])
def test_counts_at_the_borders(n: int, count: int) -> None:
    assert Timebase(25, n).n_snippets == count


@given(timebases())
def test_frame_scores_stay_within_the_snippet_scores(timebase: Timebase) -> None:
    scores = scores_for(timebase)
    frames = timebase.to_frames(scores)
    assert frames.shape == (timebase.n_frames,)
    assert frames.min() >= scores.min()
    assert frames.max() <= scores.max()


@given(timebases(), st.floats(0, 1))
def test_constant_scores_stay_constant(timebase: Timebase, value: float) -> None:
    assert (timebase.to_frames(np.full(timebase.n_snippets, value)) == value).all()


@given(timebases())
def test_a_frame_score_is_the_mean_of_the_snippets_that_cover_it(timebase: Timebase) -> None:
    scores = scores_for(timebase)
    frames = timebase.to_frames(scores)
    spans = timebase.snippet_ticks()
    for frame, tick in enumerate(timebase.frame_ticks):
        covering = (spans[:, 0] <= tick) & (tick < spans[:, 1])
        assert frames[frame] == pytest.approx(scores[covering].mean(), abs=1e-9)


@given(timebases())
def test_without_overlap_a_frame_score_is_exactly_its_snippets_score(timebase: Timebase) -> None:
    apart = dataclasses.replace(timebase, stride=timebase.snippet_frames, pts=timebase.pts)
    scores = scores_for(apart)
    expected = scores[np.minimum(apart.frame_ticks // apart.stride, apart.n_snippets - 1)]
    assert np.array_equal(apart.to_frames(scores), expected)


@given(timebases())
def test_single_precision_scores_are_accepted(timebase: Timebase) -> None:
    scores = scores_for(timebase).astype(np.float32)
    assert timebase.to_frames(scores).dtype == np.float64


@given(timebases(), st.integers(1, 3))
def test_a_wrong_number_of_scores_is_refused(timebase: Timebase, more: int) -> None:
    with pytest.raises(InputError, match="snippets, but scores"):
        timebase.to_frames(np.zeros(timebase.n_snippets + more))
    with pytest.raises(InputError, match="snippets, but scores"):
        ScoreTrack(np.zeros(timebase.n_snippets + more), timebase)


@given(timebases())
def test_a_track_gives_the_frame_scores_of_its_timebase(timebase: Timebase) -> None:
    scores = scores_for(timebase)
    assert np.array_equal(ScoreTrack(scores, timebase).to_frames(), timebase.to_frames(scores))


@given(timebases())
def test_snippet_times_cover_the_video_from_start_to_end(timebase: Timebase) -> None:
    times = timebase.snippet_times()
    assert times.shape == (timebase.n_snippets, 2)
    assert times[0, 0] == timebase.frame_times[0]
    assert times[-1, 1] == timebase.end_s
    assert (times[:, 0] < times[:, 1]).all()
    assert (times[1:, 0] <= times[:-1, 1]).all()
    assert (np.diff(times[:, 0]) > 0).all()


@given(timebases())
def test_a_frame_is_shown_within_its_snippets_times(timebase: Timebase) -> None:
    spans, times = timebase.snippet_ticks(), timebase.snippet_times()
    for tick, time_s in zip(timebase.frame_ticks, timebase.frame_times, strict=True):
        covering = (spans[:, 0] <= tick) & (tick < spans[:, 1])
        assert (times[covering, 0] <= time_s + 2e-6).all()
        assert (time_s < times[covering, 1]).all()


@given(timebases())
def test_a_tick_shows_what_a_player_would_show(timebase: Timebase) -> None:
    shown = timebase.tick_frames()
    assert shown.shape == (timebase.n_ticks,)
    assert shown[0] == 0
    assert (np.diff(shown) >= 0).all()
    if timebase.rate is None:
        assert np.array_equal(shown, np.arange(timebase.n_frames))
        return
    for tick, frame in enumerate(shown):
        now = tick / timebase.rate
        assert timebase.frame_times[frame] <= now + 2e-6
        if frame + 1 < timebase.n_frames:
            assert timebase.frame_times[frame + 1] > now


@pytest.mark.parametrize(
    ("fps", "rate", "first"),
    [
        (50.0, 25.0, [0, 2, 4, 6, 8]),
        (25.0, 50.0, [0, 0, 1, 1, 2]),
        (25.0, 25.0, [0, 1, 2, 3, 4]),
        (30.0, 25.0, [0, 1, 2, 3, 4, 6, 7]),
        (30000 / 1001, 30000 / 1001, [0, 1, 2, 3, 4]),
    ],
)
def test_resampling_to_several_rates(fps: float, rate: float, first: list[int]) -> None:
    timebase = Timebase(fps, 3000, rate=rate)
    assert timebase.tick_frames()[: len(first)].tolist() == first
    assert timebase.n_ticks == pytest.approx(3000 * rate / fps, abs=1.01)


@given(st.integers(1, 5000), st.sampled_from([23.976, 24000 / 1001, 25.0, 29.97, 60.0]))
def test_the_videos_own_rate_changes_nothing(n: int, fps: float) -> None:
    plain, same = Timebase(fps, n), Timebase(fps, n, rate=fps)
    assert np.array_equal(same.tick_frames(), plain.tick_frames())
    assert np.array_equal(same.frame_ticks, plain.frame_ticks)
    assert np.allclose(same.snippet_times(), plain.snippet_times(), atol=1e-9)


@given(st.integers(1, 500), st.sampled_from([10.0, 25.0, 29.97]))
def test_time_stamps_of_a_constant_rate_change_nothing(n: int, fps: float) -> None:
    plain = Timebase(fps, n)
    stamped = Timebase(fps, n, pts=np.arange(n) / fps)
    assert np.array_equal(plain.snippet_times(), stamped.snippet_times())
    assert (plain.end_s, plain.duration_s) == (stamped.end_s, stamped.duration_s)


def test_a_variable_rate_with_known_results() -> None:
    timebase = Timebase(2.0, 4, snippet_frames=2, stride=2, pts=np.array([0.0, 0.1, 2.0, 2.5]))
    assert timebase.snippet_times().tolist() == [[0.0, 2.0], [2.0, 3.0]]
    assert timebase.duration_s == 3.0
    shown = dataclasses.replace(timebase, rate=2.0, pts=timebase.pts)
    assert shown.tick_frames().tolist() == [0, 1, 1, 1, 2, 3]
    assert shown.snippet_ticks().tolist() == [[0, 2], [2, 4], [4, 6]]
    scores = np.array([0.1, 0.2, 0.9])
    assert shown.to_frames(scores).tolist() == [0.1, 0.1, 0.9, 0.9]


def test_snippets_further_apart_than_they_are_long() -> None:
    timebase = Timebase(10, 25, snippet_frames=4, stride=10)
    assert timebase.snippet_ticks().tolist() == [[0, 10], [10, 20], [20, 25]]
    frames = timebase.to_frames(np.array([0.0, 1.0, 0.5]))
    assert frames.tolist() == [0.0] * 10 + [1.0] * 10 + [0.5] * 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"fps": 0.0},
        {"fps": float("nan")},
        {"n_frames": 0},
        {"snippet_frames": 0},
        {"stride": 0},
        {"rate": 0.0},
        {"rate": float("inf")},
        {"pts": np.array([0.0, 1.0])},
        {"pts": np.array([0.0, 1.0, 1.0])},
        {"pts": np.array([0.0, np.nan, 1.0])},
        {"start_s": float("nan")},
        {"gaps": (1,)},
        {"pts": np.array([0.0, 20.0, 40.0]), "gaps": (2, 1)},
        {"pts": np.array([0.0, 20.0, 40.0]), "gaps": (3,)},
        {"pts": np.array([0.0, 0.04, 0.08]), "gaps": (1,)},
        {"n_frames": 2**60},
        {"fps": 1e-20, "rate": 25.0},
    ],
)
def test_impossible_videos_are_refused(wrong) -> None:
    with pytest.raises(InputError):
        Timebase(**({"fps": 25.0, "n_frames": 3} | wrong))


def test_ten_hours_are_fast() -> None:
    timebase = Timebase(25, 900_000, stride=8, rate=12.5)
    assert timebase.n_snippets == 1 + (450_000 - 16) // 8
    assert timebase.to_frames(np.zeros(timebase.n_snippets)).shape == (900_000,)


def test_the_duration_of_an_event() -> None:
    assert Event(1.5, 4.0, 2.0, 0.9).duration_s == 2.5
