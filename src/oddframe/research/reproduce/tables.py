"""The tables of the UR-DMU paper: their rows, what is trained for each, and the results.

Tables 3 to 6 remove parts of UR-DMU, as ``docs/methods/ur_dmu.md`` interprets them. The linear path
beside UR-DMU, which the paper does not have and which would compensate for a removed part, is
removed from all rows. Tables 1 and 2 compare methods. The table ``settings`` is this project's: the
published code against the paper's equations, one difference at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oddframe.errors import OddframeError, UsageError
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
from oddframe.research.grid import Session
from oddframe.research.grid_task import GridSetting, GridTask, find_training, record_path
from oddframe.research.protocol import TrainTestPart
from oddframe.research.published_results import load_published
from oddframe.research.records import TrainingRecord, current_code
from oddframe.timeline import FloatArray
from oddframe.training.config import MethodSection, RecipeSection, TrainConfig
from oddframe.training.configure import with_audio_dim, with_method

COMPARISON_TABLES = ("table1", "table2")
SETTINGS_TABLE = "settings"
TABLE_NAMES = ("table1", "table2", "table3", "table4", "table5", "table6", SETTINGS_TABLE)
# Data sets of the published tables, and the prefix of their figures.
_PUBLISHED_PREFIXES = {"ucf_crime": "ucf", "xd_violence": "xd"}
_DATASETS = {"table1": "ucf_crime", "table2": "xd_violence"}
UR_DMU = "ur_dmu"
_CHECK_MARK = "\N{CHECK MARK}"
# With fewer trainings per row, the interval is wider than any difference.
_MIN_TRAININGS = 3
_TITLES = {"ucf": "UCF-Crime", "xd": "XD-Violence"}
# Published figures that are shown for other data sets, to compare directions.
_LEADING = ("ucf_auc", "xd_ap")

_Settings = Mapping[str, Any]


@dataclass(frozen=True)
class RowSpec:
    """A row of a table.

    Attributes:
        key: Its key; a row that is only published has none.
        name: Its name in words.
        labels: Its cells in the table's leading columns.
        config: What is trained; None: the row is only published.
        published: Published figures in per cent, by name.
    """

    key: str
    name: str
    labels: tuple[str, ...]
    config: TrainConfig | None
    published: Mapping[str, float]


@dataclass(frozen=True)
class TableSpec:
    """A table before anything is trained.

    Attributes:
        name: ``table3``.
        title: Its title.
        labels: Headings of its leading columns.
        rows: Its rows in order.
        reference: Key of the row that the others are compared with.
        sources: Sources of the published figures.
    """

    name: str
    title: str
    labels: tuple[str, ...]
    rows: tuple[RowSpec, ...]
    reference: str
    sources: tuple[str, ...]


def table_spec(
    name: str, dataset: str, config: TrainConfig, methods: Sequence[str] = ()
) -> TableSpec:
    """The table ``name`` on a data set.

    Args:
        name: One of ``TABLE_NAMES``.
        dataset: Name of a benchmark.
        config: Configuration of the whole method, with the recipe of all rows.
        methods: Methods to compare with it in tables 1 and 2; none: all.

    Raises:
        UsageError: there is no such table or method, the table is of another data set, or the
            configuration is not of UR-DMU where parts of UR-DMU are removed.
    """
    if name not in TABLE_NAMES:
        raise UsageError(f"there is no table {name!r}, only {', '.join(TABLE_NAMES)}")
    if name in COMPARISON_TABLES:
        return _comparison(name, dataset, config, methods)
    if config.method.name != UR_DMU:
        raise UsageError(
            f"{name} is about UR-DMU, but the configuration is of {config.method.name}"
        )
    config = _without_linear_path(config)
    return _settings_table(config) if name == SETTINGS_TABLE else _ablation(name, config)


def _with_method_settings(config: TrainConfig, changes: _Settings) -> TrainConfig:
    """``config`` with changed settings of its method.

    Raises:
        UsageError: the method has no such settings.
    """
    changed = _replace_settings(config, {**config.method.config, **changes})
    changed.chosen_method()
    return changed


def _replace_settings(config: TrainConfig, settings: _Settings) -> TrainConfig:
    """``config`` with these settings of its method, and no others."""
    method = config.method.model_copy(update={"config": dict(settings)})
    return config.model_copy(update={"method": method})


def _without_linear_path(config: TrainConfig) -> TrainConfig:
    """UR-DMU as published, but of the size that it has in ``config``."""
    settings = config.method.config
    if not settings.get("shortcut"):
        return config
    kept = {name: value for name, value in settings.items() if name != "deep_share"}
    return _replace_settings(config, {**kept, "shortcut": False})


def _ablation(name: str, config: TrainConfig) -> TableSpec:
    table = load_published().tables[name]
    rows = []
    for row in table.rows:
        used = [label for label, on in zip(table.labels, row.key, strict=False) if on == "1"]
        row_name = " + ".join(used) + (" (the whole)" if "0" not in row.key else "")
        labels = tuple(_CHECK_MARK if on == "1" else "" for on in row.key)
        if name == "table4":
            row_name, labels = f"{row.key} slots", (row.key,)
        changed = _with_method_settings(config, _ABLATIONS[name](row.key))
        rows.append(RowSpec(row.key, row_name, labels, changed, row.figures))
    reference = "60" if name == "table4" else "1" * len(table.labels)
    source = load_published().source
    return TableSpec(name, table.title, table.labels, tuple(rows), reference, (source,))


def _memories(key: str) -> _Settings:
    return {"memory": {"10": "anomaly", "01": "normal", "11": "dual"}[key]}


def _slots(key: str) -> _Settings:
    return {"anomaly_slots": int(key), "normal_slots": int(key)}


def _loss_terms(key: str) -> _Settings:
    names = ("dm", "trip", "kl", "dis")
    return {"loss_weights": {name: 0.0 for name, on in zip(names, key, strict=True) if on == "0"}}


def _modules(key: str) -> _Settings:
    return {"memory": "dual" if key[1] == "1" else "none", "uncertainty": key[2] == "1"}


# By table: the settings of a row, from its key.
_ABLATIONS = {"table3": _memories, "table4": _slots, "table5": _loss_terms, "table6": _modules}


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
    others = (name for name in method_names() if name != own.name)
    rows += [
        (name, get_method(name).title, config_for_method(config, name))
        for name in others
        if not get_method(name).one_class
    ]
    return [row for row in rows if not methods or row is rows[0] or row[0] in methods]


def config_for_method(config: TrainConfig, name: str) -> TrainConfig:
    """``config`` for another method: the same features and bags, that method's own rate.

    Raises:
        UsageError: there is no such method.
    """
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
    """A column of published figures.

    Attributes:
        name: ``ucf_auc``.
        heading: Its heading.
        field: Field of the project's figures that it compares with; empty: it is of other data.
    """

    name: str
    heading: str
    field: str


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
    if wanted < _MIN_TRAININGS:
        plural = "s" * (wanted > 1)
        warnings.append(
            f"{wanted} training{plural} a row are not enough to compare rows: use more --seeds"
        )
    return warnings
