"""Folds for cross-validation that keep groups together and the classes in balance."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oddframe.datasets.labelled import Dataset
from oddframe.errors import UsageError


@dataclass(frozen=True)
class Fold:
    """Sorted indices of a dataset's videos: (n_train,) and (n_test,), together all of them."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


def grouped_folds(dataset: Dataset, n: int = 5, seed: int = 0) -> tuple[Fold, ...]:
    """Split ``dataset`` into ``n`` folds; each group is in the test part of exactly one of them.

    The largest groups are assigned first (groups of one size in an order drawn from ``seed``), each
    to the fold in which the shares of normal and abnormal videos then stay closest to even.

    Raises:
        UsageError: too few groups for ``n`` folds with every class in each test part.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for i, video in enumerate(dataset.videos):
        members[video.group].append(i)
    if not 2 <= n <= len(members):
        raise UsageError(f"{dataset.name}: {n} folds of {len(members)} groups; it takes 2 to that")
    abnormal = dataset.abnormal
    names = sorted(members)
    counts = np.array([[(~abnormal[members[g]]).sum(), abnormal[members[g]].sum()] for g in names])
    shares = counts / np.maximum(counts.sum(axis=0), 1)  # (groups, 2) of each class.
    drawn = np.random.default_rng(seed).permutation(len(names))
    order = drawn[np.argsort(-shares[drawn].sum(axis=1), kind="stable")]
    filled = np.zeros((n, 2))
    tests: list[list[int]] = [[] for _ in range(n)]
    for g in order:
        # Increase of the sum of squares: smallest for the fold that lacks the group's classes most.
        cost = ((filled + shares[g]) ** 2 - filled**2).sum(axis=1)
        fold = int(np.argmin(cost))
        filled[fold] += shares[g]
        tests[fold] += members[names[g]]
    if (filled[:, counts.any(axis=0)] == 0).any():
        raise UsageError(
            f"{dataset.name}: {n} folds, but one of them would lack a class; "
            "take fewer folds or finer groups"
        )
    everything = np.arange(len(dataset))
    return tuple(
        Fold(np.setdiff1d(everything, test), np.sort(np.array(test, dtype=np.int64)))
        for test in tests
    )
