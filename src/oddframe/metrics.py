"""Metrics of labels and scores: AUC, AP, false alarm rate (FAR), accuracy.

All but accuracy take weights, so that a snippet counts as its frames: XD-Violence's 2.33 million
test frames are 145,649 snippet scores. Ties are handled as in scikit-learn. A metric that is
undefined for its data (one class only, no frames) is ``nan``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oddframe.errors import InputError
from oddframe.timeline import FloatArray, ScoreTrack


@dataclass(frozen=True)
class _RankingCurve:
    """Cumulative weight of positives and negatives for each distinct score, highest score first."""

    true: FloatArray
    false: FloatArray

    def roc_auc(self) -> float:
        if not self.true.size or self.true[-1] == 0 or self.false[-1] == 0:
            return float("nan")
        recall = np.append(0.0, self.true / self.true[-1])
        return float(np.trapezoid(recall, np.append(0.0, self.false / self.false[-1])))

    def average_precision(self) -> float:
        if not self.true.size or self.true[-1] == 0:
            return float("nan")
        steps = np.diff(self.true / self.true[-1], prepend=0.0)
        return float(np.sum(steps * self.true / (self.true + self.false)))

    def trapezoid_ap(self) -> float:
        if not self.true.size or self.true[-1] == 0:
            return float("nan")
        precision = np.append(1.0, self.true / (self.true + self.false))
        return float(np.trapezoid(precision, np.append(0.0, self.true / self.true[-1])))


def _check_inputs(
    scores: ArrayLike, labels: ArrayLike | None = None, weights: ArrayLike | None = None
) -> tuple[FloatArray, NDArray[np.bool_], FloatArray]:
    """Check scores, labels and weights and convert them to arrays (n,).

    Args:
        scores: (n,) finite.
        labels: (n,) 0 or 1, or bool; None: all False.
        weights: (n,) finite, 0 or more; None: 1 each.

    Raises:
        InputError: one of them has another shape or other values.
    """
    s, w = _numbers(scores, "score"), None if weights is None else _numbers(weights, "weight")
    y = np.zeros(s.shape, bool) if labels is None else _array(labels, "label")
    if y.shape != s.shape:
        raise InputError(f"one label a score, in one row: got {y.shape} labels, {s.shape} scores")
    if y.dtype != np.bool_:
        if not np.isin(y, (0, 1)).all():
            raise InputError("labels must be 0 (normal) or 1 (anomalous)")
        y = y.astype(bool)
    if w is None:
        return s, y, np.ones(s.shape)
    if w.shape != s.shape:
        raise InputError(f"one weight a score, in one row: got {w.shape} weights, {s.shape} scores")
    if (w < 0).any():
        raise InputError(f"{int((w < 0).sum())} of {w.size} weights are negative; use 0 or more")
    with np.errstate(over="ignore"):
        if not np.isfinite(w.sum()):
            raise InputError("the sum of the weights is not finite; use smaller weights")
    return s, y, w


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


def _check_threshold(threshold: float) -> None:
    if np.isnan(threshold):
        raise InputError("a threshold must be a number, not nan")


def _curve(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None) -> _RankingCurve:
    s, y, w = _check_inputs(scores, labels, weights)
    if (w == 0).any():
        s, y, w = s[w > 0], y[w > 0], w[w > 0]
    order = np.argsort(-s, kind="stable")
    s, w = s[order], w[order]
    positive = np.where(y[order], w, 0.0)
    last_of_tie = np.flatnonzero(np.append(np.diff(s) != 0, True)) if s.size else np.arange(0)
    # Both are summed separately: total minus positives could be a rounding error instead of zero.
    return _RankingCurve(np.cumsum(positive)[last_of_tie], np.cumsum(w - positive)[last_of_tie])


def roc_auc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Area under the ROC curve, in [0, 1]; ties count half. ``nan`` with one class only.

    Args:
        labels: (n,) 0 or 1, or bool.
        scores: (n,) finite; higher is more anomalous.
        weights: (n,) not negative, for instance the number of frames of each score.

    Raises:
        InputError: shapes differ, or a score, label or weight is invalid.
    """
    return _curve(labels, scores, weights).roc_auc()


def average_precision(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None
) -> float:
    """Average precision Σ (Rᵢ − Rᵢ₋₁) Pᵢ; ``nan`` without positives. Arguments as ``roc_auc``."""
    return _curve(labels, scores, weights).average_precision()


def trapezoid_ap(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Area under the precision–recall curve by trapezoids, which UR-DMU's authors report as AP.

    The curve starts at recall 0, precision 1. On the published data, the value differs from
    ``average_precision`` in the third digit. ``nan`` without positives. Arguments as ``roc_auc``.
    """
    return _curve(labels, scores, weights).trapezoid_ap()


def false_alarm_rate(
    scores: ArrayLike, threshold: float = 0.5, weights: ArrayLike | None = None
) -> float:
    """Share of frames of normal videos that score above ``threshold`` (FAR); ``nan`` if empty.

    Args:
        scores: (n,) finite.
        threshold: Not ``nan``.
        weights: (n,) finite, 0 or more; None: 1 each.

    Raises:
        InputError: a score, a weight or the threshold is invalid.
    """
    s, _, w = _check_inputs(scores, weights=weights)
    _check_threshold(threshold)
    total = float(w.sum())
    return min(1.0, float(w[s > threshold].sum()) / total) if total > 0 else float("nan")


def accuracy(labels: ArrayLike, scores: ArrayLike, threshold: float = 0.5) -> float:
    """Share of scores on the right side of ``threshold`` (above: anomalous); ``nan`` if empty.

    Args:
        labels: (n,) 0 or 1, or bool.
        scores: (n,) finite.
        threshold: Not ``nan``.

    Raises:
        InputError: a label, a score or the threshold is invalid.
    """
    s, y, _ = _check_inputs(scores, labels)
    _check_threshold(threshold)
    return float(np.mean((s > threshold) == y)) if s.size else float("nan")


@dataclass(frozen=True)
class LabelledScores:
    """Scores and labels of one video: a row for each frame, or for each run of equal frames.

    Attributes:
        labels: (n,) bool, True for anomalous.
        scores: (n,) higher is more anomalous.
        weights: (n,) number of frames of each row; None: one each.
    """

    labels: NDArray[np.bool_]
    scores: FloatArray
    weights: FloatArray | None = None

    @property
    def abnormal(self) -> bool:
        """Whether the video has an anomalous frame."""
        return bool(self.labels.any())

    @classmethod
    def from_track(cls, track: ScoreTrack, labels: NDArray[np.bool_]) -> LabelledScores:
        """Combine a track with (n_frames,) frame labels; runs of equal score and label are one row.

        Raises:
            InputError: the number of labels is not the number of frames.
        """
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
    """Frame-level metrics over a set of videos, all in [0, 1]; ``nan`` where undefined.

    Attributes:
        auc: Area under the ROC curve over all frames of all videos together.
        ap: Average precision, ``average_precision``.
        ap_trapezoid: Area under the precision–recall curve, ``trapezoid_ap``, the paper's AP.
        auc_sub: ``auc`` over the frames of the abnormal videos alone.
        ap_sub: ``ap`` over the frames of the abnormal videos alone.
        far: Share of normal videos' frames that score above 0.5, the field's convention.
        n_frames: Number of frames.
        n_anomalous: Number of anomalous frames.
        n_videos: Number of videos.
        n_abnormal: Number of videos with at least one anomalous frame.
    """

    auc: float
    ap: float
    ap_trapezoid: float
    auc_sub: float
    ap_sub: float
    far: float
    n_frames: int
    n_anomalous: int
    n_videos: int
    n_abnormal: int


def _concatenate(
    videos: Sequence[LabelledScores],
) -> tuple[NDArray[np.bool_], FloatArray, FloatArray]:
    rows = [_check_inputs(v.scores, v.labels, v.weights) for v in videos]
    return (
        np.concatenate([np.zeros(0, bool), *(labels for _, labels, _ in rows)]),
        np.concatenate([np.zeros(0), *(scores for scores, _, _ in rows)]),
        np.concatenate([np.zeros(0), *(weights for _, _, weights in rows)]),
    )


def frame_metrics(videos: Sequence[LabelledScores]) -> FrameMetrics:
    """Compute all frame-level metrics over ``videos``.

    Raises:
        InputError: labels, scores or weights of a video are invalid, see ``roc_auc``.
    """
    abnormal = [v for v in videos if v.abnormal]
    labels, scores, weights = _concatenate(videos)
    all_frames = _curve(labels, scores, weights)
    abnormal_frames = _curve(*_concatenate(abnormal))
    _, normal_scores, normal_weights = _concatenate([v for v in videos if not v.abnormal])
    return FrameMetrics(
        auc=all_frames.roc_auc(),
        ap=all_frames.average_precision(),
        ap_trapezoid=all_frames.trapezoid_ap(),
        auc_sub=abnormal_frames.roc_auc(),
        ap_sub=abnormal_frames.average_precision(),
        far=false_alarm_rate(normal_scores, weights=normal_weights),
        n_frames=round(float(weights.sum())),
        n_anomalous=round(float(weights[labels].sum())),
        n_videos=len(videos),
        n_abnormal=len(abnormal),
    )
