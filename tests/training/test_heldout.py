"""The threshold on held-out videos: it keeps the wish, with room on either side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddframe.events import find_events
from oddframe.timeline import ScoreTrack, Timebase
from oddframe.training.heldout import threshold
from oddframe.training.sections import EventSection

EVENTS = EventSection(smooth_s=0.0, min_duration_s=0.0, merge_gap_s=0.0)


def video(*scores: float) -> ScoreTrack:
    """A score a second."""
    return ScoreTrack(np.array(scores), Timebase(16.0, 16 * len(scores)))


def test_separated_videos_get_a_threshold_in_the_middle_of_the_gap() -> None:
    normal = [video(0.1, 0.2, 0.1), video(0.05, 0.1)]
    abnormal = [video(0.1, 0.8, 0.2), video(0.1, 0.6)]
    found = threshold(normal, abnormal, EVENTS, 1.0)
    assert found.threshold == pytest.approx((0.2 + 0.6) / 2)
    assert found.false_alarms == 0
    assert threshold(normal, [], EVENTS, 1.0).threshold == pytest.approx(0.2)


def test_abnormal_videos_below_the_edge_change_nothing() -> None:
    normal = [video(0.1, 0.9)]
    found = threshold(normal, [video(0.3, 0.2)], EVENTS, 1.0)
    assert found == threshold(normal, [], EVENTS, 1.0)


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=8), min_size=1, max_size=4),
    st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=8), max_size=4),
    st.sampled_from([0.0, 500.0, 3000.0]),
)
def test_it_keeps_the_wish_and_every_video_that_the_lowest_finds(
    normal: list[list[float]], abnormal: list[list[float]], wish: float
) -> None:
    calm, odd = [video(*scores) for scores in normal], [video(*scores) for scores in abnormal]
    lowest, found = threshold(calm, [], EVENTS, wish), threshold(calm, odd, EVENTS, wish)
    assert found.false_alarms <= wish * found.hours + 1e-6
    assert found.threshold >= lowest.threshold
    for track in odd:
        if track.scores.max() > lowest.threshold:
            assert find_events(track, EVENTS.rule(found.threshold))
