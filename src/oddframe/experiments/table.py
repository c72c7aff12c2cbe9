"""Figures -> a Markdown table: mean ± standard deviation over folds, differences with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from oddframe.errors import UsageError
from oddframe.experiments.figures import Figures
from oddframe.metrics import Interval, bootstrap_interval


@dataclass(frozen=True)
class Column:
    """A column: the field of ``Figures``, its heading, and what it is multiplied by."""

    field: str
    heading: str
    scale: float = 100.0


FRAME_COLUMNS = (
    Column("auc", "AUC"),
    Column("auc_sub", "AUC_sub"),
    Column("ap", "AP"),
    Column("ap_sub", "AP_sub"),
    Column("far", "FAR"),
    Column("found", "events found %"),
    Column("false_alarms_per_hour", "false alarms/h", 1.0),
)
CLIP_COLUMNS = (Column("clip_auc", "clip AUC"), Column("clip_accuracy", "clip accuracy"))


def markdown(rows: Mapping[str, Sequence[Figures]], columns: Sequence[Column]) -> str:
    """A row a name: mean ± standard deviation over folds; ``n/a`` where a figure is undefined."""
    lines = [
        "| | " + " | ".join(column.heading for column in columns) + " |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for name, figures in rows.items():
        cells = [_mean_std(_values(figures, column)) for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def paired_difference(
    ours: Sequence[Figures], theirs: Sequence[Figures], column: Column, draws: int = 2000
) -> Interval:
    """Mean of ours minus theirs over the same folds, 95 % interval by resampling folds.

    Raises:
        UsageError: the two do not stand on the same folds.
    """
    if [(f.repeat, f.fold) for f in ours] != [(f.repeat, f.fold) for f in theirs]:
        raise UsageError("a paired difference needs the same folds on both sides")
    differences = _values(ours, column) - _values(theirs, column)
    return bootstrap_interval(list(differences), lambda drawn: float(np.mean(drawn)), draws=draws)


def differences(
    rows: Mapping[str, Sequence[Figures]], baseline: str, columns: Sequence[Column]
) -> str:
    """A Markdown table of each row minus ``baseline``, paired, with 95 % intervals."""
    lines = [
        f"| minus {baseline} | " + " | ".join(column.heading for column in columns) + " |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for name, figures in rows.items():
        if name == baseline:
            continue
        cells = [interval_text(paired_difference(figures, rows[baseline], c), 1) for c in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def interval_text(interval: Interval, scale: float = 100.0) -> str:
    """``91.2 (88.0 to 93.9)``."""
    value, low, high = (scale * x for x in (interval.value, interval.low, interval.high))
    return f"{value:.1f} ({low:.1f} to {high:.1f})" if np.isfinite(value) else "n/a"


def _values(figures: Sequence[Figures], column: Column) -> np.ndarray:
    return np.array([column.scale * getattr(f, column.field) for f in figures])


def _mean_std(values: np.ndarray) -> str:
    values = values[np.isfinite(values)]
    return f"{values.mean():.1f} ± {values.std():.1f}" if values.size else "n/a"
