"""Make what is shown of the league from its records: nothing is trained.

    python tools/ship_league.py

Reads benchmarks/league/; writes benchmarks/LEAGUE.md with the picture of the ranks, and
src/oddframe/research/league.json, which ``oddframe methods`` reads.
"""

from __future__ import annotations

from pathlib import Path

from oddframe._utils.files import write_text
from oddframe.research.leaderboard.rates import read_rates
from oddframe.research.leaderboard.record import read_leagues
from oddframe.research.published_results import shipped_text
from oddframe.research.reports.league_text import write_table

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "benchmarks" / "league"
TABLE = ROOT / "benchmarks" / "LEAGUE.md"
SHIPPED = ROOT / "src" / "oddframe" / "research" / "league.json"


if __name__ == "__main__":
    leagues = read_leagues(RECORDS)
    write_text(SHIPPED, shipped_text(leagues))
    write_table(leagues, read_rates(RECORDS / "rates.json"), TABLE)
    print(SHIPPED, TABLE, sep="\n")
