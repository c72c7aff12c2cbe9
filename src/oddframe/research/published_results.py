"""Published figures, with their sources: what stands beside ours in a table.

They are in ``published.json``, in per cent, under ``<data set>_<figure>``: ``ucf_auc``, ``xd_ap``.

What methods gave in the league of this project: comes with oddframe, beside what was published.

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

from oddframe.research.leaderboard.record import League
from oddframe.research.table import values_of


@dataclass(frozen=True)
class PublishedRow:
    """One row of a published table.

    Attributes:
        key: What it is in an ablation, ``1011``: which parts are there; empty in a comparison.
        labels: What it says in the table's own leading columns, in a comparison.
        figures: Per cent, by name.
        source: Where it was published, if elsewhere than the others.
    """

    key: str
    labels: tuple[str, ...]
    figures: Mapping[str, float]
    source: str = ""


@dataclass(frozen=True)
class PublishedTable:
    """A published table: title, headings of its leading columns, rows."""

    title: str
    labels: tuple[str, ...]
    rows: tuple[PublishedRow, ...]


@dataclass(frozen=True)
class Published:
    """All that was published.

    Attributes:
        source: Of the tables.
        tables: By name, ``table3``.
        elsewhere: Rows of other papers on other data sets, by data set.
    """

    source: str
    tables: Mapping[str, PublishedTable]
    elsewhere: Mapping[str, tuple[PublishedRow, ...]]


@dataclass(frozen=True)
class PublishedFigure:
    """A figure of one method.

    Attributes:
        data: Name of the data set in print.
        figure: ``AUC`` or ``AP``.
        value: Per cent.
        features: What it was measured on, as far as a table says it.
        source: Where it was published.
    """

    data: str
    figure: str
    value: float
    features: str
    source: str


_PRINTED = {"ucf_crime": "UCF-Crime", "xd_violence": "XD-Violence", "ped2": "Ped2"}


@lru_cache(maxsize=1)
def published() -> Published:
    """The figures that come with oddframe."""
    text = (files("oddframe.research") / "published.json").read_text(encoding="utf-8")
    data = json.loads(text)
    tables = {
        name: PublishedTable(each["title"], tuple(each["labels"]), tuple(map(_row, each["rows"])))
        for name, each in data["tables"].items()
    }
    elsewhere = {name: tuple(map(_row, rows)) for name, rows in data["elsewhere"].items()}
    return Published(data["source"], tables, elsewhere)


def _row(row: Mapping[str, Any]) -> PublishedRow:
    labels = tuple(row.get("labels", ()))
    return PublishedRow(row.get("key", ""), labels, row["figures"], row.get("source", ""))


def figures_of(title: str) -> tuple[PublishedFigure, ...]:
    """What was published of the method that is called ``title`` in print, ``HL-Net``."""
    known = published()
    tables = (("ucf_crime", known.tables["table1"]), ("xd_violence", known.tables["table2"]))
    rows = [
        (data, row.labels[0], row.labels[-1], row) for data, each in tables for row in each.rows
    ]
    for data, found in known.elsewhere.items():
        for row in found:  # "GCN (TSN)": what it was measured on is in brackets.
            name, _, features = row.labels[0].removesuffix(")").partition(" (")
            rows.append((data, name, features, row))
    return tuple(
        PublishedFigure(
            _PRINTED[data],
            figure.rsplit("_", 1)[-1].upper(),
            value,
            features.removesuffix("-"),
            row.source or known.source,
        )
        for data, name, features, row in rows
        if name == title
        for figure, value in row.figures.items()
    )


@dataclass(frozen=True)
class OurFigure:
    """A leading figure of one method on one benchmark.

    Attributes:
        benchmark: Name of its data set, ``read_ped2``.
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
    text = (files("oddframe.research") / "league.json").read_text(encoding="utf-8")
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
