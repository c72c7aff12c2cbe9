"""Figures that other papers published, and the figures of this project's league.

``published.json`` holds the published ones in per cent, under ``<data set>_<figure>``: ``ucf_auc``,
``xd_ap``. ``league.json`` is made from the league's records by ``tools/ship_league.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from pydantic import TypeAdapter


@dataclass(frozen=True)
class PublishedRow:
    """One row of a published table.

    Attributes:
        figures: Per cent, by name.
        key: In an ablation, which parts are used, ``1011``; empty in a comparison.
        labels: Its leading columns in a comparison.
        source: Where it was published, if not where the others were.
    """

    figures: Mapping[str, float]
    key: str = ""
    labels: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class PublishedTable:
    """A published table: title, headings of its leading columns, rows."""

    title: str
    labels: tuple[str, ...]
    rows: tuple[PublishedRow, ...]


@dataclass(frozen=True)
class PublishedResults:
    """All published figures.

    Attributes:
        source: Source of the tables.
        tables: The tables of the UR-DMU paper by name, ``table3``.
        elsewhere: Rows of other papers on other data sets, by data set.
    """

    source: str
    tables: Mapping[str, PublishedTable]
    elsewhere: Mapping[str, tuple[PublishedRow, ...]]


@dataclass(frozen=True)
class PublishedFigure:
    """A published figure of one method.

    Attributes:
        data: Title of the data set.
        figure: ``AUC`` or ``AP``.
        value: Per cent.
        features: The features that it was measured on, as far as a table names them.
        source: Where it was published.
    """

    data: str
    figure: str
    value: float
    features: str
    source: str


_TITLES = {"ucf_crime": "UCF-Crime", "xd_violence": "XD-Violence", "ped2": "Ped2"}


@lru_cache(maxsize=1)
def load_published() -> PublishedResults:
    """The published figures that come with oddframe."""
    return TypeAdapter(PublishedResults).validate_json(_read("published.json"))


def published_figures(title: str) -> tuple[PublishedFigure, ...]:
    """The published figures of the method with this title, ``HL-Net``."""
    known = load_published()
    tables = (("ucf_crime", known.tables["table1"]), ("xd_violence", known.tables["table2"]))
    rows = [
        (data, row.labels[0], row.labels[-1], row) for data, table in tables for row in table.rows
    ]
    for data, found in known.elsewhere.items():
        for row in found:  # "GCN (TSN)": the features are in brackets.
            name, _, features = row.labels[0].removesuffix(")").partition(" (")
            rows.append((data, name, features, row))
    return tuple(
        PublishedFigure(
            _TITLES[data],
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
class ShippedResult:
    """The leading figure of one method on one benchmark of the league.

    Attributes:
        benchmark: Name of the benchmark's data set, ``ped2``.
        data: Title of the benchmark.
        figure: ``AUC`` or ``AUC_sub``.
        mean: Mean over the trainings, per cent.
        std: Standard deviation over them.
        trainings: Number of trainings.
    """

    benchmark: str
    data: str
    figure: str
    mean: float
    std: float
    trainings: int


def shipped_results(name: str) -> tuple[ShippedResult, ...]:
    """A method's figures in the league; empty if it did not take part."""
    return _shipped_league().get(name, ())


@lru_cache(maxsize=1)
def _shipped_league() -> Mapping[str, tuple[ShippedResult, ...]]:
    return TypeAdapter(dict[str, tuple[ShippedResult, ...]]).validate_json(_read("league.json"))


def _read(name: str) -> str:
    return (files("oddframe.research") / name).read_text(encoding="utf-8")
