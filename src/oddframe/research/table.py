"""Figures -> a Markdown table: mean ± standard deviation over folds, differences with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from oddframe.errors import UsageError
from oddframe.evaluation.confidence import Interval, mean_interval
from oddframe.research.fold_figures import Figures
from oddframe.timeline import FloatArray

# Fewer trainings a row say little: the interval around two is wider than any difference.
LEAST = 3


@dataclass(frozen=True)
class Column:
    """A column: the field of ``Metrics``, its heading, and what it is multiplied by."""

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
        cells = [mean_std(values_of(figures, column)) for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def paired_difference(
    ours: Sequence[Figures], theirs: Sequence[Figures], column: Column
) -> Interval:
    """Mean of ours minus theirs over the same folds, with its 95 % interval by Student's t.

    Folds share what they are trained on, which no interval over folds makes up for (Bengio and
    Grandvalet, JMLR 2004): it is a little too narrow for other data of the kind.

    Raises:
        UsageError: the two do not stand on the same folds.
    """
    if [(f.repeat, f.fold) for f in ours] != [(f.repeat, f.fold) for f in theirs]:
        raise UsageError("a paired difference needs the same folds on both sides")
    return mean_interval((values_of(ours, column) - values_of(theirs, column)).tolist())


def difference_in_common(
    ours: Sequence[Figures], theirs: Sequence[Figures], column: Column
) -> Interval | None:
    """``paired_difference`` over the folds that both have; None: there are none."""
    mine, others = ({(f.repeat, f.fold): f for f in each} for each in (ours, theirs))
    both = [place for place in mine if place in others]
    if not both:
        return None
    return paired_difference([mine[p] for p in both], [others[p] for p in both], column)


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
    """``91.2 (88.0 to 93.9)``; the figure alone where it has no interval."""
    value, low, high = (scale * x for x in (interval.value, interval.low, interval.high))
    if not np.isfinite(value):
        return "n/a"
    return f"{value:.1f} ({low:.1f} to {high:.1f})" if np.isfinite(low) else f"{value:.1f}"


def values_of(figures: Sequence[Figures], column: Column) -> FloatArray:
    """(n,) what a column shows of each, scaled."""
    return np.array([column.scale * getattr(f, column.field) for f in figures])


def mean_std(values: FloatArray) -> str:
    """``91.2 ± 1.3`` of those that are defined; ``n/a`` if none is."""
    values = values[np.isfinite(values)]
    return f"{values.mean():.1f} ± {values.std():.1f}" if values.size else "n/a"
