"""A reproduced table: the project's figures beside the published ones, and their differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oddframe.errors import OddframeError
from oddframe.evaluation.confidence import Interval
from oddframe.research.benchmarks import get_benchmark
from oddframe.research.figure_columns import (
    MIN_TRAININGS,
    FigureColumn,
    column_values,
    common_difference,
)
from oddframe.research.fold_figures import FoldFigures
from oddframe.research.grid_task import GridSetting, GridTask, find_training, record_path
from oddframe.research.protocol import TrainTestPart
from oddframe.research.provenance import current_code
from oddframe.research.records import TrainingRecord
from oddframe.research.reproduce.tables import PUBLISHED_PREFIXES, RowSpec, TableSpec
from oddframe.research.session import Session
from oddframe.timeline import FloatArray

# Field of the project's figures that a published figure compares with: its AP is the trapezoid.
_FIELDS = {
    "auc": "auc",
    "ap": "ap_trapezoid",
    "auc_sub": "auc_sub",
    "ap_sub": "ap_sub",
    "far": "far",
}
_TITLES = {"ucf": "UCF-Crime", "xd": "XD-Violence"}
# Published figures that are shown for other data sets, to compare directions.
_LEADING = ("ucf_auc", "xd_ap")


@dataclass(frozen=True)
class PublishedColumn:
    """A column of published figures.

    Attributes:
        name: ``ucf_auc``.
        heading: Its heading.
        beside: Field of the project's figures that it compares with; empty: it is of other data.
    """

    name: str
    heading: str
    beside: str


@dataclass(frozen=True)
class ReproducedRow:
    """A row of a table with its trainings, by repeat and fold.

    Attributes:
        row: The row's specification.
        records: Files of its trainings.
        trainings: The trainings.
    """

    row: RowSpec
    records: tuple[Path, ...]
    trainings: tuple[TrainingRecord, ...]

    def figures(self, *, best_on_test: bool = False) -> tuple[FoldFigures, ...]:
        """Figures of the last step, or of the best step on the test set where there is one."""
        if not best_on_test:
            return tuple(each.figures for each in self.trainings)
        found = (each.best_on_test for each in self.trainings)
        return tuple(best.figures for best in found if best is not None)


@dataclass(frozen=True)
class ReproducedTable:
    """A reproduced table.

    Attributes:
        spec: Its rows, and the sources of published figures.
        dataset: Name of the data set.
        data_title: Title of the benchmark.
        lines: The rows with their trainings.
        columns: The project's figures, the leading one first.
        published: The published figures.
        best_on_test: Whether figures of the best step on the test set are shown, too.
        wanted: Trainings per row.
        features_sha256: Digest of the features that are trained and tested on.
        warnings: What a reader should know before trusting the table, a line each.
    """

    spec: TableSpec
    dataset: str
    data_title: str
    lines: tuple[ReproducedRow, ...]
    columns: tuple[FigureColumn, ...]
    published: tuple[PublishedColumn, ...]
    best_on_test: bool
    wanted: int
    features_sha256: str
    warnings: tuple[str, ...]

    @property
    def reference(self) -> ReproducedRow:
        """The row that the others are compared with."""
        return next(line for line in self.lines if line.row.key == self.spec.reference)

    @property
    def trained(self) -> tuple[ReproducedRow, ...]:
        """The rows that are trained."""
        return tuple(line for line in self.lines if line.row.config is not None)

    @property
    def trainings(self) -> list[TrainingRecord]:
        """The trainings of all rows."""
        return [training for line in self.trained for training in line.trainings]

    @property
    def selections(self) -> tuple[bool, ...]:
        """Values of ``best_on_test`` for which figures are shown."""
        return (False, True) if self.best_on_test else (False,)

    def values(
        self, line: ReproducedRow, column: FigureColumn, *, best_on_test: bool = False
    ) -> FloatArray:
        """(n,) the defined figures of a row's trainings; per cent."""
        values = column_values(line.figures(best_on_test=best_on_test), column)
        return values[np.isfinite(values)]

    def difference(
        self, line: ReproducedRow, column: FigureColumn, *, best_on_test: bool = False
    ) -> Interval | None:
        """A row minus the reference over the trainings that both have; None: there are none.

        With a 95 % interval (Student's t) over trainings, if there are several.
        """
        if line is self.reference:
            return None
        reference = self.reference.figures(best_on_test=best_on_test)
        return common_difference(line.figures(best_on_test=best_on_test), reference, column)


def table_tasks(spec: TableSpec, parts: Sequence[TrainTestPart]) -> list[GridTask]:
    """All trainings of a table."""
    rows = [(row.name, row.config) for row in spec.rows if row.config is not None]
    return [GridTask(*row, part.repeat, part.fold) for part in parts for row in rows]


def collect_table(
    session: Session,
    spec: TableSpec,
    failed: Sequence[tuple[GridTask, OddframeError]] = (),
) -> ReproducedTable:
    """The table from the records that exist by now."""
    setting, wanted = session.setting, len(session.parts)
    benchmark = get_benchmark(setting.dataset)
    lines = tuple(_collect_row(row, setting, session.parts) for row in spec.rows)
    return ReproducedTable(
        spec=spec,
        dataset=setting.dataset,
        data_title=benchmark.title,
        lines=lines,
        columns=benchmark.training_columns,
        published=published_columns(spec, setting.dataset),
        best_on_test=setting.best_on_test,
        wanted=wanted,
        features_sha256=setting.features_sha256,
        warnings=tuple(_warnings(lines, wanted, failed)),
    )


def _collect_row(
    row: RowSpec, setting: GridSetting, parts: Sequence[TrainTestPart]
) -> ReproducedRow:
    if row.config is None:
        return ReproducedRow(row, (), ())
    records, trainings = [], []
    for part in parts:
        task = GridTask(row.name, row.config, part.repeat, part.fold)
        if (training := find_training(task, setting)) is not None:
            records.append(record_path(task, setting))
            trainings.append(training)
    return ReproducedRow(row, tuple(records), tuple(trainings))


def published_columns(spec: TableSpec, dataset: str) -> tuple[PublishedColumn, ...]:
    """The published figures of the data set; if it has none, the leading ones of other data."""
    own = PUBLISHED_PREFIXES.get(dataset, "")
    columns = []
    for name in dict.fromkeys(name for row in spec.rows for name in row.published):
        prefix, _, figure = name.partition("_")
        if prefix not in _TITLES:
            prefix, figure = "", name
        # "auc_sub" is printed as AUC_sub.
        measure, *subset = figure.split("_")
        printed = "_".join([measure.upper(), *subset])
        if prefix == own:
            columns.append(PublishedColumn(name, f"published {printed}", _FIELDS[figure]))
        elif not own and name in _LEADING:
            columns.append(PublishedColumn(name, f"published, {_TITLES[prefix]} {printed}", ""))
    return tuple(columns)


def _warnings(
    lines: Sequence[ReproducedRow], wanted: int, failed: Sequence[tuple[GridTask, OddframeError]]
) -> list[str]:
    trained = [line for line in lines if line.row.config is not None]
    warnings = [
        f"{line.row.name}: {len(line.trainings)} of {wanted} trainings are done"
        for line in trained
        if len(line.trainings) < wanted
    ]
    warnings += dict.fromkeys(f"a training failed: {error}" for _, error in failed)
    trainings = [each for line in trained for each in line.trainings]
    others = [each for each in trainings if each.code.sha256 != current_code().sha256]
    if others:
        warnings.append(
            f"{len(others)} of {len(trainings)} trainings were run by other code than this "
            "(oddframe report show says which); --fresh repeats them"
        )
    for line in trained:
        notes = [each for each in line.trainings if each.warnings]
        if notes:
            warnings.append(f"{line.row.name}: {len(notes)} trainings: {notes[0].warnings[-1]}")
    if wanted < MIN_TRAININGS:
        plural = "s" * (wanted > 1)
        warnings.append(
            f"{wanted} training{plural} a row are not enough to compare rows: use more --seeds"
        )
    return warnings
