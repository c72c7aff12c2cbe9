"""The figures of a fold: frame metrics, clip metrics, and events at a calibrated threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator

from oddframe.events import EventRule, calibrate_threshold, find_events, match_events
from oddframe.metrics import accuracy, roc_auc

if TYPE_CHECKING:
    from oddframe.research.fold_training import FoldResult

Figure = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A number that records write as null where it is undefined."""


@dataclass(frozen=True)
class FoldFigures:
    """The figures of one fold; shares and areas in [0, 1].

    Attributes:
        repeat: Number of the repeat.
        fold: Number of the fold in it.
        auc: Frame AUC over all test videos.
        ap: Step-wise average precision.
        ap_trapezoid: AP as UR-DMU's authors compute it.
        auc_sub: Frame AUC over the abnormal videos alone.
        ap_sub: AP over the abnormal videos alone.
        far: Share of normal videos' frames that score above 0.5.
        found: Share of true intervals that an event overlaps, at the calibrated threshold.
        false_alarms_per_hour: Events that overlap no true interval, per hour of test video.
        clip_auc: AUC of single clips.
        clip_accuracy: Accuracy of single clips, at the best threshold of the other folds.
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


def compute_fold_figures(
    results: Sequence[FoldResult], rule: EventRule, false_alarms_per_hour: float
) -> tuple[FoldFigures, ...]:
    """The figures of each fold.

    A threshold never comes from the fold that it is tested on. The threshold of a fold's events is
    calibrated on the normal videos of the other folds of its repeat, scored by models that did not
    train on them; that of its clips comes from the same folds. In a repeat of one part there are no
    other folds, and figures that need a threshold are ``nan``.

    Args:
        results: Results of all folds.
        rule: How scores become events; its threshold is not used.
        false_alarms_per_hour: The rate that thresholds are calibrated to.
    """
    return tuple(_fold_figures(result, results, rule, false_alarms_per_hour) for result in results)


def _fold_figures(
    result: FoldResult, results: Sequence[FoldResult], rule: EventRule, rate: float
) -> FoldFigures:
    others = [r for r in results if r.repeat == result.repeat and r.fold != result.fold]
    found = false_alarms = clip_accuracy = float("nan")
    labels = clip_labels(result)
    if others:
        found, false_alarms = _event_figures(result, others, rule, rate)
        threshold = _best_threshold(
            np.concatenate([clip_labels(other) for other in others]),
            np.concatenate([other.clip_scores for other in others]),
        )
        clip_accuracy = accuracy(labels, result.clip_scores, threshold)
    frames = result.frames
    return FoldFigures(
        repeat=result.repeat,
        fold=result.fold,
        auc=frames.auc,
        ap=frames.ap,
        ap_trapezoid=frames.ap_trapezoid,
        auc_sub=frames.auc_sub,
        ap_sub=frames.ap_sub,
        far=frames.far,
        found=found,
        false_alarms_per_hour=false_alarms,
        clip_auc=roc_auc(labels, result.clip_scores),
        clip_accuracy=clip_accuracy,
    )


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
    return found / true if true else float("nan"), sum(m.false for m in matches) / hours


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
