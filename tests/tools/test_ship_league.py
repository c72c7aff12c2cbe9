"""What comes with oddframe of its league is what the league's records say."""

from __future__ import annotations

import json

import numpy as np

from oddframe.experiments.league_record import read_leagues
from oddframe.experiments.ours import ours_of, shipped_text
from tools.ship_league import RECORDS, SHIPPED


def test_what_is_shipped_is_what_the_records_say() -> None:
    assert SHIPPED.read_text() == shipped_text(read_leagues(RECORDS))


def test_means_are_those_of_the_trainings() -> None:
    """On equal terms: of the draws and folds that a row without further repeats has."""
    leagues = read_leagues(RECORDS)
    assert leagues
    for league in leagues:
        entry, other = league.entry("linear"), league.entry("sultani")
        assert entry is not None
        assert other is not None
        figures = [entry.by_place[place] for place in other.by_place]
        values = [100 * getattr(each, league.lead.field) for each in figures]
        (ours,) = [each for each in ours_of("linear") if each.benchmark == league.dataset]
        assert abs(ours.mean - np.mean(values)) < 0.051
        assert abs(ours.std - np.std(values)) < 0.051
        assert ours.trainings == len(values)
    assert json.loads(SHIPPED.read_text()).keys() >= {"ur_dmu", "oddframe", "ur_dmu_small"}
