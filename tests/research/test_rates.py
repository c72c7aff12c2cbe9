"""Learning rates of the league: one grid for all, on videos that no benchmark tests on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from oddframe.errors import InputError, UsageError
from oddframe.research.grid import GridPlan, Session, benchmark_config, run_grid
from oddframe.research.leaderboard import competitors
from oddframe.research.leaderboard.competitors import (
    RATE_FACTORS,
    VALIDATION_FOLDS,
    LearningRates,
    RateSearch,
    TriedRate,
    list_competitors,
    read_rates,
    scale_rate,
    validation_session,
    with_rates,
    write_rates,
)
from oddframe.research.leaderboard.ranking import rank_leagues
from oddframe.research.leaderboard.report import league_markdown
from oddframe.research.records import current_code, protocol_facts
from tests.research.tiny import tiny_dataset, tiny_session


def rate(factor: float, *figures: float) -> TriedRate:
    return TriedRate(factor, 1e-3 * factor, figures)


def rates(**tried: tuple[TriedRate, ...]) -> LearningRates:
    return LearningRates("shanghaitech_tracks", 3, 300, "f" * 64, current_code(), tried)


def test_the_rate_nearest_to_the_own_one_that_is_as_good_as_the_best_is_taken() -> None:
    found = rates(
        rtfm=(rate(0.3, 0.7, 0.5), rate(1, 0.7, 0.6), rate(10, 0.8, 0.7)),
        msl=(rate(0.3, 0.5), rate(1, 0.8), rate(3, 0.8), rate(10, 0.8)),
        gcn=(rate(0.3, 0.8), rate(1, 0.7), rate(10, 0.8)),
        # The best is ahead of its own rate by 0.02 +- 0.02; below, by 0.035 +- 0.005.
        mist=(rate(1, 0.80, 0.84), rate(3, 0.82, 0.83), rate(10, 0.84, 0.8399)),
        crfd=(rate(1, 0.80, 0.81), rate(3, 0.82, 0.83), rate(10, 0.84, 0.84)),
        # Rates on the other side of the own one are not considered.
        ma=(rate(0.3, 0.84, 0.84), rate(1, 0.80, 0.81), rate(3, 0.50, 0.90)),
        ibl=(),
    )
    chosen = [found.factor(name) for name in ("rtfm", "msl", "gcn", "mist", "crfd", "ma")]
    assert chosen == [10, 1, 0.3, 1, 10, 0.3]
    assert (found.factor("ibl"), found.factor("hasan")) == (1, 1)


def test_a_row_is_trained_at_its_rate() -> None:
    config = benchmark_config("ped2", None)
    chosen = rates(sultani=(rate(1, 0.6), rate(3, 0.7)), rtfm=(rate(1, 0.7),))
    own = {row.name: row for row in list_competitors(config)}
    for row in with_rates(list_competitors(config), chosen):
        before = own[row.name].config
        if row.name == "sultani":
            assert row.config.full_recipe().lr == pytest.approx(3e-3)
            assert row.config == before.with_recipe(lr=row.config.recipe.lr)
        else:  # The very same: what was trained before stays.
            assert row == own[row.name]


def test_rates_are_read_back_and_merged_if_comparable(tmp_path: Path) -> None:
    path = tmp_path / "rates.json"
    assert read_rates(path) is None
    first = rates(rtfm=(rate(1, 0.5, 0.6),), msl=(rate(1, 0.4),))
    write_rates(path, first)
    assert read_rates(path) == first
    now = rates(msl=(rate(3, 0.9),))
    assert first.merged_into(now).tried == {"rtfm": first.tried["rtfm"], "msl": now.tried["msl"]}
    assert replace(first, steps=7).merged_into(now) == now
    path.write_text(json.dumps({"kind": "oddframe league", "schema": 1}))
    with pytest.raises(InputError, match="not the record of learning rates"):
        read_rates(path)


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setattr(competitors, "STEPS", 10)
    monkeypatch.setattr(competitors, "VALIDATION_FOLDS", 2)
    (tmp_path / "data").mkdir()
    return tiny_session(tmp_path, dataset=tiny_dataset(tmp_path / "data"))


def test_rates_are_only_tried_inside_the_training_part(session: Session) -> None:
    inner = validation_session(session)
    (given,) = [part for part in session.parts if part.repeat == 0]
    trained_on = {clip.name for clip in given.train}
    assert len(inner.parts) == 2
    for part in inner.parts:
        names = {clip.name for clip in part.train}, {clip.name for clip in part.test}
        assert not names[0] & names[1]
        assert names[0] | names[1] == trained_on
    facts = [protocol_facts(each.setting.protocol) for each in (session, inner)]
    assert facts[1]["split"] == {"split": "Inner", "outer": facts[0]["split"], "n": 2}
    setting = replace(session.setting, dataset="ur_fall")
    with pytest.raises(
        UsageError, match=r"ur_fall tests on each of its videos, .* shanghaitech_tr"
    ):
        validation_session(replace(session, setting=setting))


def test_the_grid_tries_every_factor_on_every_fold(session: Session) -> None:
    rows = list_competitors(session.config, ["linear", "normality"])
    grid = RateSearch(validation_session(session), rows)
    assert len(grid.tasks) == 2 * len(RATE_FACTORS)  # Normality has no steps, so no rate.
    ready = [task for task in grid.tasks if "x 10" not in task.name]
    assert run_grid(grid.session, ready, GridPlan(1, 1)) == []
    found = grid.collect()
    assert set(found.tried) == {"linear"}
    tried = found.tried["linear"]
    # Rates without figures of every fold are not compared.
    assert [(each.factor, each.lr) for each in tried] == [(0.3, 6e-4), (1, 2e-3), (3, 6e-3)]
    assert all(len(each.figures) == 2 and 0 <= each.mean <= 1 for each in tried)
    assert (found.dataset, found.folds, found.steps) == ("ucf_crime", 2, 10)


def test_the_table_says_how_rates_were_chosen() -> None:
    text = league_markdown([], rank_leagues([]), "")
    assert "no rate was chosen for any method" in " ".join(text.split())
    text = league_markdown([], rank_leagues([]), "", rates(linear=(rate(1, 0.6), rate(3, 0.7))))
    assert "no rate was chosen" not in " ".join(text.split())
    assert "## Learning rates" in text
    assert f"on {VALIDATION_FOLDS} folds" in text


def test_a_factor_of_1_changes_nothing() -> None:
    config = benchmark_config("ped2", None)
    assert scale_rate(config, 1.0) is config
