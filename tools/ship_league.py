"""Make what ``oddframe methods`` says of ours from the league's records.

    python tools/ship_league.py

Reads benchmarks/league/, writes src/oddframe/experiments/league.json.
"""

from __future__ import annotations

from pathlib import Path

from oddframe.experiments.league_record import read_leagues
from oddframe.experiments.ours import shipped_text
from oddframe.files import write_text

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "benchmarks" / "league"
SHIPPED = ROOT / "src" / "oddframe" / "experiments" / "league.json"


if __name__ == "__main__":
    write_text(SHIPPED, shipped_text(read_leagues(RECORDS)))
    print(SHIPPED)
