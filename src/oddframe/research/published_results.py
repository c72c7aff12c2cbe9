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
    """One row of a published table; figures in per cent, by name."""

    figures: Mapping[str, float]
    key: str = ""
    labels: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class PublishedTable:
    title: str
    labels: tuple[str, ...]
    rows: tuple[PublishedRow, ...]


@dataclass(frozen=True)
class PublishedResults:
    """The tables of the UR-DMU paper, and rows of other papers ``elsewhere``, by data set."""

    source: str
    tables: Mapping[str, PublishedTable]
    elsewhere: Mapping[str, tuple[PublishedRow, ...]]


@dataclass(frozen=True)
class PublishedFigure:
    """A published figure of one method in per cent, and what it was measured on."""

    data: str
    figure: str
    value: float
    features: str
    source: str


_TITLES = {"ucf_crime": "UCF-Crime", "xd_violence": "XD-Violence", "ped2": "Ped2"}


@lru_cache(maxsize=1)
def load_published() -> PublishedResults:
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
    """The leading figure of one method on one benchmark of the league, per cent."""

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
