"""Columns of figure tables: means over folds, and paired differences between two rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oddframe.errors import UsageError
from oddframe.evaluation.confidence import Interval, mean_interval
from oddframe.research.fold_figures import FoldFigures
from oddframe.timeline import FloatArray

# With fewer trainings per row, the interval is wider than any difference.
MIN_TRAININGS = 3


@dataclass(frozen=True)
class FigureColumn:
    """A column: a field of ``FoldFigures``, its heading, and the factor it is shown with."""

    field: str
    heading: str
    scale: float = 100.0


FRAME_COLUMNS = (
    FigureColumn("auc", "AUC"),
    FigureColumn("auc_sub", "AUC_sub"),
    FigureColumn("ap", "AP"),
    FigureColumn("ap_sub", "AP_sub"),
    FigureColumn("far", "FAR"),
    FigureColumn("found", "events found %"),
    FigureColumn("false_alarms_per_hour", "false alarms/h", 1.0),
)
# What UR-DMU's authors report as AP; it differs from average precision in the third digit.
AP_TRAPEZOID = FigureColumn("ap_trapezoid", "AP (trapezoid)")
CLIP_COLUMNS = (
    FigureColumn("clip_auc", "clip AUC"),
    FigureColumn("clip_accuracy", "clip accuracy"),
)


def column_values(figures: Sequence[FoldFigures], column: FigureColumn) -> FloatArray:
    """(n,) the column's value of each fold, scaled."""
    return np.array([column.scale * getattr(f, column.field) for f in figures], dtype=np.float64)


def mean_std(values: FloatArray) -> str:
    """``91.2 ± 1.3`` of the values that are defined; ``n/a`` if none is."""
    values = values[np.isfinite(values)]
    return f"{values.mean():.1f} ± {values.std():.1f}" if values.size else "n/a"


def interval_text(interval: Interval, scale: float = 100.0) -> str:
    """``91.2 (88.0 to 93.9)``; only the value where there is no interval."""
    value, low, high = (scale * x for x in (interval.value, interval.low, interval.high))
    if not np.isfinite(value):
        return "n/a"
    return f"{value:.1f} ({low:.1f} to {high:.1f})" if np.isfinite(low) else f"{value:.1f}"


def paired_difference(
    first: Sequence[FoldFigures], second: Sequence[FoldFigures], column: FigureColumn
) -> Interval:
    """Mean of ``first`` minus ``second`` over the same folds, with a 95 % interval (Student's t).

    Folds share training data, which no interval over folds accounts for (Bengio and Grandvalet,
    JMLR 2004): it is a little too narrow for other data of the kind.

    Raises:
        UsageError: the two are not of the same folds.
    """
    if [(f.repeat, f.fold) for f in first] != [(f.repeat, f.fold) for f in second]:
        raise UsageError("a paired difference needs the same folds on both sides")
    return mean_interval((column_values(first, column) - column_values(second, column)).tolist())


def common_difference(
    first: Sequence[FoldFigures], second: Sequence[FoldFigures], column: FigureColumn
) -> Interval | None:
    """``paired_difference`` over the folds that both have; None: there are none."""
    by_fold = [{(f.repeat, f.fold): f for f in figures} for figures in (first, second)]
    common = [fold for fold in by_fold[0] if fold in by_fold[1]]
    if not common:
        return None
    shared, other = ([figures[fold] for fold in common] for figures in by_fold)
    return paired_difference(shared, other, column)
