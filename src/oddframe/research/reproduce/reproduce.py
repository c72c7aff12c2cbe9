"""A table of the paper, ours beside what was published: grid, figures, differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oddframe.errors import OddframeError
from oddframe.evaluation.confidence import Interval
from oddframe.research.benchmarks import BENCHMARKS, Benchmark
from oddframe.research.fold_figures import Figures
from oddframe.research.grid import known
from oddframe.research.grid_task import Setting, Task, record_path
from oddframe.research.provenance import code
from oddframe.research.records import Training
from oddframe.research.reproduce.tables import PREFIXES, Row, TableSpec
from oddframe.research.splits import Part
from oddframe.research.table import CLIP_COLUMNS, LEAST, Column, difference_in_common
from oddframe.timeline import FloatArray

# Ours that stands beside a published figure: its AP is the trapezoid.
_SAME = {
    "auc": "auc",
    "ap": "ap_trapezoid",
    "auc_sub": "auc_sub",
    "ap_sub": "ap_sub",
    "far": "far",
}
_TITLES = {"ucf": "UCF-Crime", "xd": "XD-Violence"}
# Of other data these are enough to compare directions.
_LEADING = ("ucf_auc", "xd_ap")
_NEED_THRESHOLDS = ("found", "false_alarms_per_hour", "clip_accuracy")


@dataclass(frozen=True)
class PublishedColumn:
    """A column of published figures.

    Attributes:
        name: ``ucf_auc``.
        heading: In print.
        beside: Field of our figures that it compares with; empty: it is of other data.
    """

    name: str
    heading: str
    beside: str


@dataclass(frozen=True)
class Line:
    """A row of a table with what was trained for it, by repeat and fold.

    Attributes:
        row: What it says, and what was published.
        records: Files of its trainings.
        trainings: Those that there are.
    """

    row: Row
    records: tuple[Path, ...]
    trainings: tuple[Training, ...]

    def figures(self, *, best_on_test: bool = False) -> tuple[Figures, ...]:
        """Of the last step, or of the best on test of those that looked."""
        if not best_on_test:
            return tuple(each.figures for each in self.trainings)
        found = (each.best_on_test for each in self.trainings)
        return tuple(best.figures for best in found if best is not None)


@dataclass(frozen=True)
class Reproduced:
    """A table as it is shown.

    Attributes:
        spec: Its rows, and where published figures come from.
        dataset: Name of the data set.
        data_title: In print.
        lines: A row each.
        columns: Our figures, the leading one first.
        published: Published ones.
        best_on_test: Whether the best step on the test set was asked for, too.
        wanted: Trainings a row.
        features_sha256: Of all that was learned from and tested on.
        warnings: What a reader should know before trusting it, a line each.
    """

    spec: TableSpec
    dataset: str
    data_title: str
    lines: tuple[Line, ...]
    columns: tuple[Column, ...]
    published: tuple[PublishedColumn, ...]
    best_on_test: bool
    wanted: int
    features_sha256: str
    warnings: tuple[str, ...]

    @property
    def reference(self) -> Line:
        """The row that the others are compared with."""
        return next(line for line in self.lines if line.row.key == self.spec.reference)

    @property
    def trained(self) -> tuple[Line, ...]:
        """The rows that are ours."""
        return tuple(line for line in self.lines if line.row.config is not None)

    def values(self, line: Line, column: Column, *, best_on_test: bool = False) -> FloatArray:
        """(n,) figures of a row's trainings, those that are defined; per cent."""
        found = line.figures(best_on_test=best_on_test)
        values = np.array([column.scale * getattr(f, column.field) for f in found], np.float64)
        defined: FloatArray = values[np.isfinite(values)]
        return defined

    def difference(
        self, line: Line, column: Column, *, best_on_test: bool = False
    ) -> Interval | None:
        """A row minus the reference over the trainings that both have; None: there are none.

        95 % by Student's t over trainings (draws, folds, seeds); of one there is no interval.
        """
        if line is self.reference:
            return None
        ours, theirs = (each.figures(best_on_test=best_on_test) for each in (line, self.reference))
        return difference_in_common(ours, theirs, column)


def columns_of(benchmark: Benchmark) -> tuple[Column, ...]:
    """The figures of a benchmark that need no threshold, the leading one first."""
    columns = benchmark.columns + (CLIP_COLUMNS if benchmark.clips else ())
    return tuple(column for column in columns if column.field not in _NEED_THRESHOLDS)


def tasks_of(spec: TableSpec, parts: Sequence[Part]) -> list[Task]:
    """All trainings of a table."""
    rows = [(row.name, row.config) for row in spec.rows if row.config is not None]
    return [Task(*row, part.repeat, part.fold) for part in parts for row in rows]


def collected(
    spec: TableSpec,
    setting: Setting,
    parts: Sequence[Part],
    failed: Sequence[tuple[Task, OddframeError]] = (),
) -> Reproduced:
    """The table from the records that there are."""
    benchmark = BENCHMARKS[setting.dataset]
    lines = tuple(_line(row, setting, parts) for row in spec.rows)
    return Reproduced(
        spec=spec,
        dataset=setting.dataset,
        data_title=benchmark.title,
        lines=lines,
        columns=columns_of(benchmark),
        published=published_columns(spec, setting.dataset),
        best_on_test=setting.best_on_test,
        wanted=len(parts),
        features_sha256=setting.features_sha256,
        warnings=tuple(_warnings(lines, len(parts), failed)),
    )


def _line(row: Row, setting: Setting, parts: Sequence[Part]) -> Line:
    if row.config is None:
        return Line(row, (), ())
    tasks = [Task(row.name, row.config, part.repeat, part.fold) for part in parts]
    found = [(record_path(task, setting), known(task, setting)) for task in tasks]
    there = [(path, training) for path, training in found if training is not None]
    return Line(row, tuple(path for path, _ in there), tuple(each for _, each in there))


def published_columns(spec: TableSpec, dataset: str) -> tuple[PublishedColumn, ...]:
    """Published figures that are shown: of the same data, or the leading ones of other data."""
    own = PREFIXES.get(dataset, "")
    shown = []
    for name in dict.fromkeys(name for row in spec.rows for name in row.published):
        prefix, _, rest = name.partition("_")
        prefix, figure = (prefix, rest) if prefix in _TITLES else ("", name)
        if prefix == own:
            shown.append(PublishedColumn(name, f"published {_words(figure)}", _SAME[figure]))
        elif not own and name in _LEADING:
            heading = f"published, {_TITLES[prefix]} {_words(figure)}"
            shown.append(PublishedColumn(name, heading, ""))
    return tuple(shown)


def _words(figure: str) -> str:
    name, _, sub = figure.partition("_")
    return f"{name.upper()}_{sub}" if sub else name.upper()


def _warnings(
    lines: Sequence[Line], wanted: int, failed: Sequence[tuple[Task, OddframeError]]
) -> list[str]:
    ours = [line for line in lines if line.row.config is not None]
    told = [
        f"{line.row.name}: {len(line.trainings)} of {wanted} trainings are there"
        for line in ours
        if len(line.trainings) < wanted
    ]
    told += list(dict.fromkeys(f"a training failed: {error}" for _, error in failed))
    trainings = [each for line in ours for each in line.trainings]
    others = [each for each in trainings if each.code.sha256 != code().sha256]
    if others:
        told.append(
            f"{len(others)} of {len(trainings)} trainings were made by other code than this "
            "(oddframe report show says which); --fresh makes them anew"
        )
    for line in ours:
        notes = [each for each in line.trainings if each.warnings]
        if notes:
            told.append(f"{line.row.name}: {len(notes)} trainings: {notes[0].warnings[-1]}")
    if wanted < LEAST:
        told.append(f"{wanted} training{'s' * (wanted > 1)} a row say little: use more --seeds")
    return told
