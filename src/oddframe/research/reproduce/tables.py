"""The paper's tables as what is trained: which rows there are, and how each one's config differs.

Tables 3 to 6 leave out parts of UR-DMU, by the reading that ``docs/methods/ur_dmu.md`` gives. A
linear path beside it, which the paper does not have and which would make up for missing parts, is
left out of all rows.
Tables 1 and 2 compare methods. ``settings`` is ours: the published code against the paper's
equations, one difference at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oddframe.errors import UsageError
from oddframe.methods.registry import get_method, method_names
from oddframe.methods.urdmu.config import PAPER_SETTINGS
from oddframe.research.benchmarks import baseline
from oddframe.research.published_results import PublishedRow, published
from oddframe.training.audio_config import with_audio_dim
from oddframe.training.config import TrainConfig
from oddframe.training.config_files import with_method

COMPARISONS = ("table1", "table2")
SETTINGS = "settings"
TABLES = ("table1", "table2", "table3", "table4", "table5", "table6", SETTINGS)
# What the published tables are on, and how their figures are called.
PREFIXES = {"ucf_crime": "ucf", "xd_violence": "xd"}
_OF = {"table1": "ucf_crime", "table2": "xd_violence"}
_UR_DMU = "ur_dmu"
_THERE, _NOT = "\N{CHECK MARK}", ""

Changes = Mapping[str, Any]
_Ours = tuple[str, str, int, TrainConfig]


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        key: What it is called by; a row that is only published has none.
        name: What it is, in words.
        labels: What it says in the table's leading columns.
        config: What is trained; None: only published.
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
        title: In print.
        labels: Headings of its leading columns.
        rows: In order.
        reference: Key of the row that the others are compared with.
        sources: Where published figures come from, a line each.
    """

    name: str
    title: str
    labels: tuple[str, ...]
    rows: tuple[Row, ...]
    reference: str
    sources: tuple[str, ...]


def table_of(
    name: str, dataset: str, config: TrainConfig, methods: Sequence[str] = ()
) -> TableSpec:
    """The table ``name`` on a data set, its whole method as in ``config``.

    Args:
        name: One of ``TABLES``.
        dataset: Name of a benchmark.
        config: Of the whole method, with the recipe of all rows.
        methods: Which of ours stand beside the whole method in tables 1 and 2; none named: all.

    Raises:
        UsageError: there is no such table or method, the table is of another data set, or the
            config is not UR-DMU's where parts of UR-DMU are left out.
    """
    if name not in TABLES:
        raise UsageError(f"there is no table {name!r}, only {', '.join(TABLES)}")
    if name in COMPARISONS:
        return _comparison(name, dataset, config, methods)
    if config.method.name != _UR_DMU:
        raise UsageError(f"{name} is of UR-DMU, but the configuration is of {config.method.name}")
    config = _without_linear_path(config)
    if name == SETTINGS:
        return _settings(config)
    about = published().tables[name]
    rows = tuple(
        Row(
            row.key,
            _name(name, row.key, about.labels),
            _marks(name, row.key),
            changed(config, _CUTS[name](row.key)),
            row.figures,
        )
        for row in about.rows
    )
    whole = "60" if name == "table4" else "1" * len(about.labels)
    return TableSpec(name, about.title, about.labels, rows, whole, (published().source,))


def changed(config: TrainConfig, changes: Changes) -> TrainConfig:
    """``config`` with other settings of its method.

    Raises:
        UsageError: the method does not take them.
    """
    new = _of_settings(config, {**config.method.config, **changes})
    new.chosen_method()
    return new


def _of_settings(config: TrainConfig, settings: Changes) -> TrainConfig:
    """``config`` with these settings of its method, and no others."""
    method = config.method.model_copy(update={"config": dict(settings)})
    return config.model_copy(update={"method": method})


def _without_linear_path(config: TrainConfig) -> TrainConfig:
    """UR-DMU as published: other settings, such as its size, stay."""
    own = config.method.config
    if not own.get("shortcut"):
        return config
    kept = {name: value for name, value in own.items() if name != "deep_share"}
    return _of_settings(config, {**kept, "shortcut": False})


def _memory(key: str) -> Changes:
    return {"memory": {"10": "anomaly", "01": "normal", "11": "dual"}[key]}


def _slots(key: str) -> Changes:
    return {"anomaly_slots": int(key), "normal_slots": int(key)}


def _terms(key: str) -> Changes:
    names = ("dm", "trip", "kl", "dis")
    return {"loss_weights": {name: 0.0 for name, on in zip(names, key, strict=True) if on == "0"}}


def _modules(key: str) -> Changes:
    return {"memory": "dual" if key[1] == "1" else "none", "uncertainty": key[2] == "1"}


_CUTS = {"table3": _memory, "table4": _slots, "table5": _terms, "table6": _modules}


def _marks(name: str, key: str) -> tuple[str, ...]:
    return (key,) if name == "table4" else tuple(_THERE if on == "1" else _NOT for on in key)


def _name(name: str, key: str, labels: tuple[str, ...]) -> str:
    if name == "table4":
        return f"{key} slots"
    there = " + ".join(label for label, on in zip(labels, key, strict=True) if on == "1")
    return f"{there} (the whole)" if "0" not in key else there


def _settings(config: TrainConfig) -> TableSpec:
    official = {"variant": "official"}
    rows = [("official", "published code", official)]
    rows += [(f"{k}_{v}", f"{k}: {v}", official | {k: v}) for k, v in PAPER_SETTINGS.items()]
    rows.append(("paper", "the paper's equations, all of them", {"variant": "paper"}))
    # A setting that the config itself gives would hide what a variant sets.
    plain = {k: v for k, v in config.method.config.items() if k not in PAPER_SETTINGS}
    base = _of_settings(config, plain)
    made = tuple(Row(key, words, (words,), changed(base, new), {}) for key, words, new in rows)
    title = "Published code against the paper's equations"
    return TableSpec(SETTINGS, title, ("settings",), made, "official", ())


def _comparison(name: str, dataset: str, config: TrainConfig, methods: Sequence[str]) -> TableSpec:
    of = _OF[name]
    if dataset in PREFIXES and dataset != of:
        other = next(table for table, each in _OF.items() if each == dataset)
        raise UsageError(f"{name} is of {of}; {dataset} is in {other}")
    about, known = published().tables[name], published()
    rows, labels = about.rows, about.labels
    sources = [known.source]
    if dataset != of:  # Rows of other data say nothing here.
        rows, labels = known.elsewhere.get(dataset, ()), ("method", "year")
        sources = list(dict.fromkeys(row.source for row in rows))
    made = [Row("", ", ".join(row.labels), _cells(row, labels), None, row.figures) for row in rows]
    made += [
        Row(
            key,
            f"{title} (ours)",
            (f"{title} (ours)", str(year), *_about(each, labels[2:])),
            each,
            {},
        )
        for key, title, year, each in _chosen(_ours(config), methods)
    ]
    title = about.title if dataset == of else "Methods"
    return TableSpec(name, title, labels, tuple(made), config.method.name, tuple(sources))


def _cells(row: PublishedRow, labels: tuple[str, ...]) -> tuple[str, ...]:
    return (*row.labels, *[""] * (len(labels) - len(row.labels)))


def _about(config: TrainConfig, labels: tuple[str, ...]) -> tuple[str, ...]:
    told = "unsupervised" if config.chosen_method()[0].unsupervised else "weak"
    return tuple(told if label == "supervision" else "" for label in labels)


def _ours(config: TrainConfig) -> list[_Ours]:
    """Key, title, year and config of every method that is trained by steps, the config's first."""
    own = config.chosen_method()[0]
    made = [(own.name, own.title, own.year, config)]
    if own.name == _UR_DMU:
        paper = changed(config, {"variant": "paper"})
        if paper.chosen_method()[1] != config.chosen_method()[1]:
            made.append(("paper", f"{own.title}, the paper's equations", own.year, paper))
    for name in method_names():
        method = get_method(name)
        if name != own.name and not method.one_class:
            made.append((name, method.title, method.year, method_config(config, name)))
    return made


def _chosen(ours: list[_Ours], methods: Sequence[str]) -> list[_Ours]:
    """The first, with which others are compared, and those that are called ``methods``."""
    for name in methods:
        if get_method(name).one_class:
            raise UsageError(f"{name} learns from normal videos alone and is in no table")
    return [each for each in ours if not methods or each is ours[0] or each[0] in methods]


def method_config(config: TrainConfig, name: str) -> TrainConfig:
    """``config`` for another method: the same features and bags, that one's own rate.

    Raises:
        UsageError: there is no such method.
    """
    if name == config.method.name:
        return config
    if name == "linear":
        return baseline(config)
    return with_audio_dim(with_method(config, name), config.features.backbone)
