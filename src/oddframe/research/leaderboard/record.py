"""The record of a league on one benchmark: figures, costs, failures, and what was run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from oddframe.research.benchmarks import BENCHMARKS
from oddframe.research.fold_figures import FigureColumn, FoldFigures
from oddframe.research.records import CodeVersion, Cost, RecordFormat

PartId = tuple[int, int]
"""Repeat (draw or seed) and fold of a part."""


@dataclass(frozen=True)
class FailedTraining:
    """A training without figures, and why it failed."""

    repeat: int
    fold: int
    reason: str

    @property
    def part_id(self) -> PartId:
        """Its repeat and fold."""
        return self.repeat, self.fold


@dataclass(frozen=True)
class EntryTraining:
    """What a league keeps of one training.

    Attributes:
        figures: Of the network after the last step; with repeat and fold.
        cost: Its cost, if known.
        warnings: Its warnings, a line each; ``told`` in the file.
        code: Digest of the code that trained.
    """

    figures: FoldFigures
    cost: Cost | None
    warnings: Annotated[tuple[str, ...], Field(alias="told")]
    code: str

    @property
    def part_id(self) -> PartId:
        """Its repeat and fold."""
        return self.figures.repeat, self.figures.fold


@dataclass(frozen=True)
class LeagueEntry:
    """A row of a league: one method.

    Attributes:
        name: Its name on the command line.
        title: Its name in tables.
        method: Name of the method in the registry.
        recipe: The method's own part of the recipe: optimiser, rate, weight decay, clipping.
        digest: Digest of everything that its trainings depend on, except repeat and fold.
        trainings: The finished trainings.
        notes: What to know before trusting its figures, a line each.
        failed: The failed trainings.
    """

    name: str
    title: str
    method: str
    recipe: str
    digest: str
    trainings: tuple[EntryTraining, ...]
    notes: tuple[str, ...]
    failed: tuple[FailedTraining, ...]

    @property
    def figures(self) -> tuple[FoldFigures, ...]:
        """The figures of each training."""
        return tuple(each.figures for each in self.trainings)

    @property
    def costs(self) -> tuple[Cost, ...]:
        """The costs that are known."""
        return tuple(each.cost for each in self.trainings if each.cost is not None)

    @property
    def figures_by_part(self) -> dict[PartId, FoldFigures]:
        """The figures of each training by repeat and fold."""
        return {each.part_id: each.figures for each in self.trainings}

    @property
    def attempted(self) -> frozenset[PartId]:
        """The parts of finished and failed trainings."""
        return frozenset(self.figures_by_part).union(each.part_id for each in self.failed)

    def restricted_to(self, parts: Collection[PartId]) -> LeagueEntry:
        """Only its trainings on these parts; its notes stay those of all trainings."""
        return replace(
            self,
            trainings=tuple(each for each in self.trainings if each.part_id in parts),
            failed=tuple(each for each in self.failed if each.part_id in parts),
        )


@dataclass(frozen=True)
class League:
    """The league on one benchmark.

    Attributes:
        dataset: Name of the benchmark's data set.
        title: Name of the benchmark in tables.
        columns: The figures, the leading one first.
        parts: Repeat and fold of every part that a row was trained on.
        steps: Steps of every training.
        segments: Segments of a bag.
        bags: Normal and abnormal bags per step.
        average: Decay of the moving average of the weights.
        joined: Whether bags are joined from clips.
        protocol: How the data is split and tested.
        features_sha256: Digest of the features that are trained and tested on.
        code: The code that collected the record.
        entries: The rows.
    """

    dataset: str
    title: str
    columns: tuple[FigureColumn, ...]
    parts: tuple[PartId, ...]
    steps: int
    segments: int
    bags: tuple[int, int]
    average: float
    joined: bool
    protocol: Mapping[str, Any]
    features_sha256: str
    code: CodeVersion
    entries: tuple[LeagueEntry, ...]

    @property
    def lead(self) -> FigureColumn:
        """The figure that methods are ranked by."""
        return self.columns[0]

    def entry(self, name: str) -> LeagueEntry | None:
        """The row of a name."""
        return next((entry for entry in self.entries if entry.name == name), None)

    @property
    def on_equal_terms(self) -> League:
        """The league over the parts that most rows were trained on; all parts if there are none."""
        counts = Counter(part for entry in self.entries for part in entry.attempted)
        parts = tuple(part for part in self.parts if 2 * counts[part] > len(self.entries))
        entries = tuple(entry.restricted_to(parts) for entry in self.entries)
        return replace(self, parts=parts, entries=entries) if parts else self

    @property
    def with_extra_repeats(self) -> League | None:
        """The rows that were trained on more parts than most rows, over the parts that most of them
        have; None: there are no such rows."""
        common = set(self.on_equal_terms.parts)
        entries = tuple(entry for entry in self.entries if not entry.attempted <= common)
        return replace(self, entries=entries).on_equal_terms if entries else None


LEAGUE_FORMAT = RecordFormat(League, "oddframe league", 2, "a league")

read_league, write_league = LEAGUE_FORMAT.read, LEAGUE_FORMAT.write


def read_leagues(folder: Path) -> tuple[League, ...]:
    """The leagues of all benchmarks that have a record in ``folder``.

    Raises:
        InputError: a record cannot be read.
    """
    paths = (folder / f"{name}.json" for name in BENCHMARKS)
    return tuple(read_league(path) for path in paths if path.exists())
