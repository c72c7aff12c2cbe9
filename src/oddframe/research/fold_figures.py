"""Results of folds -> figures: frames, clips, events at a calibrated threshold, intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oddframe.evaluation.confidence import Interval, bootstrap_interval
from oddframe.events import EventRule, calibrate_threshold, find_events, match_events
from oddframe.metrics import accuracy, roc_auc
from oddframe.research.protocol import FoldResult
from oddframe.research.splice import Clip
from oddframe.timeline import FloatArray


@dataclass(frozen=True)
class Figures:
    """What one fold gives; shares and areas in [0, 1].

    Attributes:
        repeat: Number of the repeat.
        fold: Number of the fold in it.
        auc: Frame AUC over all spliced videos.
        ap: Step-wise average precision.
        ap_trapezoid: The paper's AP.
        auc_sub: Frame AUC over the abnormal videos alone.
        ap_sub: AP over the abnormal videos alone.
        far: Share of normal videos' frames above 0.5.
        found: Share of true intervals that an event touches, at the calibrated threshold.
        false_alarms_per_hour: Events that touch no true interval, over all hours of test video.
        clip_auc: AUC of single clips.
        clip_accuracy: Accuracy of single clips, at the threshold that suits the other folds best.
    """

    repeat: int
    fold: int
    auc: float
    ap: float
    ap_trapezoid: float
    auc_sub: float
    ap_sub: float
    far: float
    found: float
    false_alarms_per_hour: float
    clip_auc: float
    clip_accuracy: float


def figures(
    results: Sequence[FoldResult], rule: EventRule, false_alarms_per_hour: float
) -> tuple[Figures, ...]:
    """The figures of each fold.

    Thresholds are never taken from the fold that they are tested on: that of a fold's events comes
    from the normal videos of the same repeat's other folds, scored by models that did not train on
    them, and so does that of its clips. A repeat of one part has no others: what needs a threshold
    is ``nan`` there.

    Args:
        results: Of ``score_batch``.
        rule: How scores become events; its threshold is not used.
        false_alarms_per_hour: The wish that thresholds are calibrated to.
    """
    return tuple(
        _figures_of(result, _others(result, results), rule, false_alarms_per_hour)
        for result in results
    )


def _others(result: FoldResult, results: Sequence[FoldResult]) -> list[FoldResult]:
    return [r for r in results if r.repeat == result.repeat and r.fold != result.fold]


def _figures_of(
    result: FoldResult, others: Sequence[FoldResult], rule: EventRule, wished: float
) -> Figures:
    found = false_alarms = clip_accuracy = float("nan")
    labels = _labels(result.clips)
    if others:
        found, false_alarms = _events_of(result, others, rule, wished)
        threshold = _best_threshold(
            [clip for other in others for clip in other.clips],
            np.concatenate([other.clip_scores for other in others]),
        )
        clip_accuracy = accuracy(labels, result.clip_scores, threshold)
    frames = result.frames
    return Figures(
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


def _events_of(
    result: FoldResult, others: Sequence[FoldResult], rule: EventRule, wished: float
) -> tuple[float, float]:
    """Share of true intervals found, and false alarms an hour, at the other folds' threshold."""
    calm = [
        track
        for other in others
        for video, track in zip(other.videos, other.tracks, strict=True)
        if not video.abnormal
    ]
    rule = rule.with_threshold(calibrate_threshold(calm, wished, rule).threshold)
    matches = [
        match_events(find_events(track, rule), video.truth)
        for video, track in zip(result.videos, result.tracks, strict=True)
    ]
    found, true = sum(m.found for m in matches), sum(m.found + m.missed for m in matches)
    hours = sum(track.timebase.covered_s for track in result.tracks) / 3600
    return found / true if true else float("nan"), sum(m.false for m in matches) / hours


def _labels(clips: Sequence[Clip]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.array([clip.abnormal for clip in clips], dtype=bool)


def _best_threshold(clips: Sequence[Clip], scores: np.ndarray) -> float:
    """Between the two scores where the most clips are told apart; the middle one of equals."""
    levels = np.unique(scores)
    cuts = np.concatenate([[levels[0] - 1], (levels[1:] + levels[:-1]) / 2, [levels[-1]]])
    right = np.array([accuracy(_labels(clips), scores, float(cut)) for cut in cuts])
    best = np.flatnonzero(right == right.max())
    return float(cuts[best[len(best) // 2]])


def _pairs(results: Sequence[FoldResult]) -> tuple[FloatArray, FloatArray]:
    """Pairs of an abnormal and a normal clip of one fold, by their recordings: won, and in all.

    Both (G, G) over the recordings: the abnormal clip's first. A tie is half won.
    """
    names = sorted({clip.group for result in results for clip in result.clips})
    won, total = np.zeros((len(names), len(names))), np.zeros((len(names), len(names)))
    for result in results:
        group = np.array([names.index(clip.group) for clip in result.clips])
        odd, scores = _labels(result.clips), result.clip_scores
        ahead = np.sign(scores[odd][:, None] - scores[~odd][None, :]) / 2 + 0.5
        where = group[odd][:, None], group[~odd][None, :]
        np.add.at(won, where, ahead)
        np.add.at(total, where, 1.0)
    return won, total


def _share(won: float, total: float) -> float:
    return won / total if total else float("nan")


def clip_auc_interval(results: Sequence[FoldResult], draws: int = 1000) -> Interval:
    """AUC of single clips, pairs within a fold, and its interval by resampling recordings."""
    won, total = _pairs(results)

    def statistic(drawn: Sequence[int]) -> float:
        times = np.bincount(drawn, minlength=len(won))
        return _share(float(times @ won @ times), float(times @ total @ times))

    return bootstrap_interval(range(len(won)), statistic, draws=draws)


def within_recordings_auc(results: Sequence[FoldResult], draws: int = 1000) -> Interval:
    """AUC of single clips over pairs of one recording, so that knowing the scene is no help.

    Only recordings that hold both labels count; the interval is by resampling recordings.
    """
    won, total = (np.diag(pairs) for pairs in _pairs(results))

    def statistic(drawn: Sequence[int]) -> float:
        return _share(float(won[list(drawn)].sum()), float(total[list(drawn)].sum()))

    return bootstrap_interval(range(len(won)), statistic, draws=draws)
