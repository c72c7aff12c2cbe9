"""Ranks of several methods over several blocks, and which differences of ranks mean something.

Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7 (2006): Friedman's
test of whether all methods rank alike, and Nemenyi's critical difference of mean ranks.

Where methods stand over all benchmarks of a league: ranks, and differences between them.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from oddframe.errors import UsageError
from oddframe.evaluation.confidence import Interval, mean_of_means_interval
from oddframe.research.leaderboard.league import OWN, REFERENCE
from oddframe.research.leaderboard.record import League, Place
from oddframe.research.table import values_of
from oddframe.timeline import FloatArray

LEVEL = 0.05


@dataclass(frozen=True)
class Ranking:
    """Methods from best to worst.

    Attributes:
        names: Of the methods.
        ranks: Their mean ranks; 1 is the best there can be.
        blocks: Blocks that were ranked.
        statistic: Friedman's, corrected for ties and for the blocks' weights: a chi square of one
            degree of freedom less than there are methods.
        p_value: Of it: how likely ranks as unequal are among methods that are alike.
        critical: Mean ranks that are nearer to each other cannot be told apart.
    """

    names: tuple[str, ...]
    ranks: tuple[float, ...]
    blocks: int
    statistic: float
    p_value: float
    critical: float

    def rank(self, name: str) -> float | None:
        """The mean rank of a method; None: it was not ranked."""
        return self.ranks[self.names.index(name)] if name in self.names else None

    def cliques(self) -> tuple[tuple[int, int], ...]:
        """First and last of every longest run of methods that cannot be told apart."""
        runs: list[tuple[int, int]] = []
        for first, rank in enumerate(self.ranks):
            last = max(i for i, other in enumerate(self.ranks) if other - rank < self.critical)
            if last > first and (not runs or last > runs[-1][1]):
                runs.append((first, last))
        return tuple(runs)


def ranking(
    values: Mapping[str, Sequence[float]], groups: Sequence[Hashable] | None = None
) -> Ranking:
    """Rank methods by ``values``, higher is better, one a block; ``nan``: it failed there.

    Ties share their ranks; methods that failed share the last ones.

    Args:
        values: Of each method, in the same order of blocks.
        groups: What each block is of, a data set for instance: each group counts alike, however
            many blocks it has. None: each block counts alike.

    Raises:
        UsageError: fewer than two methods, no block, or not as many values (or groups) of each.
    """
    counts = {len(row) for row in values.values()}
    if groups is not None:
        counts.add(len(groups))
    if len(values) < 2 or len(counts) != 1 or 0 in counts:
        raise UsageError("ranks need two methods, and a value of each in every block")
    names = list(values)
    each = np.array([_ranks(row) for row in zip(*values.values(), strict=True)])  # (N, k)
    n, k = each.shape
    weights = _weights(groups or range(n))
    mean = weights @ each
    order = np.argsort(mean, kind="stable")
    statistic = _friedman(each, weights)
    half = torch.tensor([(k - 1) / 2, statistic / 2], dtype=torch.float64)
    p_value = float(torch.special.gammaincc(half[0], half[1]))
    return Ranking(
        tuple(names[i] for i in order),
        tuple(float(mean[i]) for i in order),
        n,
        statistic,
        p_value,
        critical_difference(k, 1 / float((weights**2).sum())),
    )


def _weights(groups: Sequence[Hashable]) -> FloatArray:
    """(N,) the share that each block has in a mean rank: alike for groups, and inside each."""
    sizes = Counter(groups)
    return np.array([1 / (len(sizes) * sizes[group]) for group in groups])


def _ranks(row: Sequence[float]) -> FloatArray:
    values = np.nan_to_num(np.array(row, dtype=np.float64), nan=-np.inf)
    ahead = (values[None, :] > values[:, None]).sum(axis=1)
    alike = (values[None, :] == values[:, None]).sum(axis=1)
    ranks: FloatArray = ahead + (alike + 1) / 2
    return ranks


def _friedman(ranks: FloatArray, weights: FloatArray) -> float:
    """Friedman's statistic of ``ranks`` (N blocks, k methods), 0 where all of them are tied.

    Among methods that are alike, a block's ranks are in any order, independent of other blocks:
    a mean rank then has the variance sum of w^2 v, v that of the block's ranks as they are. With
    equal weights and no ties that is the statistic of the textbook, 12 N / (k (k + 1)) times what
    the squared mean ranks have above those of methods that are alike.
    """
    k = ranks.shape[1]
    middle = (k + 1) / 2
    variances = ((ranks - middle) ** 2).sum(axis=1) / (k - 1)
    spread = float(weights**2 @ variances)
    apart = float(((weights @ ranks - middle) ** 2).sum())
    return apart / spread if spread else 0.0


def critical_difference(methods: int, blocks: float) -> float:
    """Nemenyi's at ``LEVEL``: q sqrt(k (k + 1) / 6 N), q the studentised range over sqrt(2).

    Blocks that count differently are as good as 1 / sum of w^2 blocks that count alike.
    """
    q = studentised_range(1 - LEVEL, methods) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * blocks))


@lru_cache
def studentised_range(probability: float, k: int) -> float:
    """Quantile of the range of ``k`` standard normal numbers (infinite degrees of freedom).

    Its distribution is k times the integral of phi(z) (Phi(z) - Phi(z - q))^(k - 1) over z.
    """
    z = torch.linspace(-9, 9, 18_001, dtype=torch.float64)
    density = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    below = torch.special.ndtr(z)
    low, high = 0.0, 20.0
    for _ in range(60):
        q = (low + high) / 2
        inside = density * (below - torch.special.ndtr(z - q)) ** (k - 1)
        if k * float(torch.trapezoid(inside, z)) < probability:
            low = q
        else:
            high = q
    return (low + high) / 2


Block = tuple[str, Place]
"""Data set, and repeat and fold in it."""


@dataclass(frozen=True)
class Standing:
    """How rows stand over all benchmarks; those that are in every one of them are ranked.

    Rankings are None for fewer than two rows, or where rows have no training in common.

    Attributes:
        titles: Of the rows, by name, best first; those that are not ranked last.
        ranking: By leading figures in each training, each benchmark counting alike. Its test takes
            trainings for independent.
        pooled: The same, each training counting alike.
        of_benchmarks: By mean figures in each benchmark: its test takes the benchmarks for
            independent, as Demšar's does. None also for a single benchmark.
        differences: Leading figure minus UR-DMU's over the draws, folds and seeds that both have:
            the mean of the benchmarks' means, with a 95 % interval.
        own: oddframe's own minus the row's, likewise; empty where it was not trained.
        blocks: The trainings that are ranked.
    """

    titles: Mapping[str, str]
    ranking: Ranking | None
    pooled: Ranking | None
    of_benchmarks: Ranking | None
    differences: Mapping[str, Interval]
    own: Mapping[str, Interval]
    blocks: tuple[Block, ...]


def standing(leagues: Sequence[League]) -> Standing:
    """The standing over these leagues, one a benchmark.

    A block counts if every row was trained there; a training that failed ranks last.
    """
    titles = {entry.name: entry.title for league in leagues for entry in league.entries}
    names = [name for name in titles if all(league.entry(name) for league in leagues)]
    values: dict[str, dict[Block, float]] = {name: _leads(leagues, name) for name in names}
    blocks = tuple(
        (league.dataset, place)
        for league in leagues
        for place in league.parts
        if all((league.dataset, place) in values[name] for name in names)
    )
    alike = pooled = of_benchmarks = None
    if len(names) > 1 and blocks:
        datasets = [dataset for dataset, _ in blocks]
        rows = {name: [values[name][block] for block in blocks] for name in names}
        alike, pooled = ranking(rows, datasets), ranking(rows)
        if len(set(datasets)) > 1:
            of_benchmarks = ranking({name: _means(rows[name], datasets) for name in names})
        names = list(alike.names)
    elsewhere = [name for name in titles if name not in names]
    return Standing(
        {name: titles[name] for name in (*names, *elsewhere)},
        alike,
        pooled,
        of_benchmarks,
        {name: d for name in values if (d := _apart(values, name, REFERENCE)) is not None},
        {name: d for name in values if (d := _apart(values, OWN, name)) is not None},
        blocks,
    )


def _means(values: Sequence[float], datasets: Sequence[str]) -> list[float]:
    """The mean of each data set, of the trainings that did not fail; ``nan``: all failed."""
    found = []
    for dataset in dict.fromkeys(datasets):
        pairs = zip(values, datasets, strict=True)
        own = [value for value, of in pairs if of == dataset and np.isfinite(value)]
        found.append(float(np.mean(own)) if own else float("nan"))
    return found


def _leads(leagues: Sequence[League], name: str) -> dict[Block, float]:
    """A row's leading figure by block, per cent; ``nan`` where the training failed."""
    found: dict[Block, float] = {}
    for league in leagues:
        entry = league.entry(name)
        if entry is None:
            continue
        found |= {(league.dataset, each.place): float("nan") for each in entry.failed}
        values = values_of(entry.figures, league.lead).tolist()
        pairs = zip(entry.trainings, values, strict=True)
        found |= {(league.dataset, kept.place): value for kept, value in pairs}
    return found


def _apart(values: Mapping[str, Mapping[Block, float]], name: str, other: str) -> Interval | None:
    """A row minus another over what both were trained on; None: nothing, or the same row.

    Each benchmark counts alike, however many draws, folds or seeds it has.
    """
    ours, theirs = values.get(name, {}), values.get(other, {})
    apart: dict[str, list[float]] = defaultdict(list)
    for dataset, place in ours.keys() & theirs.keys():
        difference = ours[dataset, place] - theirs[dataset, place]
        if np.isfinite(difference):
            apart[dataset].append(difference)
    return mean_of_means_interval(list(apart.values())) if apart and name != other else None
