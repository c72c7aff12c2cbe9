"""Metrics of labels and scores: AUC, AP, false alarm rate (FAR), accuracy.

All but accuracy take weights, so that a snippet counts as its frames. Ties are handled as in
scikit-learn. A metric that is undefined for its data (one class only, no frames) is ``nan``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oddframe.errors import InputError
from oddframe.timeline import FloatArray, ScoreTrack


def _check_inputs(
    scores: ArrayLike, labels: ArrayLike | None = None, weights: ArrayLike | None = None
) -> tuple[FloatArray, NDArray[np.bool_], FloatArray]:
    """Check and convert scores, labels (None: all False) and weights (None: 1 each), (n,) each."""
    s = _numbers(scores, "score")
    w = np.ones(s.shape) if weights is None else _numbers(weights, "weight")
    y = np.zeros(s.shape, bool) if labels is None else _array(labels, "label")
    for what, row in (("label", y), ("weight", w)):
        if row.shape != s.shape:
            raise InputError(
                f"one {what} a score, in one row: got {row.shape} {what}s, {s.shape} scores"
            )
    if y.dtype != np.bool_ and not np.isin(y, (0, 1)).all():
        raise InputError("labels must be 0 (normal) or 1 (anomalous)")
    if (w < 0).any():
        raise InputError(f"{int((w < 0).sum())} of {w.size} weights are negative; use 0 or more")
    with np.errstate(over="ignore"):
        if not np.isfinite(w.sum()):
            raise InputError("the sum of the weights is not finite; use smaller weights")
    return s, y.astype(bool), w


def _array(values: ArrayLike, what: str) -> NDArray[Any]:
    try:
        found = np.asarray(values)
    except ValueError:  # Rows of different lengths.
        raise InputError(f"{what}s must be in one row") from None
    if found.ndim != 1:
        raise InputError(f"{what}s must be in one row, not of shape {found.shape}")
    return found


def _numbers(values: ArrayLike, what: str) -> FloatArray:
    found = _array(values, what)
    if found.size and found.dtype.kind not in "biuf":
        raise InputError(f"{what}s must be numbers, not {found.dtype}")
    with np.errstate(over="ignore"):
        numbers = found.astype(np.float64, copy=False)
    bad = int((~np.isfinite(numbers)).sum())
    if bad:
        raise InputError(f"{bad} of {found.size} {what}s are not finite")
    return numbers


def _ranking_curve(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None
) -> tuple[FloatArray, FloatArray]:
    """Cumulative weight of positives and negatives for each distinct score, highest score first."""
    s, y, w = _check_inputs(scores, labels, weights)
    if (w == 0).any():
        s, y, w = s[w > 0], y[w > 0], w[w > 0]
    order = np.argsort(-s, kind="stable")
    s, w = s[order], w[order]
    positive = np.where(y[order], w, 0.0)
    last_of_tie = np.flatnonzero(np.append(np.diff(s) != 0, True)) if s.size else np.arange(0)
    # Both are summed separately: total minus positives could be a rounding error instead of zero.
    return np.cumsum(positive)[last_of_tie], np.cumsum(w - positive)[last_of_tie]


def roc_auc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Area under the ROC curve, in [0, 1]; ties count half. ``nan`` with one class only."""
    true, false = _ranking_curve(labels, scores, weights)
    if not true.size or true[-1] == 0 or false[-1] == 0:
        return float("nan")
    recall = np.append(0.0, true / true[-1])
    return float(np.trapezoid(recall, np.append(0.0, false / false[-1])))


def average_precision(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None
) -> float:
    """Average precision Σ (Rᵢ − Rᵢ₋₁) Pᵢ; ``nan`` without positives."""
    true, false = _ranking_curve(labels, scores, weights)
    if not true.size or true[-1] == 0:
        return float("nan")
    steps = np.diff(true / true[-1], prepend=0.0)
    return float(np.sum(steps * true / (true + false)))


def trapezoid_ap(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Area under the precision–recall curve by trapezoids, which UR-DMU's authors report as AP.

    The curve starts at recall 0, precision 1. On the published data, the value differs from
    ``average_precision`` in the third digit. ``nan`` without positives.
    """
    true, false = _ranking_curve(labels, scores, weights)
    if not true.size or true[-1] == 0:
        return float("nan")
    precision = np.append(1.0, true / (true + false))
    return float(np.trapezoid(precision, np.append(0.0, true / true[-1])))


def false_alarm_rate(scores: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Share of frames of normal videos that score above 0.5 (FAR); ``nan`` if empty."""
    s, _, w = _check_inputs(scores, weights=weights)
    total = float(w.sum())
    return min(1.0, float(w[s > 0.5].sum()) / total) if total > 0 else float("nan")


def accuracy(labels: ArrayLike, scores: ArrayLike, threshold: float = 0.5) -> float:
    """Share of scores on the right side of ``threshold`` (above: anomalous); ``nan`` if empty."""
    s, y, _ = _check_inputs(scores, labels)
    if np.isnan(threshold):
        raise InputError("a threshold must be a number, not nan")
    return float(np.mean((s > threshold) == y)) if s.size else float("nan")


@dataclass(frozen=True)
class LabelledScores:
    """Scores and labels of one video: (n,) rows, one for each frame or run of equal frames."""

    labels: NDArray[np.bool_]
    scores: FloatArray
    weights: FloatArray | None = None  # Number of frames of each row; None: one each.

    @property
    def abnormal(self) -> bool:
        """Whether the video has an anomalous frame."""
        return bool(self.labels.any())

    @classmethod
    def from_track(cls, track: ScoreTrack, labels: NDArray[np.bool_]) -> LabelledScores:
        """Join a track and (n_frames,) frame labels; runs of equal score and label are one row."""
        frames = track.to_frames()
        if labels.shape != frames.shape:
            raise InputError(f"{len(frames)} frames, but labels of shape {labels.shape}")
        labels = labels.astype(bool)
        changed = np.append(True, (np.diff(frames) != 0) | (labels[1:] != labels[:-1]))
        starts = np.flatnonzero(changed)
        runs = np.diff(np.append(starts, len(frames))).astype(np.float64)
        return cls(labels[starts], frames[starts], runs)


@dataclass(frozen=True)
class FrameMetrics:
    """Frame-level metrics over a set of videos, all in [0, 1]; ``nan`` where undefined."""

    auc: float  # Over all frames of all videos together.
    ap: float
    ap_trapezoid: float  # The paper's AP, see ``trapezoid_ap``.
    auc_sub: float  # Over the frames of the abnormal videos alone.
    ap_sub: float
    far: float  # Share of normal videos' frames that score above 0.5, the field's convention.
    n_frames: int
    n_anomalous: int
    n_videos: int
    n_abnormal: int  # Videos with at least one anomalous frame.


def _concatenate(
    videos: Sequence[LabelledScores],
) -> tuple[NDArray[np.bool_], FloatArray, FloatArray]:
    rows = [_check_inputs(v.scores, v.labels, v.weights) for v in videos]
    scores, labels, weights = zip(*rows, strict=True) if rows else ((), (), ())
    return (
        np.concatenate([np.zeros(0, bool), *labels]),
        np.concatenate([np.zeros(0), *scores]),
        np.concatenate([np.zeros(0), *weights]),
    )


def frame_metrics(videos: Sequence[LabelledScores]) -> FrameMetrics:
    """Compute all frame-level metrics over ``videos``."""
    abnormal = [v for v in videos if v.abnormal]
    every, sub = _concatenate(videos), _concatenate(abnormal)
    labels, _, weights = every
    _, normal_scores, normal_weights = _concatenate([v for v in videos if not v.abnormal])
    return FrameMetrics(
        auc=roc_auc(*every),
        ap=average_precision(*every),
        ap_trapezoid=trapezoid_ap(*every),
        auc_sub=roc_auc(*sub),
        ap_sub=average_precision(*sub),
        far=false_alarm_rate(normal_scores, normal_weights),
        n_frames=round(float(weights.sum())),
        n_anomalous=round(float(weights[labels].sum())),
        n_videos=len(videos),
        n_abnormal=len(abnormal),
    )
