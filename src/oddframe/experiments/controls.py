"""What knows nothing of the picture, under the same protocol: it must not win.

Each control is a ``Trainer``, or clips whose features are something else than the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from oddframe.datasets.labelled import Dataset
from oddframe.errors import UsageError
from oddframe.experiments.protocol import Bag, Scorer, Trainer
from oddframe.experiments.splice import Clip
from oddframe.features.lazy import AnyFeatures
from oddframe.methods.scorer import Standardise
from oddframe.timeline import FloatArray
from oddframe.video.probe import probe


def random_labels(trainer: Trainer) -> Trainer:
    """The same trainer on bags whose labels are shuffled: its AUC must stay near 50."""

    def train(bags: Sequence[Bag], seed: int) -> Scorer:
        truth = np.array([bag.abnormal for bag in bags])
        labels = shuffled(truth, np.random.default_rng(seed)).tolist()
        return trainer([replace(b, abnormal=x) for b, x in zip(bags, labels, strict=True)], seed)

    return train


def shuffled(labels: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """As many labels (N,) of either kind, which say nothing of the true ones.

    Of ten labels in any order many may be as they were, and say a good deal. So each class gets
    abnormal labels by its share of the videos, rounded up or down by chance.
    """
    wanted = labels.sum() * labels.mean()  # Of the abnormal ones, so many stay abnormal.
    stay = int(np.floor(wanted + rng.random()))
    new = np.zeros_like(labels)
    new[rng.choice(np.flatnonzero(labels), stay, replace=False)] = True
    new[rng.choice(np.flatnonzero(~labels), labels.sum() - stay, replace=False)] = True
    return new


def random_direction(bags: Sequence[Bag], seed: int) -> Scorer:
    """A trainer that learns nothing: the score is a random linear one of the standardised features.

    What it reaches is chance level. That is not 50 wherever the highest of several tiles counts:
    high in any direction is what is rare, and that may be just what is looked for.
    """
    dim, tiled = bags[0].views[0].shape[1], bags[0].tiles > 1
    standardise = Standardise.fitted(np.asarray(view) for bag in bags for view in bag.views)
    mean, std = standardise.mean.numpy(), standardise.std.numpy()
    direction = np.random.default_rng(seed).normal(size=dim) / np.sqrt(dim)

    def score(array: AnyFeatures) -> FloatArray:
        z = ((np.asarray(array, np.float64) - mean) / std) @ direction
        each: FloatArray = z.max(axis=0) if tiled else z.mean(axis=0)
        return _sigmoid(each)

    return score


def position_only(bags: Sequence[Bag], seed: int) -> Scorer:  # noqa: ARG001
    """A trainer that learns nothing: the score is how far into the video a snippet is."""
    return lambda array: (np.arange(array.shape[1]) + 0.5) / array.shape[1]


def length_only(bags: Sequence[Bag], seed: int) -> Scorer:  # noqa: ARG001
    """A trainer that sees the number of snippets alone, and learns which way it points."""
    lengths = np.array([len(bag.views[0]) for bag in bags], dtype=np.float64)
    abnormal = np.array([bag.abnormal for bag in bags])
    longer = lengths[abnormal].mean() >= lengths[~abnormal].mean()
    sign = 1.0 if longer else -1.0
    return lambda array: np.full(array.shape[1], 1 / (1 + np.exp(-sign * array.shape[1] / 100)))


def logistic_regression(bags: Sequence[Bag], seed: int) -> Scorer:  # noqa: ARG001
    """A trainer: ridge logistic regression on the standardised mean of a bag's features.

    Newton's method on half the squared norm of the weights plus the log loss.

    Raises:
        UsageError: bags of one class only.
    """
    x = np.stack([np.concatenate(bag.views).mean(axis=0, dtype=np.float64) for bag in bags])
    y = np.array([bag.abnormal for bag in bags], dtype=np.float64)
    if y.min() == y.max():
        raise UsageError("logistic regression needs normal and abnormal bags")
    mean, spread = x.mean(axis=0), x.std(axis=0)
    scale = np.where(spread > 1e-12, spread, 1.0)
    design = np.column_stack([(x - mean) / scale, np.ones(len(x))])
    ridge = np.append(np.ones(x.shape[1]), 1e-9)  # The intercept goes free.
    weights = np.zeros(design.shape[1])
    for _ in range(50):
        p = _sigmoid(design @ weights)
        gradient = design.T @ (p - y) + ridge * weights
        hessian = (design * (p * (1 - p))[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.solve(hessian, gradient)
        weights -= step
        if np.abs(step).max() < 1e-10:
            break

    def score(array: AnyFeatures) -> FloatArray:
        z = (np.asarray(array).mean(axis=0, dtype=np.float64) - mean) / scale
        return _sigmoid(z @ weights[:-1] + weights[-1])

    return score


def _sigmoid(z: FloatArray) -> FloatArray:
    return 1 / (1 + np.exp(-np.clip(z, -500, 500)))


def file_property_clips(dataset: Dataset, clips: Sequence[Clip]) -> tuple[Clip, ...]:
    """The clips with properties of their files in place of features.

    Height, aspect ratio, frame rate, bits a second and presence of sound, the same in each snippet
    of a clip: what a data set gives away without a look at the picture.

    Args:
        dataset: The videos, in the order of ``clips``.
        clips: Their clips; timebases, labels and recordings are kept.

    Raises:
        InputError: a file is missing or damaged.
    """
    blind = []
    for video, clip in zip(dataset.videos, clips, strict=True):
        info = probe(video.path)
        bits = 8 * video.path.stat().st_size / clip.timebase.duration_s
        shape = (np.log(info.height), info.width / info.height)
        row = np.array([*shape, info.fps, np.log(bits), info.has_audio], dtype=np.float32)
        array = np.tile(row, (1, clip.timebase.n_snippets, 1))
        blind.append(replace(clip, array=array, other_views=()))
    return tuple(blind)
