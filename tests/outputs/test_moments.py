from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from oddframe.outputs.highlights import event_peak_times, select_highlights
from tests.outputs.conftest import build


def test_peaks_and_quiet_moments_are_both_shown() -> None:
    result = build(1500, 25.0, [(10.0, 14.0), (40.0, 44.0)])
    shown = select_highlights(result)
    assert len(shown) == 6
    odd = [moment.time_s for moment in shown if moment.abnormal]
    assert len(odd) == 2
    for time, event in zip(odd, result.events, strict=True):
        assert event.start_s <= time < event.end_s
    assert all(np.diff([moment.time_s for moment in shown]) > 1.0)


def test_the_truth_decides_the_colour_and_missed_intervals_are_shown() -> None:
    result = build(1500, 25.0, [(10.0, 14.0)], truth=[(40.0, 44.0)])
    colours = {
        span: [m.abnormal for m in select_highlights(result) if span[0] <= m.time_s < span[1]]
        for span in ((10.0, 14.0), (40.0, 44.0))
    }
    assert colours == {(10.0, 14.0): [False], (40.0, 44.0): [True]}


def test_a_peak_is_shown_in_the_middle_of_its_snippet() -> None:
    result = build(50, 25.0, [(0.7, 1.2)])
    (peak,) = event_peak_times(result)
    assert result.events[0].peak_s == 0.64
    assert np.isclose(peak, 0.96)


@given(st.integers(1, 2000), st.booleans(), st.integers(1, 8))
def test_any_video_has_some_moments_in_order(n_frames: int, odd: bool, most: int) -> None:
    result = build(n_frames, 25.0, [(0.0, 1e9)] if odd else [])
    shown = select_highlights(result, most)
    times = [moment.time_s for moment in shown]
    assert 1 <= len(shown) <= most
    assert times == sorted(times)
    assert all(0 <= time <= result.track.timebase.end_s for time in times)
    assert all(moment.abnormal == odd for moment in shown)
