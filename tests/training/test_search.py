"""Hyperparameter search: grid, successive halving, trial log, time budget and pace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddframe.errors import UsageError
from oddframe.training.config import parse_config
from oddframe.training.search import (
    Budget,
    Pace,
    SearchResult,
    SearchSetting,
    Stopwatch,
    Trial,
    TrialLog,
    format_time_budget,
    make_grid,
    parse_time_budget,
    successive_halving,
)


def settings(n: int) -> list[SearchSetting]:
    return [SearchSetting(1e-4 * (i + 1), 10, False) for i in range(n)]


def run(
    values: list[list[float]], fits: Callable[[int], bool] = lambda _: True
) -> tuple[SearchResult, list[tuple[int, int]]]:
    """Search over ``values`` (settings x folds) while ``fits(trials so far)``."""
    all_of, order = settings(len(values)), list[tuple[int, int]]()

    def attempt(setting: SearchSetting, fold: int) -> Trial:
        i = all_of.index(setting)
        order.append((i, fold))
        return Trial(setting, fold, values[i][fold], 1.0, 0.1)

    def obstacle(setting: SearchSetting, fold: int) -> str | None:
        return None if fits(len(order)) else "no time"

    found = successive_halving(all_of, len(values[0]), attempt, obstacle, "video_auc")
    return found, order


def test_the_better_half_goes_on_and_the_best_mean_wins() -> None:
    found, order = run([[0.6, 0.9], [0.8, 0.7], [0.7, 0.95], [0.5, 1.0]])
    assert order == [(0, 0), (1, 0), (2, 0), (3, 0), (1, 1), (2, 1)]
    assert found.chosen == settings(4)[2]
    assert found.mean(found.chosen) == pytest.approx(0.825)
    assert found.mean(settings(4)[3]) == 0.5


def test_an_incomplete_fold_does_not_count() -> None:
    values = [[0.6, 0.0], [0.8, 0.1], [0.7, 1.0], [0.5, 1.0]]
    found, order = run(values, lambda n: n < 5)
    assert len(order) == 5
    assert found.chosen == settings(4)[1]
    assert [(each.setting, each.fold) for each in found.left_out] == [(settings(4)[2], 1)]
    assert {trial.fold for trial in found.trials} == {0}


def test_skipped_settings_are_named_and_the_others_compared() -> None:
    found, _ = run([[0.6], [0.8], [0.9]], lambda n: n < 2)
    assert found.chosen == settings(3)[1]
    assert [each.setting for each in found.left_out] == [settings(3)[2]]
    assert found.mean(settings(3)[2]) is None


def test_without_any_time_the_configured_setting_is_taken() -> None:
    found, order = run([[0.6, 0.1], [0.8, 0.9]], lambda _: False)
    assert order == []
    assert found.trials == ()
    assert found.chosen == settings(2)[0]
    assert len(found.left_out) == 2


def test_ties_go_to_the_first_setting() -> None:
    assert run([[0.7, 0.7]] * 5)[0].chosen == settings(1)[0]


@given(
    data=st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=9),
    most=st.integers(0, 20),
)
def test_the_best_of_those_on_the_most_folds_is_chosen(data: list[list[float]], most: int) -> None:
    found, _ = run(data, lambda n: n < most)
    if not found.trials:
        assert found.chosen == found.grid[0]
        return
    last = max(trial.fold for trial in found.trials)
    compared = [trial.setting for trial in found.trials if trial.fold == last]
    assert found.chosen in compared
    for setting in compared:
        assert (found.mean(found.chosen) or 0) >= (found.mean(setting) or 0)


def test_the_grid_begins_with_the_configured_setting() -> None:
    config = parse_config({"recipe": {"lr": 1e-3, "steps": 100}})
    found = make_grid(config)
    assert [(s.lr, s.steps, s.mirrored) for s in found[:4]] == [
        (1e-3, 100, False),
        (3e-4, 100, False),
        (3e-3, 100, False),
        (1e-3, 50, False),
    ]
    assert len(found) == len(set(found)) == 18
    assert [s.mirrored for s in found] == [False] * 9 + [True] * 9
    chosen = found[-1].apply_to(config)
    assert chosen.recipe.lr == 3e-3
    assert chosen.recipe.steps == 200
    assert chosen.training_views()["best_mirrored"].crops == ("full_mirrored",)


@pytest.mark.parametrize(
    "sections",
    [
        {"search": {"mirrored": False}},
        {"features": {"tiles": [2, 2]}},
        {"features": {"crops": ["full", "full_mirrored"]}},
        {"training_features": {"mirrored": True}},
    ],
)
def test_mirrored_pictures_are_not_tried_where_they_change_nothing(
    sections: dict[str, object],
) -> None:
    found = make_grid(parse_config(sections))
    assert len(found) == 9
    assert len({s.mirrored for s in found}) == 1


def test_precomputed_features_are_not_mirrored() -> None:
    assert {s.mirrored for s in make_grid(parse_config({}), views=False)} == {False}


def test_trials_are_written_as_lines(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "trials.jsonl"
    log = TrialLog(path)
    trials = [Trial(setting, i, 0.1 * i, 3.5, 0.01) for i, setting in enumerate(settings(3))]
    for i, trial in enumerate(trials):
        log.add(f"key {i}", trial)
    again = TrialLog(path)
    assert [again.get(f"key {i}") for i in range(3)] == trials
    assert again.get("key 3") is None
    path.write_text(path.read_text()[:-20])  # Cut off while it was written.
    cut = TrialLog(path)
    assert cut.get("key 1") == trials[1]
    assert cut.get("key 2") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10m", 600), ("1h", 3600), ("90s", 90), ("1h30m", 5400), (" 1.5H ", 5400), ("2 m", 120)],
)
def test_time_budgets_are_parsed(text: str, expected: float) -> None:
    assert parse_time_budget(text) == expected


@pytest.mark.parametrize("text", ["10", "", "soon", "0m", "-5m", "1h forever", "m", "1d"])
def test_invalid_time_budgets_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="10m, 1h or 1h30m"):
        parse_time_budget(text)


@pytest.mark.parametrize(
    ("value", "text"), [(14.4, "14 s"), (180, "3 min"), (5400, "90 min"), (9000, "2.5 h")]
)
def test_durations_are_formatted_in_one_unit(value: float, text: str) -> None:
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
def test_a_pace_separates_steps_from_fixed_time(
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


def test_a_training_without_steps_takes_a_fixed_time() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    clock.now += 3
    assert watch.pace() == Pace(3.0, 0.0)


def test_a_budget_counts_the_clock_and_earlier_runs() -> None:
    clock = Clock()
    budget = Budget(60, clock)
    clock.now += 20
    budget.spend(30)
    assert budget.remaining_s == pytest.approx(10)
    clock.now += 15
    assert budget.remaining_s == pytest.approx(-5)
