"""The figures of a fold, the columns of tables that show them, and differences between rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from oddframe.errors import UsageError
from oddframe.evaluation.confidence import Interval, mean_interval
from oddframe.evaluation.localisation import localise, mean_average_precision
from oddframe.events import EventRule, calibrate_threshold, find_events, match_events
from oddframe.metrics import accuracy, roc_auc
from oddframe.timeline import FloatArray

if TYPE_CHECKING:
    from oddframe.research.fold_training import FoldResult
    from oddframe.research.protocol import PartId


Figure = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A number that records write as null where it is undefined."""


@dataclass(frozen=True)
class FoldFigures:
    """The figures of one fold; shares and areas in [0, 1].

    Attributes:
        ap_trapezoid: AP as UR-DMU's authors compute it.
        auc_sub: Frame AUC over the abnormal videos alone; ``ap_sub`` likewise.
        far: Share of normal videos' frames that score above 0.5.
        found: Share of true intervals that an event overlaps, at the calibrated threshold.
        false_alarms_per_hour: Events that overlap no true interval, per hour of test video.
        clip_accuracy: Accuracy of single clips, at the best threshold of the other folds.
        interval_precision: Mean average precision of intervals over ``OVERLAPS``; records that are
            older than this figure do not have it.
    """

    repeat: int
    fold: int
    auc: Figure
    ap: Figure
    ap_trapezoid: Figure
    auc_sub: Figure
    ap_sub: Figure
    far: Figure
    found: Figure
    false_alarms_per_hour: Figure
    clip_auc: Figure
    clip_accuracy: Figure
    interval_precision: Annotated[Figure, Field(exclude_if=math.isnan)] = math.nan

    @property
    def part_id(self) -> PartId:
        return self.repeat, self.fold


def compute_fold_figures(
    results: Sequence[FoldResult], rule: EventRule, false_alarms_per_hour: float
) -> tuple[FoldFigures, ...]:
    """The figures of each fold; thresholds are calibrated to ``false_alarms_per_hour``.

    A threshold never comes from the fold that it is tested on. The threshold of a fold's events is
    calibrated on the normal videos of the other folds of its repeat, scored by models that did not
    train on them; that of its clips comes from the same folds. In a repeat of one part there are no
    other folds, and figures that need a threshold are ``nan``.
    """
    return tuple(_fold_figures(result, results, rule, false_alarms_per_hour) for result in results)


def _fold_figures(
    result: FoldResult, results: Sequence[FoldResult], rule: EventRule, rate: float
) -> FoldFigures:
    others = [r for r in results if r.repeat == result.repeat and r.fold != result.fold]
    found = false_alarms = clip_accuracy = math.nan
    labels = clip_labels(result)
    if others:
        found, false_alarms = _event_figures(result, others, rule, rate)
        threshold = _best_threshold(
            np.concatenate([clip_labels(other) for other in others]),
            np.concatenate([other.clip_scores for other in others]),
        )
        clip_accuracy = accuracy(labels, result.clip_scores, threshold)
    frames = ("auc", "ap", "ap_trapezoid", "auc_sub", "ap_sub", "far")
    return FoldFigures(
        repeat=result.repeat,
        fold=result.fold,
        **{name: getattr(result.frames, name) for name in frames},
        found=found,
        false_alarms_per_hour=false_alarms,
        clip_auc=roc_auc(labels, result.clip_scores),
        clip_accuracy=clip_accuracy,
        interval_precision=_interval_precision(result),
    )


def _interval_precision(result: FoldResult) -> float:
    pairs = zip(result.videos, result.tracks, strict=True)
    localised = [localise(track, video.truth) for video, track in pairs]
    return float(np.mean(list(mean_average_precision(localised).values())))


def _event_figures(
    result: FoldResult, others: Sequence[FoldResult], rule: EventRule, rate: float
) -> tuple[float, float]:
    """Share of true intervals found, and false alarms per hour, at the other folds' threshold."""
    normal = [
        track
        for other in others
        for video, track in zip(other.videos, other.tracks, strict=True)
        if not video.abnormal
    ]
    rule = rule.with_threshold(calibrate_threshold(normal, rate, rule).threshold)
    matches = [
        match_events(find_events(track, rule), video.truth)
        for video, track in zip(result.videos, result.tracks, strict=True)
    ]
    found, true = sum(m.found for m in matches), sum(m.found + m.missed for m in matches)
    hours = sum(track.timebase.covered_s for track in result.tracks) / 3600
    return found / true if true else math.nan, sum(m.false for m in matches) / hours


def clip_labels(result: FoldResult) -> NDArray[np.bool_]:
    """(n_clips,) which test clips are abnormal."""
    return np.array([clip.abnormal for clip in result.clips], dtype=bool)


def _best_threshold(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """The threshold with the highest accuracy, halfway between two scores; of equal ones the
    middle one."""
    levels = np.unique(scores)
    cuts = np.concatenate([[levels[0] - 1], (levels[1:] + levels[:-1]) / 2, [levels[-1]]])
    accuracies = np.array([accuracy(labels, scores, float(cut)) for cut in cuts])
    best = np.flatnonzero(accuracies == accuracies.max())
    return float(cuts[best[len(best) // 2]])


@dataclass(frozen=True)
class FigureColumn:
    """A column: a field of ``FoldFigures``, its heading, and the factor it is shown with."""

    field: str
    heading: str
    scale: float = 100.0

    def value(self, figures: FoldFigures) -> float:
        found: float = self.scale * getattr(figures, self.field)
        return found


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
INTERVAL_PRECISION = FigureColumn("interval_precision", "mAP@tIoU")
CLIP_COLUMNS = (
    FigureColumn("clip_auc", "clip AUC"),
    FigureColumn("clip_accuracy", "clip accuracy"),
)


def column_values(figures: Sequence[FoldFigures], column: FigureColumn) -> FloatArray:
    """(n,) the column's value of each fold, scaled."""
    return np.array([column.value(each) for each in figures], dtype=np.float64)


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
    """
    if [f.part_id for f in first] != [f.part_id for f in second]:
        raise UsageError("a paired difference needs the same folds on both sides")
    return mean_interval((column_values(first, column) - column_values(second, column)).tolist())


def common_difference(
    first: Sequence[FoldFigures], second: Sequence[FoldFigures], column: FigureColumn
) -> Interval | None:
    """``paired_difference`` over the folds that both have; None: there are none."""
    theirs = {figures.part_id: figures for figures in second}
    pairs = [(each, theirs[each.part_id]) for each in first if each.part_id in theirs]
    if not pairs:
        return None
    ours, others = zip(*pairs, strict=True)
    return paired_difference(ours, others, column)
