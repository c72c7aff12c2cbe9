"""Write the table of the league and the figures that come with oddframe from the league's records.

    python tools/ship_league.py

Reads benchmarks/league/; writes benchmarks/LEAGUE.md with the plot of the ranks, and
src/oddframe/research/league.json, which ``oddframe methods`` reads. Nothing is trained.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from oddframe._utils.files import write_text
from oddframe.research.fold_figures import column_values
from oddframe.research.leaderboard.competitors import read_rates
from oddframe.research.leaderboard.record import League, read_leagues
from oddframe.research.leaderboard.report import write_league_table
from oddframe.research.published_results import ShippedResult

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "benchmarks" / "league"
TABLE = ROOT / "benchmarks" / "LEAGUE.md"
SHIPPED = ROOT / "src" / "oddframe" / "research" / "league.json"


def shipped_results_json(leagues: Sequence[League]) -> str:
    """``league.json`` of these leagues, on equal terms: a line for each method with trainings."""
    found: dict[str, list[ShippedResult]] = {}
    for league in (each.on_equal_terms for each in leagues):
        for entry in league.entries:
            if entry.figures:
                values = column_values(entry.figures, league.lead)
                mean, std = (round(float(each), 1) for each in (np.mean(values), np.std(values)))
                result = ShippedResult(
                    league.dataset, league.title, league.lead.heading, mean, std, len(values)
                )
                found.setdefault(entry.name, []).append(result)
    lines = (
        f" {json.dumps(name)}: {json.dumps([asdict(each) for each in found[name]])}"
        for name in sorted(found)
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    leagues = read_leagues(RECORDS)
    write_text(SHIPPED, shipped_results_json(leagues))
    write_league_table(leagues, read_rates(RECORDS / "rates.json"), TABLE)
    print(SHIPPED, TABLE, sep="\n")
