"""The figures and the table of the league equal its records."""

from __future__ import annotations

import json

import numpy as np

from oddframe.research.leaderboard.competitors import read_rates
from oddframe.research.leaderboard.ranking import rank_leagues
from oddframe.research.leaderboard.record import read_leagues
from oddframe.research.leaderboard.report import league_markdown
from oddframe.research.published_results import shipped_results
from tools.ship_league import RECORDS, SHIPPED, TABLE, shipped_results_json


def test_the_shipped_figures_equal_the_records() -> None:
    assert SHIPPED.read_text() == shipped_results_json(read_leagues(RECORDS))


def test_the_table_equals_the_records() -> None:
    leagues, rates = read_leagues(RECORDS), read_rates(RECORDS / "rates.json")
    text = league_markdown(leagues, rank_leagues(leagues), "league_ranks.png", rates)
    assert TABLE.read_text() == text
    take_home = text.split("\n\n")[1].replace("\n", " ")
    assert "`oddframe` is level with the linear baseline" in take_home
    assert "ahead of all 16 published methods" in take_home


def test_benchmarks_count_equally_in_the_ranks() -> None:
    """Ped2 has ten of the 23 trainings; counted so, the linear baseline is behind."""
    stands = rank_leagues(read_leagues(RECORDS))
    assert stands.ranking is not None
    assert stands.pooled is not None
    assert stands.by_benchmark is not None
    alike = [round(stands.ranking.rank(name) or 0, 2) for name in ("linear", "oddframe")]
    pooled = [round(stands.pooled.rank(name) or 0, 2) for name in ("linear", "oddframe")]
    assert (alike, pooled) == ([4.37, 4.63], [4.74, 4.17])
    assert next(iter(stands.titles)) == "linear"
    assert (stands.ranking.blocks, stands.by_benchmark.blocks) == (23, 4)


def test_inverted_trainings_are_named() -> None:
    text = TABLE.read_text()
    row = next(line for line in text.splitlines() if line.startswith("| IBL |"))
    assert "52.0 ± 34.3 (2 of 5 inverted)" in row
    assert (
        "- IBL: inverted, AUC below 50, in 2 of 5 trainings: 7.4 (repeat 0, fold 2), "
        "13.7 (repeat 0, fold 4)\n" in text
    )


def test_means_are_over_the_trainings() -> None:
    """On equal terms: of the draws and folds that a row without further repeats has."""
    leagues = read_leagues(RECORDS)
    assert leagues
    for league in leagues:
        entry, other = league.entry("linear"), league.entry("sultani")
        assert entry is not None
        assert other is not None
        figures = [entry.figures_by_part[place] for place in other.figures_by_part]
        values = [100 * getattr(each, league.lead.field) for each in figures]
        (ours,) = [each for each in shipped_results("linear") if each.benchmark == league.dataset]
        assert abs(ours.mean - np.mean(values)) < 0.051
        assert abs(ours.std - np.std(values)) < 0.051
        assert ours.trainings == len(values)
    assert json.loads(SHIPPED.read_text()).keys() >= {"ur_dmu", "oddframe", "ur_dmu_small"}
