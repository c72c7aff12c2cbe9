"""Search within a training run: on validation folds, within the budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from oddframe.features.store.store import FeatureStore
from oddframe.training import search as tryout
from oddframe.training.search import Budget
from oddframe.training.train import TrainedModel, run_training
from tests.training.precomputed import ProgressLog, linear, ready_made


def trained(tmp_path: Path, log: ProgressLog, budget: Budget | None, **kwargs: Any) -> TrainedModel:
    return run_training(
        ready_made(tmp_path / "data"),
        kwargs.pop("config", linear()),
        tmp_path / "m.safetensors",
        store=FeatureStore(tmp_path / "store"),
        progress=log,
        message=log.message,
        budget=budget,
        **kwargs,
    )


def test_the_grid_is_reported_tried_and_written_to_the_card(tmp_path: Path) -> None:
    log = ProgressLog()
    found = trained(tmp_path, log, Budget(600))
    assert log.has_line("learning rates 0.001, 0.003 for each of 12 steps")
    assert found.search is not None
    # Both on the first fold; the better one is then alone, with nothing left to beat.
    assert [trial.fold for trial in found.search.trials] == [0, 0]
    assert all(0 <= trial.figure <= 1 for trial in found.search.trials)
    card = found.model.card
    assert card["search"]["figure"] == "video_auc"
    assert card["search"]["chosen"]["lr"] == card["configuration"]["recipe"]["lr"]
    assert log.has_line("chosen: learning rate")
    assert not (tmp_path / "m.training").exists()
    assert not (tmp_path / "m.lock").exists()


def test_held_out_videos_are_no_part_of_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()
    whole = tryout.HyperparameterSearch._videos

    def videos(self: tryout.HyperparameterSearch, indices: Any) -> Any:
        found = whole(self, indices)
        seen.update(each.video.group for each in found)
        return found

    monkeypatch.setattr(tryout.HyperparameterSearch, "_videos", videos)
    model = trained(tmp_path, ProgressLog(), Budget(600)).model
    held_out = set(model.card["held_out_groups"])
    assert held_out
    assert not seen & held_out
    assert len(seen | held_out) == 12


def test_without_time_training_is_as_configured(
    tmp_path: Path,
) -> None:
    log = ProgressLog()
    budget = Budget(600)
    budget.spend(601)
    found = trained(tmp_path, log, budget)
    assert log.has_line("not tried, no room in the budget: learning rate 0.001, 12 steps")
    assert found.config.recipe.lr == 1e-3
    assert found.search is not None
    assert found.search.trials == ()


def test_a_setting_that_would_take_too_long_is_skipped(tmp_path: Path) -> None:
    log = ProgressLog()
    config = linear(search={"lr": [1], "steps": [1, 1_000_000], "folds": 2})
    found = trained(tmp_path, log, Budget(30), config=config)
    assert found.search is not None
    assert {trial.setting.steps for trial in found.search.trials} == {12}
    assert log.has_line("not tried, no room in the budget: learning rate 0.001, 12000000 steps")
    assert found.config.full_recipe().steps == 12


def test_an_interrupted_search_resumes(tmp_path: Path) -> None:
    class Stop(ProgressLog):
        def message(self, line: str) -> None:
            super().message(line)
            if len([said for said in self.lines if said.startswith("fold 1")]) == 2:
                raise KeyboardInterrupt

    stopped, log = Stop(), ProgressLog()
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, stopped, Budget(600))
    budget = Budget(600)
    found = trained(tmp_path, log, budget)
    steps = sum(1 for row in log.steps if row[1] == 12)
    assert steps == 12, "the final training; both trials were kept"
    whole = trained(tmp_path / "whole", ProgressLog(), Budget(600))
    assert found.search is not None
    assert whole.search is not None
    assert [(t.setting, t.fold, t.figure) for t in found.search.trials] == [
        (t.setting, t.fold, t.figure) for t in whole.search.trials
    ]
    other = tmp_path / "whole" / "m.safetensors"
    assert (tmp_path / "m.safetensors").read_bytes() == other.read_bytes()


def test_too_few_groups_for_a_search_give_a_warning(tmp_path: Path) -> None:
    log = ProgressLog()
    data = ready_made(tmp_path / "data", 1)
    found = run_training(
        data,
        linear(),
        tmp_path / "m.safetensors",
        store=FeatureStore(tmp_path / "store"),
        progress=log,
        message=log.message,
        budget=Budget(600),
        seeds=2,
    )
    assert found.search is None
    assert log.has_line("no search: 1 groups to learn from are too few")
    assert log.has_line("too few groups to choose among the seeds on: the first one is kept")
    assert [run.kept for run in found.seeds] == [True, False]
    assert all(line in found.warnings for line in log.lines if "too few" in line)
