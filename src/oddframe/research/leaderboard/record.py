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
from oddframe.research.protocol import PartId
from oddframe.research.records import CodeVersion, Cost, RecordFormat


@dataclass(frozen=True)
class FailedTraining:
    """A training without figures, and why it failed."""

    repeat: int
    fold: int
    reason: str

    @property
    def part_id(self) -> PartId:
        return self.repeat, self.fold


@dataclass(frozen=True)
class EntryTraining:
    """What a league keeps of one training; ``code`` is the digest of the code that trained."""

    figures: FoldFigures
    cost: Cost | None
    warnings: Annotated[tuple[str, ...], Field(alias="told")]
    code: str


@dataclass(frozen=True)
class LeagueEntry:
    """A row of a league: one method, with its finished and failed trainings.

    Attributes:
        recipe: The method's own part of the recipe: optimiser, rate, weight decay, clipping.
        digest: Of everything that its trainings depend on, except repeat and fold.
        notes: What to know before trusting its figures, a line each.
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
        return tuple(each.figures for each in self.trainings)

    @property
    def costs(self) -> tuple[Cost, ...]:
        return tuple(each.cost for each in self.trainings if each.cost is not None)

    @property
    def figures_by_part(self) -> dict[PartId, FoldFigures]:
        return {each.figures.part_id: each.figures for each in self.trainings}

    @property
    def attempted(self) -> frozenset[PartId]:
        """The parts of finished and failed trainings."""
        return frozenset(self.figures_by_part).union(each.part_id for each in self.failed)

    def restricted_to(self, parts: Collection[PartId]) -> LeagueEntry:
        """Only its trainings on these parts; its notes stay those of all trainings."""
        return replace(
            self,
            trainings=tuple(each for each in self.trainings if each.figures.part_id in parts),
            failed=tuple(each for each in self.failed if each.part_id in parts),
        )


@dataclass(frozen=True)
class League:
    """The league on one benchmark.

    Attributes:
        columns: The figures; methods are ranked by the first one.
        parts: Repeat and fold of every part that a row was trained on.
        bags: Normal and abnormal bags per step.
        average: Decay of the moving average of the weights.
        joined: Whether bags are joined from clips.
        code: The code that collected the record.
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
        return self.columns[0]

    def entry(self, name: str) -> LeagueEntry | None:
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
    """The leagues of all benchmarks that have a record in ``folder``."""
    paths = (folder / f"{name}.json" for name in BENCHMARKS)
    return tuple(read_league(path) for path in paths if path.exists())
