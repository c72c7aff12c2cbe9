from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddframe.video.decoding.clock import FrameClock

stamps = st.none() | st.floats(-100, 100_000, allow_nan=False)


def times(values: list[float | None], fps: float = 25, **known: float) -> list[float]:
    clock = FrameClock(fps, **known)
    return [clock(value) for value in values]


@given(st.lists(stamps, min_size=1, max_size=60), st.floats(1, 120))
def test_times_increase_from_zero_for_any_stamps(values: list[float | None], fps: float) -> None:
    result = np.array(times(values, fps))
    assert result[0] == 0
    assert np.isfinite(result).all()
    assert (np.diff(result) > 0).all()


def test_a_long_step_is_a_gap_and_a_slow_camera_has_none() -> None:
    clock = FrameClock(0.2, 40_000.0)
    stamps = [0.0, 5.0, 10.0, 20.0, 20.04, 30.5, 36_000.0, 36_005.0]
    assert [(clock(stamp), clock.after_gap) for stamp in stamps] == [
        *((0.0, False), (5.0, False), (10.0, False), (20.0, False), (20.04, False)),
        *((30.5, True), (36_000.0, True), (36_005.0, False)),
    ]


@pytest.mark.parametrize(
    ("origin_s", "first_s"),
    [(None, 0.0), (12.5, 0.0), (10.0, 2.5), (12.499, 0.0), (13.0, 0.0), (-5000.0, 0.0)],
)
def test_the_first_frame_is_shown_at_its_time_on_the_players_clock(
    origin_s: float | None, first_s: float
) -> None:
    clock = FrameClock(25, 100.0, origin_s)
    assert [clock(12.5), clock(12.54), clock(12.58)] == [first_s + i / 25 for i in range(3)]


@given(
    st.lists(st.floats(0.001, 5), min_size=1, max_size=50),
    st.floats(0, 1e6),
)
def test_good_stamps_are_kept(gaps: list[float], start: float) -> None:
    truth = np.append(0.0, np.cumsum(gaps))
    assert np.allclose(times(list(truth + start)), truth, atol=1.6e-3, rtol=0)


@pytest.mark.parametrize("fps", [8.0, 24000 / 1001, 25.0, 30000 / 1001, 60.0])
def test_rounding_to_milliseconds_is_removed(fps: float) -> None:
    exact = np.arange(2000) / fps
    rounded = np.round(exact + 0.0123, 3)
    assert np.array_equal(times(list(rounded), fps), exact)


def test_a_missing_frame_leaves_its_time_empty() -> None:
    assert times([0.0, 0.04, 0.401, 0.44]) == [0.0, 0.04, 0.4, 0.44]


def test_uneven_stamps_are_not_changed() -> None:
    uneven = [0.0, 0.055, 0.061, 0.2, 0.2005]
    assert times(uneven) == uneven


def test_missing_stamps_continue_at_the_average_rate() -> None:
    assert times([None, None, None]) == pytest.approx([0, 0.04, 0.08])
    assert times([5.0, None, 5.08, None]) == pytest.approx([0, 0.04, 0.08, 0.12])
    assert times([None, None, 7.0, 7.04]) == pytest.approx([0, 0.04, 0.08, 0.12])


def test_a_repeated_or_slightly_earlier_stamp_is_half_an_interval_later() -> None:
    assert times([1.0, 1.04, 1.04, 1.08]) == pytest.approx([0, 0.04, 0.06, 0.08])
    assert times([1.0, 1.04, 0.9, 1.08]) == pytest.approx([0, 0.04, 0.06, 0.08])


def test_a_clock_reset_continues_the_time_line() -> None:
    assert times([10.0, 10.04, 0.0, 0.04, 0.08]) == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])


def test_a_step_past_the_end_is_ignored_but_a_long_pause_is_kept() -> None:
    assert times([0.0, 0.04, 90_000.0, 0.12], duration_s=10) == pytest.approx([0, 0.04, 0.08, 0.12])
    assert times([0.0, 0.04, 3600.0, 3600.04], duration_s=3601)[-1] == pytest.approx(3600.04)
