"""Labels and scores -> figures: AUC, AP, FAR, accuracy.

Everything takes weights, so that a snippet stands for its frames: XD-Violence's 2.33 million test
frames are 145,649 snippet scores. Ties are handled as scikit-learn does; a figure that its data do
not define (one class only, no frames) is ``nan``, never an error.
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
    """Weight of the positives and negatives that score at least each distinct score, descending."""

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


def _rows(
    scores: ArrayLike, labels: ArrayLike | None = None, weights: ArrayLike | None = None
) -> tuple[FloatArray, NDArray[np.bool_], FloatArray]:
    """(n,) scores, labels and weights as every figure takes them.

    Args:
        scores: (n,) finite.
        labels: (n,) 0 or 1, or bool; None: all False.
        weights: (n,) finite, 0 or more; None: 1 each.

    Raises:
        InputError: one of them is not as said.
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
    s, y, w = _rows(scores, labels, weights)
    if (w == 0).any():
        s, y, w = s[w > 0], y[w > 0], w[w > 0]
    order = np.argsort(-s, kind="stable")
    s, w = s[order], w[order]
    positive = np.where(y[order], w, 0.0)
    last_of_tie = np.flatnonzero(np.append(np.diff(s) != 0, True)) if s.size else np.arange(0)
    # Summed apart: total minus positives would leave a rounding error where a zero must be.
    return _RankingCurve(np.cumsum(positive)[last_of_tie], np.cumsum(w - positive)[last_of_tie])


def roc_auc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Area under the ROC curve, in [0, 1]; ties count half. ``nan`` with one class only.

    Args:
        labels: (n,) 0 or 1, or bool.
        scores: (n,) finite; higher is odder.
        weights: (n,) not negative, for instance the number of frames that a score stands for.

    Raises:
        InputError: shapes differ, or a score, label or weight is not as said.
    """
    return _curve(labels, scores, weights).roc_auc()


def average_precision(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None
) -> float:
    """Average precision by steps, Σ (Rᵢ − Rᵢ₋₁) Pᵢ; ``nan`` without positives. As ``roc_auc``."""
    return _curve(labels, scores, weights).average_precision()


def trapezoid_ap(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Area under the precision–recall curve by trapezoids, what UR-DMU's authors report as AP.

    It starts at recall 0, precision 1. Differs from ``average_precision`` in the third digit on
    the published data; ``nan`` without positives. As ``roc_auc``.
    """
    return _curve(labels, scores, weights).trapezoid_ap()


def false_alarm_rate(
    scores: ArrayLike, threshold: float = 0.5, weights: ArrayLike | None = None
) -> float:
    """Share of frames of normal videos that score above ``threshold_for_rate`` (FAR); ``nan`` if
    empty.

    Args:
        scores: (n,) finite.
        threshold: Not ``nan``.
        weights: (n,) finite, 0 or more; None: 1 each.

    Raises:
        InputError: a score, a weight or the threshold is not as said.
    """
    s, _, w = _rows(scores, weights=weights)
    _check_threshold(threshold)
    total = float(w.sum())
    return min(1.0, float(w[s > threshold].sum()) / total) if total > 0 else float("nan")


def accuracy(labels: ArrayLike, scores: ArrayLike, threshold: float = 0.5) -> float:
    """Share of scores on the right side of ``threshold_for_rate`` (above it: anomalous); ``nan``
    if empty.

    Args:
        labels: (n,) 0 or 1, or bool.
        scores: (n,) finite.
        threshold: Not ``nan``.

    Raises:
        InputError: a label, a score or the threshold is not as said.
    """
    s, y, _ = _rows(scores, labels)
    _check_threshold(threshold)
    return float(np.mean((s > threshold) == y)) if s.size else float("nan")


@dataclass(frozen=True)
class LabelledScores:
    """Scores of one video with the truth: a row per frame, or per run of frames with weights.

    Attributes:
        labels: (n,) bool, True where anomalous.
        scores: (n,) higher is odder.
        weights: (n,) how many frames a row stands for; None: one each.
    """

    labels: NDArray[np.bool_]
    scores: FloatArray
    weights: FloatArray | None = None

    @property
    def abnormal(self) -> bool:
        """Whether anything anomalous happens in this video."""
        return bool(self.labels.any())

    @classmethod
    def from_track(cls, track: ScoreTrack, labels: NDArray[np.bool_]) -> LabelledScores:
        """From a track and (n_frames,) frame labels; runs of equal score and label become one row.

        Raises:
            InputError: not one label a frame.
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
    """Frame-level figures over a set of videos, all in [0, 1]; ``nan`` where undefined.

    Attributes:
        auc: Area under the ROC over all frames of all videos together.
        ap: Step-wise average precision.
        ap_trapezoid: Trapezoid under the precision–recall curve, the paper's AP.
        auc_sub: ``auc`` over the abnormal videos alone, concatenated.
        ap_sub: ``ap`` over the abnormal videos alone.
        far: Share of normal videos' frames that score above 0.5, the field's convention.
        n_frames: Frames that these figures stand on.
        n_anomalous: Anomalous ones among them.
        n_videos: Videos.
        n_abnormal: Videos with at least one anomalous frame.
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


def _joined(videos: Sequence[LabelledScores]) -> tuple[NDArray[np.bool_], FloatArray, FloatArray]:
    rows = [_rows(v.scores, v.labels, v.weights) for v in videos]  # Checks each video.
    return (
        np.concatenate([np.zeros(0, bool), *(labels for _, labels, _ in rows)]),
        np.concatenate([np.zeros(0), *(scores for scores, _, _ in rows)]),
        np.concatenate([np.zeros(0), *(weights for _, _, weights in rows)]),
    )


def frame_metrics(videos: Sequence[LabelledScores]) -> FrameMetrics:
    """All frame-level figures over ``videos``.

    Raises:
        InputError: labels, scores or weights of a video are not as ``roc_auc`` takes them.
    """
    abnormal = [v for v in videos if v.abnormal]
    labels, scores, weights = _joined(videos)
    all_frames = _curve(labels, scores, weights)
    within = _curve(*_joined(abnormal))
    _, calm, calm_weights = _joined([v for v in videos if not v.abnormal])
    return FrameMetrics(
        auc=all_frames.roc_auc(),
        ap=all_frames.average_precision(),
        ap_trapezoid=all_frames.trapezoid_ap(),
        auc_sub=within.roc_auc(),
        ap_sub=within.average_precision(),
        far=false_alarm_rate(calm, weights=calm_weights),
        n_frames=round(float(weights.sum())),
        n_anomalous=round(float(weights[labels].sum())),
        n_videos=len(videos),
        n_abnormal=len(abnormal),
    )
