"""What methods gave in the league of this project: comes with oddframe, beside what was published.

``league.json`` is made of the league's records by ``tools/ship_league.py``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np

from oddframe.experiments.league_record import League
from oddframe.experiments.table import values_of


@dataclass(frozen=True)
class OurFigure:
    """A leading figure of one method on one benchmark.

    Attributes:
        benchmark: Name of its data set, ``ped2``.
        data: What it is called in print.
        figure: ``AUC`` or ``AUC_sub``.
        mean: Over the trainings, per cent.
        std: Over them.
        trainings: How many there are.
    """

    benchmark: str
    data: str
    figure: str
    mean: float
    std: float
    trainings: int


def ours_of(name: str) -> tuple[OurFigure, ...]:
    """What a method gave; empty: it was not in the league."""
    return _shipped().get(name, ())


@lru_cache(maxsize=1)
def _shipped() -> Mapping[str, tuple[OurFigure, ...]]:
    text = (files("oddframe.experiments") / "league.json").read_text(encoding="utf-8")
    data: dict[str, list[dict[str, Any]]] = json.loads(text)
    return {name: tuple(OurFigure(**each) for each in found) for name, found in data.items()}


def shipped_text(leagues: Sequence[League]) -> str:
    """``league.json`` of these leagues, on equal terms: rows with trainings, a line each."""
    found: dict[str, list[OurFigure]] = {}
    for league in (each.equal for each in leagues):
        for entry in league.entries:
            if entry.figures:
                values = values_of(entry.figures, league.lead)
                mean, std = (round(float(each), 1) for each in (np.mean(values), np.std(values)))
                figure = OurFigure(
                    league.dataset, league.title, league.lead.heading, mean, std, len(values)
                )
                found.setdefault(entry.name, []).append(figure)
    lines = (
        f" {json.dumps(name)}: {json.dumps([asdict(each) for each in found[name]])}"
        for name in sorted(found)
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"
