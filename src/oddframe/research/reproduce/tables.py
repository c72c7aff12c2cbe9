"""The tables of the UR-DMU paper: their rows, what is trained for each, and the results.

Tables 3 to 6 remove parts of UR-DMU, as ``docs/methods/ur_dmu.md`` interprets them, always without
the linear path, which the paper does not have and which would compensate for a removed part. Tables
1 and 2 compare methods; ``settings`` compares the published code with the paper's equations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oddframe.errors import UsageError
from oddframe.evaluation.confidence import Interval
from oddframe.methods.mil.urdmu_network import PAPER_SETTINGS
from oddframe.methods.registry import get_method, method_names
from oddframe.research.benchmarks import get_benchmark
from oddframe.research.fold_figures import (
    FigureColumn,
    FoldFigures,
    column_values,
    common_difference,
)
from oddframe.research.grid import FailedTask, Session
from oddframe.research.grid_task import GridTask, find_training, record_path
from oddframe.research.protocol import TrainTestPart
from oddframe.research.published_results import load_published
from oddframe.research.records import TrainingRecord, current_code
from oddframe.timeline import FloatArray
from oddframe.training.config import MethodSection, RecipeSection, TrainConfig
from oddframe.training.configure import with_audio_dim, with_method

COMPARISON_TABLES = ("table1", "table2")
SETTINGS_TABLE = "settings"
LAST_STEP, BEST_STEP = "last step", "best on test"
TABLE_NAMES = ("table1", "table2", "table3", "table4", "table5", "table6", SETTINGS_TABLE)
# Data sets of the published tables, and the prefix of their figures.
_PUBLISHED_PREFIXES = {"ucf_crime": "ucf", "xd_violence": "xd"}
_DATASETS = {"table1": "ucf_crime", "table2": "xd_violence"}
UR_DMU = "ur_dmu"
# With fewer trainings per row, the interval is wider than any difference.
_MIN_TRAININGS = 3
_TITLES = {"ucf": "UCF-Crime", "xd": "XD-Violence"}
# Published figures that are shown for other data sets, to compare directions.
_LEADING = ("ucf_auc", "xd_ap")

_Settings = Mapping[str, Any]


@dataclass(frozen=True)
class RowSpec:
    """A row of a table; one that is only published has no key and no configuration."""

    key: str
    name: str
    labels: tuple[str, ...]  # Cells of the table's leading columns.
    config: TrainConfig | None
    published: Mapping[str, float]  # Per cent, by name.


@dataclass(frozen=True)
class TableSpec:
    """A table before anything is trained."""

    name: str
    title: str
    labels: tuple[str, ...]  # Headings of the leading columns.
    rows: tuple[RowSpec, ...]
    reference: str  # Key of the row that the others are compared with.
    sources: tuple[str, ...]  # Of the published figures.


def table_spec(
    name: str, dataset: str, config: TrainConfig, methods: Sequence[str] = ()
) -> TableSpec:
    """The table ``name`` on a data set; ``config`` is the whole method with the recipe of all rows.

    ``methods`` are compared with it in tables 1 and 2; none: all.
    """
    if name not in TABLE_NAMES:
        raise UsageError(f"there is no table {name!r}, only {', '.join(TABLE_NAMES)}")
    if name in COMPARISON_TABLES:
        return _comparison(name, dataset, config, methods)
    if config.method.name != UR_DMU:
        raise UsageError(
            f"{name} is about UR-DMU, but the configuration is of {config.method.name}"
        )
    settings = dict(config.method.config)
    if settings.get("shortcut"):  # UR-DMU as published, but of the size that it has here.
        settings.pop("deep_share", None)
        config = _replace_settings(config, settings | {"shortcut": False})
    return _settings_table(config) if name == SETTINGS_TABLE else _ablation(name, config)


def _with_method_settings(config: TrainConfig, changes: _Settings) -> TrainConfig:
    changed = _replace_settings(config, {**config.method.config, **changes})
    changed.chosen_method()  # Refuses settings that the method does not have.
    return changed


def _replace_settings(config: TrainConfig, settings: _Settings) -> TrainConfig:
    """``config`` with these settings of its method, and no others."""
    method = config.method.model_copy(update={"config": dict(settings)})
    return config.model_copy(update={"method": method})


def _ablation(name: str, config: TrainConfig) -> TableSpec:
    table = load_published().tables[name]
    rows = []
    for row in table.rows:
        used = [label for label, on in zip(table.labels, row.key, strict=False) if on == "1"]
        row_name = " + ".join(used) + (" (the whole)" if "0" not in row.key else "")
        labels = tuple("\N{CHECK MARK}" if on == "1" else "" for on in row.key)
        if name == "table4":
            row_name, labels = f"{row.key} slots", (row.key,)
        changed = _with_method_settings(config, _ablation_settings(name, row.key))
        rows.append(RowSpec(row.key, row_name, labels, changed, row.figures))
    reference = "60" if name == "table4" else "1" * len(table.labels)
    source = load_published().source
    return TableSpec(name, table.title, table.labels, tuple(rows), reference, (source,))


def _ablation_settings(table: str, key: str) -> _Settings:
    """The settings of a row, from its key."""
    if table == "table3":
        return {"memory": {"10": "anomaly", "01": "normal", "11": "dual"}[key]}
    if table == "table4":
        return {"anomaly_slots": int(key), "normal_slots": int(key)}
    if table == "table5":
        terms = zip(("dm", "trip", "kl", "dis"), key, strict=True)
        return {"loss_weights": {name: 0.0 for name, on in terms if on == "0"}}
    return {"memory": "dual" if key[1] == "1" else "none", "uncertainty": key[2] == "1"}


def _settings_table(config: TrainConfig) -> TableSpec:
    official = {"variant": "official"}
    rows = [("official", "published code", official)]
    rows += [(f"{k}_{v}", f"{k}: {v}", official | {k: v}) for k, v in PAPER_SETTINGS.items()]
    rows.append(("paper", "the paper's equations, all of them", {"variant": "paper"}))
    # A setting in the configuration would override that of the variant.
    others = {k: v for k, v in config.method.config.items() if k not in PAPER_SETTINGS}
    base = _replace_settings(config, others)
    specs = tuple(
        RowSpec(key, name, (name,), _with_method_settings(base, changes), {})
        for key, name, changes in rows
    )
    title = "Published code against the paper's equations"
    return TableSpec(SETTINGS_TABLE, title, ("settings",), specs, "official", ())


def _comparison(name: str, dataset: str, config: TrainConfig, methods: Sequence[str]) -> TableSpec:
    own_dataset = _DATASETS[name]
    if dataset in _PUBLISHED_PREFIXES and dataset != own_dataset:
        other = next(table for table, each in _DATASETS.items() if each == dataset)
        raise UsageError(f"{name} is about {own_dataset}; {dataset} is in {other}")
    published = load_published()
    table = published.tables[name]
    title, rows, labels = table.title, table.rows, table.labels
    sources: tuple[str, ...] = (published.source,)
    if dataset != own_dataset:  # Rows of other data are not comparable.
        title, rows, labels = "Methods", published.elsewhere.get(dataset, ()), ("method", "year")
        sources = tuple(dict.fromkeys(row.source for row in rows))
    specs = []
    for row in rows:
        cells = (*row.labels, *[""] * (len(labels) - len(row.labels)))
        specs.append(RowSpec("", ", ".join(row.labels), cells, None, row.figures))
    for key, method_title, trained in _compared_methods(config, methods):
        method = trained.chosen_method()[0]
        supervision = "unsupervised" if method.unsupervised else "weak"
        row_name = f"{method_title} (ours)"
        further = (supervision if label == "supervision" else "" for label in labels[2:])
        specs.append(RowSpec(key, row_name, (row_name, str(method.year), *further), trained, {}))
    return TableSpec(name, title, labels, tuple(specs), config.method.name, sources)


def _compared_methods(
    config: TrainConfig, methods: Sequence[str]
) -> list[tuple[str, str, TrainConfig]]:
    """Key, title and configuration of the reference method and of those called ``methods``; all
    that are trained by steps if there are no names."""
    for name in methods:
        if get_method(name).one_class:
            raise UsageError(f"{name} learns from normal videos only and is in no table")
    own = config.chosen_method()[0]
    rows = [(own.name, own.title, config)]
    if own.name == UR_DMU:
        paper = _with_method_settings(config, {"variant": "paper"})
        if paper.chosen_method()[1] != config.chosen_method()[1]:
            rows.append(("paper", f"{own.title}, the paper's equations", paper))
    rows += [
        (name, get_method(name).title, config_for_method(config, name))
        for name in method_names()
        if name != own.name and not get_method(name).one_class
    ]
    return [row for row in rows if not methods or row is rows[0] or row[0] in methods]


def config_for_method(config: TrainConfig, name: str) -> TrainConfig:
    """``config`` for another method: the same features and bags, that method's own rate."""
    if name == config.method.name:
        return config
    if name == "linear":
        return linear_baseline(config)
    return with_audio_dim(with_method(config, name), config.features.backbone)


def linear_baseline(config: TrainConfig) -> TrainConfig:
    """Linear top-k MIL on the same features and bags, standardised, by its own recipe."""
    recipe = config.full_recipe()
    same = {name: getattr(recipe, name) for name in ("segments", "normal_bags", "abnormal_bags")}
    changes = {
        "method": MethodSection(name="linear"),
        "recipe": RecipeSection(**same, seed=config.recipe.seed),
        "standardise": True,
    }
    return config.model_copy(update=changes)


@dataclass(frozen=True)
class PublishedColumn:
    """A column of published figures, ``ucf_auc``."""

    name: str
    heading: str
    field: str  # Of ``FoldFigures``, which it compares with; empty: it is of other data.


@dataclass(frozen=True)
class ReproducedRow:
    """A row of a table with its trainings, by repeat and fold, and the files of their records."""

    row: RowSpec
    records: tuple[Path, ...]
    trainings: tuple[TrainingRecord, ...]

    def figures(self, selection: str = LAST_STEP) -> tuple[FoldFigures, ...]:
        """Figures of the last step, or of the best step on the test set where there is one."""
        if selection == LAST_STEP:
            return tuple(each.figures for each in self.trainings)
        found = (each.best_on_test for each in self.trainings)
        return tuple(best.figures for best in found if best is not None)


@dataclass(frozen=True)
class ReproducedTable:
    """A table of the published and of this project's figures, the leading column first."""

    spec: TableSpec
    dataset: str
    data_title: str
    lines: tuple[ReproducedRow, ...]
    columns: tuple[FigureColumn, ...]
    published: tuple[PublishedColumn, ...]
    best_on_test: bool
    wanted: int  # Trainings per row.
    features_sha256: str
    warnings: tuple[str, ...]

    @property
    def reference(self) -> ReproducedRow:
        return next(line for line in self.lines if line.row.key == self.spec.reference)

    @property
    def trained(self) -> tuple[ReproducedRow, ...]:
        return tuple(line for line in self.lines if line.row.config is not None)

    @property
    def trainings(self) -> list[TrainingRecord]:
        return [training for line in self.trained for training in line.trainings]

    @property
    def selections(self) -> tuple[str, ...]:
        return (LAST_STEP, BEST_STEP) if self.best_on_test else (LAST_STEP,)

    def values(
        self, line: ReproducedRow, column: FigureColumn, selection: str = LAST_STEP
    ) -> FloatArray:
        """(n,) the defined figures of a row's trainings; per cent."""
        values = column_values(line.figures(selection), column)
        return values[np.isfinite(values)]

    def difference(
        self, line: ReproducedRow, column: FigureColumn, selection: str = LAST_STEP
    ) -> Interval | None:
        """A row minus the reference over the trainings that both have; None: there are none."""
        if line is self.reference:
            return None
        reference = self.reference.figures(selection)
        return common_difference(line.figures(selection), reference, column)


def table_tasks(spec: TableSpec, parts: Sequence[TrainTestPart]) -> list[GridTask]:
    """All trainings of a table, part by part."""
    return [task for part in parts for row in spec.rows for task in _row_tasks(row, [part])]


def _row_tasks(row: RowSpec, parts: Sequence[TrainTestPart]) -> list[GridTask]:
    config = row.config
    return [GridTask(row.name, config, *part.part_id) for part in parts] if config else []


def collect_table(
    session: Session, spec: TableSpec, failed: Sequence[FailedTask] = ()
) -> ReproducedTable:
    """The table from the records that exist by now."""
    setting, wanted = session.setting, len(session.parts)
    benchmark = get_benchmark(setting.dataset)
    lines = tuple(_collect_row(row, session) for row in spec.rows)
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


def _collect_row(row: RowSpec, session: Session) -> ReproducedRow:
    found = {}
    for task in _row_tasks(row, session.parts):
        if (training := find_training(task, session.setting)) is not None:
            found[record_path(task, session.setting)] = training
    return ReproducedRow(row, tuple(found), tuple(found.values()))


def published_columns(spec: TableSpec, dataset: str) -> tuple[PublishedColumn, ...]:
    """The published figures of the data set; if it has none, the leading ones of other data."""
    own = _PUBLISHED_PREFIXES.get(dataset, "")
    columns = []
    for name in dict.fromkeys(name for row in spec.rows for name in row.published):
        prefix, _, figure = name.partition("_")
        if prefix not in _TITLES:
            prefix, figure = "", name
        # "auc_sub" is printed as AUC_sub.
        measure, *subset = figure.split("_")
        printed = "_".join([measure.upper(), *subset])
        if prefix == own:
            field = "ap_trapezoid" if figure == "ap" else figure  # The published AP.
            columns.append(PublishedColumn(name, f"published {printed}", field))
        elif not own and name in _LEADING:
            columns.append(PublishedColumn(name, f"published, {_TITLES[prefix]} {printed}", ""))
    return tuple(columns)


def _warnings(
    lines: Sequence[ReproducedRow], wanted: int, failed: Sequence[FailedTask]
) -> list[str]:
    trained = [line for line in lines if line.row.config is not None]
    warnings = [
        f"{line.row.name}: {len(line.trainings)} of {wanted} trainings are done"
        for line in trained
        if len(line.trainings) < wanted
    ]
    warnings += dict.fromkeys(f"a training failed: {error}" for _, error in failed)
    trainings = [each for line in trained for each in line.trainings]
    if others := [each for each in trainings if each.code.sha256 != current_code().sha256]:
        warnings.append(
            f"{len(others)} of {len(trainings)} trainings were run by other code than this "
            "(oddframe report show says which); --fresh repeats them"
        )
    for line in trained:
        if notes := [each for each in line.trainings if each.warnings]:
            warnings.append(f"{line.row.name}: {len(notes)} trainings: {notes[0].warnings[-1]}")
    if wanted < _MIN_TRAININGS:
        rows = f"{wanted} training{'s' * (wanted > 1)} a row are"
        warnings.append(f"{rows} not enough to compare rows: use more --seeds")
    return warnings
