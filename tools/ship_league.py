"""Make what is shown of the league from its records: nothing is trained.

    python tools/ship_league.py

Reads benchmarks/league/; writes benchmarks/LEAGUE.md with the picture of the ranks, and
src/oddframe/experiments/league.json, which ``oddframe methods`` reads.
"""

from __future__ import annotations

from pathlib import Path

from oddframe.experiments.league_rates import read_rates
from oddframe.experiments.league_record import read_leagues
from oddframe.experiments.ours import shipped_text
from oddframe.files import write_text
from oddframe.outputs.league_text import write_table

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "benchmarks" / "league"
TABLE = ROOT / "benchmarks" / "LEAGUE.md"
SHIPPED = ROOT / "src" / "oddframe" / "experiments" / "league.json"


if __name__ == "__main__":
    leagues = read_leagues(RECORDS)
    write_text(SHIPPED, shipped_text(leagues))
    write_table(leagues, read_rates(RECORDS / "rates.json"), TABLE)
    print(SHIPPED, TABLE, sep="\n")
