"""The search: a stated grid, compared on equal terms, whatever the budget lets through."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddframe.training.config import parse_config
from oddframe.training.search import (
    SearchResult,
    SearchSetting,
    Trial,
    TrialLog,
    make_grid,
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


def test_the_better_half_goes_on_and_means_decide() -> None:
    found, order = run([[0.6, 0.9], [0.8, 0.7], [0.7, 0.95], [0.5, 1.0]])
    assert order == [(0, 0), (1, 0), (2, 0), (3, 0), (1, 1), (2, 1)]
    assert found.chosen == settings(4)[2]
    assert found.mean(found.chosen) == pytest.approx(0.825)
    assert found.mean(settings(4)[3]) == 0.5


def test_a_fold_that_not_all_could_be_tried_on_does_not_count() -> None:
    values = [[0.6, 0.0], [0.8, 0.1], [0.7, 1.0], [0.5, 1.0]]
    found, order = run(values, lambda n: n < 5)
    assert len(order) == 5
    assert found.chosen == settings(4)[1]
    assert [(each.setting, each.fold) for each in found.left_out] == [(settings(4)[2], 1)]
    assert {trial.fold for trial in found.trials} == {0}


def test_what_did_not_fit_is_named_and_the_rest_compared() -> None:
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


def test_of_equal_ones_the_first_is_taken() -> None:
    assert run([[0.7, 0.7]] * 5)[0].chosen == settings(1)[0]


@given(
    data=st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=9),
    most=st.integers(0, 20),
)
def test_what_is_chosen_is_the_best_of_those_that_went_furthest(
    data: list[list[float]], most: int
) -> None:
    found, _ = run(data, lambda n: n < most)
    if not found.trials:
        assert found.chosen == found.grid[0]
        return
    last = max(trial.fold for trial in found.trials)
    compared = [trial.setting for trial in found.trials if trial.fold == last]
    assert found.chosen in compared
    for setting in compared:
        assert (found.mean(found.chosen) or 0) >= (found.mean(setting) or 0)


def test_the_grid_is_the_configured_one_first_then_rates_steps_and_views() -> None:
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
def test_views_are_no_choice_where_there_is_none(sections: dict[str, object]) -> None:
    found = make_grid(parse_config(sections))
    assert len(found) == 9
    assert len({s.mirrored for s in found}) == 1


def test_features_that_came_with_the_data_cannot_be_mirrored() -> None:
    assert {s.mirrored for s in make_grid(parse_config({}), views=False)} == {False}


def test_trials_are_kept_line_by_line(tmp_path: Path) -> None:
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
