"""Thresholds on normal video, and their check on video that did not set them."""

from __future__ import annotations

import numpy as np
import pytest

from oddframe.errors import UsageError
from oddframe.evaluation.calibrate import set_threshold, set_thresholds_by_camera
from oddframe.events import EventRule, find_events
from oddframe.timeline import ScoreTrack, Timebase

RULE = EventRule(threshold=0.5, release=0.5, merge_gap_s=0.0)


def half_hours(n: int, seed: int, scale: float = 1.0) -> list[ScoreTrack]:
    """Videos of half an hour with a score a second."""
    dice = np.random.default_rng(seed)
    return [ScoreTrack(scale * dice.random(1800), Timebase(16.0, 16 * 1800)) for _ in range(n)]


def test_a_threshold_keeps_the_rate_and_is_cross_checked() -> None:
    tracks = half_hours(20, seed=1)
    found = set_threshold(tracks, 6, RULE)
    assert found.false_alarms.hours == pytest.approx(10)
    assert found.false_alarms.count <= 60
    assert found.cross_checked is not None
    assert found.cross_checked.hours == pytest.approx(10)
    # Thresholds of four fifths do on the last fifth as they would on any new video.
    low, high = found.cross_checked.per_hour.low, found.cross_checked.per_hour.high
    new = half_hours(60, seed=2)
    at = RULE.with_threshold(found.value)
    assert low < sum(len(find_events(track, at)) for track in new) / 30 < high
    assert found.enough_hours


def test_no_false_alarms_do_not_prove_a_rate_of_zero() -> None:
    found = set_threshold(half_hours(4, seed=3), 0.1, RULE)
    assert found.false_alarms.count == 0
    assert found.cross_checked is not None
    assert found.cross_checked.count > 0, (
        "the video with the highest score did not set its threshold"
    )
    assert not found.enough_hours
    assert found.hours_needed == pytest.approx(30)
    assert set_threshold(half_hours(1, seed=3), 0, RULE).hours_needed == np.inf


def test_neighbouring_videos_are_cross_checked_together() -> None:
    """The two loudest are of one stretch: either would show what the other does."""
    peaks = [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.9, 0.9]
    base = Timebase(16.0, 16 * 60)
    tracks = [ScoreTrack(np.where(np.arange(60) == 30, peak, 0.0), base) for peak in peaks]
    checked = set_threshold(tracks, 0, RULE).cross_checked
    assert checked is not None
    assert checked.count == 2


def test_a_single_video_cannot_be_checked() -> None:
    assert set_threshold(half_hours(1, seed=4), 2, RULE).cross_checked is None


def test_a_quiet_camera_gets_a_lower_threshold_than_a_busy_one() -> None:
    busy = [("yard", track) for track in half_hours(3, seed=5)]
    quiet = [("hall", track) for track in half_hours(3, seed=6, scale=0.5)]
    found = set_thresholds_by_camera([*busy, *quiet], 4, RULE)
    assert list(found) == ["hall", "yard"]
    assert found["hall"].value < 0.5 < found["yard"].value
    assert found["yard"] == set_threshold([track for _, track in busy], 4, RULE)
    with pytest.raises(UsageError, match="at least one normal video"):
        set_thresholds_by_camera([], 4, RULE)


def test_short_video_may_raise_but_not_lower_a_threshold() -> None:
    def minute(scores: float) -> list[ScoreTrack]:
        return [ScoreTrack(np.full(60, scores), Timebase(16.0, 16 * 60))]

    quiet = set_threshold(minute(0.1), 1, RULE)
    assert (quiet.value, quiet.unchanged) == (RULE.threshold, True)
    assert quiet.false_alarms.count == 0
    # One alarm a minute would do, at 0.4 and below; at the threshold that is kept there is none.
    peak = np.where(np.arange(60) == 30, 0.4, 0.1)
    calm = set_threshold([ScoreTrack(peak, Timebase(16.0, 16 * 60))], 60, RULE)
    assert (calm.value, calm.unchanged, calm.false_alarms.count) == (RULE.threshold, True, 0)
    loud = set_threshold(minute(0.9), 1, RULE)
    assert loud.value > 0.9
    assert not loud.unchanged
    # A wish that a minute can show is kept as found.
    assert set_threshold(minute(0.1), 200, RULE).value < 0.2


def test_a_camera_with_little_video_keeps_the_common_threshold() -> None:
    long = [("yard", track) for track in half_hours(4, seed=5, scale=0.5)]
    short = ("hall", ScoreTrack(np.full(60, 0.1), Timebase(16.0, 16 * 60)))
    common = set_threshold([track for _, track in [*long, short]], 4, RULE)
    assert common.value < RULE.threshold
    found = set_thresholds_by_camera([*long, short], 4, RULE.with_threshold(common.value))
    assert found["hall"].value == common.value
    assert found["hall"].unchanged
