"""Fights in recordings that nothing was learned from or chosen on, and false alarms elsewhere.

A logistic regression of the mean feature of a clip, in folds by recording. Its regularisation and
the thresholds are chosen inside the training recordings, by folds of those. Intervals resample
recordings, and files of footage without fights: clips of one recording resemble each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from oddframe.datasets.labelled import Dataset, grouped_folds
from oddframe.evaluation.confidence import Interval
from oddframe.methods.mil.logistic import fit_ridge_logistic
from oddframe.metrics import roc_auc
from oddframe.timeline import FloatArray, IntArray

_Name = TypeVar("_Name")

# Strengths of the ridge that are tried: half the squared norm of the weights counts so many times.
RIDGES = (1.0, 1e1, 1e2, 1e3, 1e4, 1e5)
OUTER_FOLDS, INNER_FOLDS = 6, 5
# Snippets of footage whose mean logit is one score, about as long as a clip.
_WINDOW = 3


@dataclass(frozen=True)
class Snippets:
    """Features (M, D) of all snippets of some videos, and the videos' lengths (N,) in snippets."""

    rows: FloatArray
    lengths: IntArray

    @classmethod
    def join(cls, videos: Sequence[NDArray[np.floating]]) -> Snippets:
        lengths = np.array([len(video) for video in videos])
        return cls(np.concatenate(videos).astype(np.float64), lengths)

    @cached_property
    def means(self) -> FloatArray:
        """(N, D)"""
        starts = np.cumsum(self.lengths) - self.lengths
        return np.asarray(np.add.reduceat(self.rows, starts) / self.lengths[:, None])


@dataclass(frozen=True)
class Material:
    """Clips, their group the recording, and (F,) hours of footage without fights."""

    dataset: Dataset
    hours: FloatArray

    @cached_property
    def fight(self) -> NDArray[np.bool_]:
        return self.dataset.abnormal

    @cached_property
    def recording(self) -> IntArray:
        """(N,) number of the recording of each clip, from 0."""
        return np.unique([v.group for v in self.dataset.videos], return_inverse=True)[1]


@dataclass(frozen=True)
class Outcome:
    """Scores of one kind of features.

    Attributes:
        scores: (R, N) logit of each clip by a model that saw nothing of its recording, for each
            way to cut folds.
        footage: For each way and fold, the logits (M,) of all snippets of footage.
        lengths: (F,) snippets of each file of footage.
        fold: (R, N) the fold that a clip was tested in.
        inner: (R, folds, N) logits of the training clips by models of the inner folds; ``nan`` of
            clips that were tested in that fold.
        ridges: The strength that was chosen in each fold; empty where nothing was trained.
    """

    scores: FloatArray
    footage: Sequence[Sequence[FloatArray]]
    lengths: IntArray
    fold: IntArray
    inner: FloatArray
    ridges: tuple[float, ...] = ()


def fold_numbers(dataset: Dataset, n: int, seed: int) -> IntArray:
    """(N,) the fold that each video is tested in; recordings are never parted."""
    numbers = np.zeros(len(dataset), np.int64)
    for number, fold in enumerate(grouped_folds(dataset, n, seed)):
        numbers[fold.test] = number
    return numbers


def _log_loss(logits: FloatArray, fight: NDArray[np.bool_]) -> float:
    return float(np.logaddexp(0, np.where(fight, -logits, logits)).mean())


def run_regression(
    clips: Snippets, footage: Snippets, material: Material, repeats: int = 5
) -> Outcome:
    """Logistic regressions in nested folds by recording, ``repeats`` ways to cut the outer ones.

    The strength of the ridge is that of the lowest log loss in the inner folds.
    """
    x, fight, n = clips.means, material.fight, len(material.fight)
    scores, folds = np.zeros((repeats, n)), np.zeros((repeats, n), np.int64)
    inner = np.full((repeats, OUTER_FOLDS, n), np.nan)
    elsewhere: list[list[FloatArray]] = []
    chosen = []
    for repeat in range(repeats):
        folds[repeat] = fold_numbers(material.dataset, OUTER_FOLDS, repeat)
        elsewhere.append([])
        for fold in range(OUTER_FOLDS):
            test = folds[repeat] == fold
            train = np.flatnonzero(~test)
            tried = _inner_logits(x[train], material.dataset.subset(train.tolist()), repeat)
            best = int(np.argmin([_log_loss(logits, fight[train]) for logits in tried]))
            chosen.append(RIDGES[best])
            inner[repeat, fold, train] = tried[best]
            ((weights, intercept),) = fit_ridge_logistic(x[train], fight[train], [RIDGES[best]])
            scores[repeat, test] = x[test] @ weights + intercept
            elsewhere[-1].append(footage.rows @ weights + intercept)
    return Outcome(scores, elsewhere, footage.lengths, folds, inner, tuple(chosen))


def _inner_logits(x: FloatArray, dataset: Dataset, seed: int) -> FloatArray:
    """(strengths, N) logits of each clip by a model that was not trained on its recording."""
    logits = np.zeros((len(RIDGES), len(x)))
    fold, fight = fold_numbers(dataset, INNER_FOLDS, seed), dataset.abnormal
    for number in range(INNER_FOLDS):
        test = fold == number
        fitted = fit_ridge_logistic(x[~test], fight[~test], RIDGES)
        logits[:, test] = [x[test] @ weights + intercept for weights, intercept in fitted]
    return logits


def run_untrained(
    clips: Snippets, footage: Snippets, material: Material, repeats: int = 5
) -> Outcome:
    """One number a snippet (M, 1) as it is: nothing is learned but the threshold."""
    n = len(material.fight)
    scores = np.tile(clips.means[:, 0], (repeats, 1))
    folds = np.stack([fold_numbers(material.dataset, OUTER_FOLDS, r) for r in range(repeats)])
    inner = np.full((repeats, OUTER_FOLDS, n), np.nan)
    for repeat, fold in np.ndindex(repeats, OUTER_FOLDS):
        train = folds[repeat] != fold
        inner[repeat, fold, train] = scores[repeat, train]
    elsewhere = [[footage.rows[:, 0]] * OUTER_FOLDS] * repeats
    return Outcome(scores, elsewhere, footage.lengths, folds, inner)


def count_alarms(logits: FloatArray, thresholds: FloatArray) -> IntArray:
    """(K,) alarms that a file of footage gives at each of K thresholds.

    The score is the mean logit of three snippets in a row, of the whole of a shorter file. An alarm
    goes on where the score is below the threshold for one window only.
    """
    width = min(_WINDOW, len(logits))
    means = np.convolve(logits, np.ones(width) / width, mode="valid")
    above = means >= thresholds[:, None] - 1e-12
    joined = above.copy()
    joined[:, 1:-1] |= above[:, :-2] & above[:, 2:]
    starts = joined & ~np.pad(joined, ((0, 0), (1, 0)))[:, :-1]
    return np.asarray(starts.sum(axis=1))


class Figures:
    """AUC, fights found and false alarms of an outcome, for any weights of recordings and files."""

    def __init__(self, outcome: Outcome, material: Material) -> None:
        self._outcome, self._material = outcome, material
        self.recordings = int(material.recording.max()) + 1
        fights = outcome.scores[:, material.fight]
        self._order = np.argsort(-fights, axis=1, kind="stable")
        # Thresholds worth a look are the scores of fights: (R, K), from high to low.
        self._thresholds = np.take_along_axis(fights, self._order, axis=1)
        counts = [
            [self._count(logits, thresholds) for logits in folds]
            for folds, thresholds in zip(outcome.footage, self._thresholds, strict=True)
        ]
        self._alarms = np.array(counts).mean(axis=1)  # (R, files, K), over the models of the folds.

    def _count(self, logits: FloatArray, thresholds: FloatArray) -> list[IntArray]:
        files = np.split(logits, np.cumsum(self._outcome.lengths)[:-1])
        return [count_alarms(file, thresholds) for file in files]

    def auc(self, weights: FloatArray) -> float:
        """Clip AUC where recording ``r`` counts ``weights[r]`` times; the mean over repeats."""
        each, fight = weights[self._material.recording], self._material.fight
        return float(np.mean([roc_auc(fight, row, each) for row in self._outcome.scores]))

    def alarms_per_hour(self, found: float, weights: FloatArray, files: FloatArray) -> float:
        """False alarms an hour at the threshold that finds this share of the fights.

        ``weights`` and ``files``: how many times each recording and each file of footage counts.
        """
        alarms, hours = self._alarms, float(files @ self._material.hours)
        each = weights[self._material.recording[self._material.fight]]
        rates = []
        for order, row in zip(self._order, alarms, strict=True):
            reached = np.cumsum(each[order])
            k = int(np.searchsorted(reached, found * reached[-1] - 1e-9))
            rates.append(float(files @ row[:, min(k, row.shape[1] - 1)]) / hours)
        return float(np.mean(rates))

    def at_chosen_threshold(self, found: float) -> tuple[float, float, float]:
        """(share of fights, share of normal clips, alarms an hour) above thresholds chosen before.

        Each fold's threshold finds the share ``found`` of its training fights in the inner folds.
        """
        outcome, fight = self._outcome, self._material.fight
        hits = np.zeros_like(outcome.scores, dtype=bool)
        rates = []
        for repeat, fold in np.ndindex(*outcome.inner.shape[:2]):
            inner = outcome.inner[repeat, fold]
            known = inner[fight & np.isfinite(inner)]
            threshold = float(np.quantile(known, 1 - found, method="lower"))
            test = outcome.fold[repeat] == fold
            hits[repeat, test] = outcome.scores[repeat, test] >= threshold
            alarms = np.sum(self._count(outcome.footage[repeat][fold], np.array([threshold])))
            rates.append(alarms / self._material.hours.sum())
        shares = hits[:, fight].mean(), hits[:, ~fight].mean()
        return float(shares[0]), float(shares[1]), float(np.mean(rates))


def resampled(
    statistics: Mapping[_Name, Callable[[FloatArray, FloatArray], float]],
    material: Material,
    draws: int = 1000,
    seed: int = 0,
) -> dict[_Name, FloatArray]:
    """(1 + draws,) each statistic of (weights of recordings, weights of files), first as it is.

    All statistics see the same resamples, so that their differences are paired.
    """
    rng = np.random.default_rng(seed)
    recordings, files = int(material.recording.max()) + 1, len(material.hours)
    found: dict[_Name, list[float]] = {name: [] for name in statistics}
    for draw in range(draws + 1):
        weights, times = np.ones(recordings), np.ones(files)
        if draw:
            weights, times = _draw(rng, recordings), _draw(rng, files)
        for name, statistic in statistics.items():
            found[name].append(statistic(weights, times))
    return {name: np.array(values) for name, values in found.items()}


def _draw(rng: np.random.Generator, n: int) -> FloatArray:
    """(n,) how many times each of n is drawn, with replacement."""
    return np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float64)


def interval(values: FloatArray, level: float = 0.95) -> Interval:
    """Of what ``resampled`` gives, or of the difference of two of them: percentile bootstrap."""
    drawn = values[1:][np.isfinite(values[1:])]
    tail = 50 * (1 - level)
    low, high = np.percentile(drawn, (tail, 100 - tail))
    return Interval(float(values[0]), float(low), float(high))
