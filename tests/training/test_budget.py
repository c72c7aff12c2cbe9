"""Budgets: times as people write them, and paces as the clock gives them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddframe.errors import UsageError
from oddframe.training.search import Budget, Stopwatch, format_time_budget, parse_time_budget


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10m", 600), ("1h", 3600), ("90s", 90), ("1h30m", 5400), (" 1.5H ", 5400), ("2 m", 120)],
)
def test_times_are_read_as_people_write_them(text: str, expected: float) -> None:
    assert parse_time_budget(text) == expected


@pytest.mark.parametrize("text", ["10", "", "soon", "0m", "-5m", "1h forever", "m", "1d"])
def test_other_words_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="10m, 1h or 1h30m"):
        parse_time_budget(text)


@pytest.mark.parametrize(
    ("value", "text"), [(14.4, "14 s"), (180, "3 min"), (5400, "90 min"), (9000, "2.5 h")]
)
def test_times_are_shown_in_one_unit(value: float, text: str) -> None:
    assert format_time_budget(value) == text


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@given(
    before=st.floats(0, 50), step=st.floats(0.001, 5), n=st.integers(2, 30), after=st.floats(0, 50)
)
def test_a_pace_tells_the_steps_from_the_rest(
    before: float, step: float, n: int, after: float
) -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    clock.now += before
    for _ in range(n):
        clock.now += step
        watch.step()
    clock.now += after
    pace = watch.pace()
    assert pace.step_s == pytest.approx(step, abs=1e-9)
    assert pace.fixed_s == pytest.approx(before + after, abs=1e-6)
    assert pace.estimate(n) == pytest.approx(watch.elapsed, abs=1e-6)


def test_a_budget_runs_out_with_the_clock_and_with_what_was_spent_before() -> None:
    clock = Clock()
    budget = Budget(60, clock)
    clock.now += 20
    budget.spend(30)
    assert budget.remaining_s == pytest.approx(10)
    clock.now += 15
    assert budget.remaining_s == pytest.approx(-5)
