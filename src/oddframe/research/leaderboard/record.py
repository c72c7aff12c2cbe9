"""What a league of one benchmark gave, as one file: figures, costs, failures, what was run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from oddframe._utils.files import json_text, write_text
from oddframe.research.benchmarks import BENCHMARKS
from oddframe.research.fold_figures import Figures
from oddframe.research.provenance import Code
from oddframe.research.records import Cost, figures_from, read_record
from oddframe.research.table import Column

KIND, SCHEMA = "oddframe league", 2

Place = tuple[int, int]
"""Repeat (draw, seed) and fold."""


@dataclass(frozen=True)
class Failure:
    """A training that gave nothing, and why."""

    repeat: int
    fold: int
    reason: str

    @property
    def place(self) -> Place:
        """Its repeat and fold."""
        return self.repeat, self.fold


@dataclass(frozen=True)
class Kept:
    """What a league keeps of one training.

    Attributes:
        figures: Of the last step; their repeat and fold are the training's.
        cost: What it took.
        told: What was noted of it, a line each.
        code: Digest of the code that made it.
    """

    figures: Figures
    cost: Cost | None
    told: tuple[str, ...]
    code: str

    @property
    def place(self) -> Place:
        """Its repeat and fold."""
        return self.figures.repeat, self.figures.fold


@dataclass(frozen=True)
class Entry:
    """A row of a league.

    Attributes:
        name: On the command line.
        title: In print.
        method: Name in the registry.
        recipe: Its own part of the recipe: optimiser, rate, decay, clipping.
        digest: Of all that its trainings depend on, but for repeat and fold.
        trainings: Those that are done.
        notes: What to know before its figures are trusted, a line each.
        failed: Trainings that gave nothing.
    """

    name: str
    title: str
    method: str
    recipe: str
    digest: str
    trainings: tuple[Kept, ...]
    notes: tuple[str, ...]
    failed: tuple[Failure, ...]

    @property
    def figures(self) -> tuple[Figures, ...]:
        """Of the last step, one a training."""
        return tuple(each.figures for each in self.trainings)

    @property
    def costs(self) -> tuple[Cost, ...]:
        """Of the trainings whose cost is known."""
        return tuple(each.cost for each in self.trainings if each.cost is not None)

    @property
    def by_place(self) -> dict[Place, Figures]:
        """Its figures by repeat and fold."""
        return {each.place: each.figures for each in self.trainings}

    @property
    def tried(self) -> frozenset[Place]:
        """Where it was trained, whatever came of it."""
        return frozenset(self.by_place).union(each.place for each in self.failed)

    def over(self, places: Collection[Place]) -> Entry:
        """What it gave there alone; its notes stay those of all its trainings."""
        return replace(
            self,
            trainings=tuple(each for each in self.trainings if each.place in places),
            failed=tuple(each for each in self.failed if each.place in places),
        )


@dataclass(frozen=True)
class League:
    """The league of one benchmark.

    Attributes:
        dataset: Name of the benchmark's data set.
        title: In print.
        columns: The figures, the leading one first.
        parts: Repeat and fold of every part that a row is trained on.
        steps: Of every training.
        segments: Of a bag.
        bags: Normal and abnormal ones a step.
        average: Decay of the moving average of the weights.
        joined: Whether bags are joined from clips.
        protocol: How the data is split and tested.
        features_sha256: Of what is learned from and tested on.
        code: What collected it.
        entries: The rows.
    """

    dataset: str
    title: str
    columns: tuple[Column, ...]
    parts: tuple[Place, ...]
    steps: int
    segments: int
    bags: tuple[int, int]
    average: float
    joined: bool
    protocol: Mapping[str, Any]
    features_sha256: str
    code: Code
    entries: tuple[Entry, ...]

    @property
    def lead(self) -> Column:
        """The figure that methods are ranked by."""
        return self.columns[0]

    def entry(self, name: str) -> Entry | None:
        """The row called so."""
        return next((entry for entry in self.entries if entry.name == name), None)

    @property
    def equal(self) -> League:
        """The league over the parts that most rows were trained on: on equal terms.

        Where there are none, all of it.
        """
        times = Counter(place for entry in self.entries for place in entry.tried)
        parts = tuple(place for place in self.parts if 2 * times[place] > len(self.entries))
        entries = tuple(entry.over(parts) for entry in self.entries)
        return replace(self, parts=parts, entries=entries) if parts else self

    @property
    def further(self) -> League | None:
        """The rows that were trained on other parts than most, over those that most of these have;
        None: there are no such rows."""
        equal = set(self.equal.parts)
        entries = tuple(entry for entry in self.entries if not entry.tried <= equal)
        return replace(self, entries=entries).equal if entries else None


def write_league(path: Path, league: League) -> None:
    """Write the file, whole or not at all.

    Raises:
        OddframeError: it cannot be written.
    """
    data = {"kind": KIND, "schema": SCHEMA, **asdict(league)}
    write_text(path, json_text(data, indent=1) + "\n")


def read_leagues(folder: Path) -> tuple[League, ...]:
    """The leagues of all benchmarks that have one in ``folder``.

    Raises:
        InputError: one cannot be read.
    """
    paths = (folder / f"{name}.json" for name in BENCHMARKS)
    return tuple(read_league(path) for path in paths if path.exists())


def read_league(path: Path) -> League:
    """Read it back.

    Raises:
        InputError: no such file, or not one of these.
    """
    return read_record(path, "a league", KIND, SCHEMA, _league)


def _league(data: dict[str, Any]) -> League:
    data |= {
        "columns": tuple(Column(**column) for column in data["columns"]),
        "parts": tuple(_place(part) for part in data["parts"]),
        "bags": _place(data["bags"]),
        "code": Code(**data["code"]),
        "entries": tuple(_entry(entry) for entry in data["entries"]),
    }
    return League(**data)


def _kept(data: Mapping[str, Any]) -> Kept:
    cost = Cost(**data["cost"]) if data["cost"] else None
    return Kept(figures_from(data["figures"]), cost, tuple(data["told"]), data["code"])


def _place(pair: Sequence[int]) -> Place:
    first, second = pair
    return int(first), int(second)


def _entry(data: dict[str, Any]) -> Entry:
    data |= {
        "trainings": tuple(_kept(each) for each in data["trainings"]),
        "notes": tuple(data["notes"]),
        "failed": tuple(Failure(**each) for each in data["failed"]),
    }
    return Entry(**data)
