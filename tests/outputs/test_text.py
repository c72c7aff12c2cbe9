"""Times, durations and places as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddframe.outputs.text import describe_box, format_clock, format_duration, tick_step
from oddframe.timeline import Box


@pytest.mark.parametrize(
    ("seconds", "decimals", "text"),
    [
        (0, 0, "0:00"),
        (12.34, 1, "0:12.3"),
        (59.96, 1, "1:00.0"),
        (59.96, 0, "1:00"),
        (3599.999, 2, "1:00:00.00"),
        (36_000, 0, "10:00:00"),
        (-0.001, 1, "0:00.0"),
    ],
)
def test_a_clock_time_never_has_60_seconds(seconds: float, decimals: int, text: str) -> None:
    assert format_clock(seconds, decimals) == text


def test_hours_can_always_be_written() -> None:
    assert format_clock(62, hours=True) == "0:01:02"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.04 s"), (9.46, "9.5 s"), (48.2, "48 s"), (59.7, "1:00 min"), (3723, "1:02:03 h")],
)
def test_short_durations_have_more_digits(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(0.04, 1e6), st.integers(3, 20))
def test_at_least_a_third_of_the_ticks_are_used(duration: float, most: int) -> None:
    ticks = duration / tick_step(duration, most)
    assert ticks <= most + 1e-9
    if 1 < duration < 86_400:
        assert ticks > most / 3


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ((0.0, 0.0, 1 / 3, 0.5), "top left"),
        ((1 / 3, 0.5, 2 / 3, 1.0), "bottom"),
        ((2 / 3, 1 / 3, 1.0, 2 / 3), "middle right"),
        ((1 / 3, 1 / 3, 2 / 3, 2 / 3), "centre"),
        ((0.5, 0.0, 1.0, 1.0), "right"),
        ((0.0, 0.0, 1.0, 0.5), "top"),
        ((0.0, 0.0, 1.0, 1.0), ""),
    ],
)
def test_a_box_is_described_in_words(where: Box, words: str) -> None:
    assert describe_box(where) == words
