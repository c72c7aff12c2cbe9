"""Ranks of methods over blocks, and which differences between mean ranks are significant.

Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7 (2006): Friedman's
test of whether all methods rank alike, and Nemenyi's critical difference of mean ranks.
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
from oddframe.research.fold_figures import column_values
from oddframe.research.leaderboard.competitors import OWN_METHOD, REFERENCE_METHOD
from oddframe.research.leaderboard.record import League
from oddframe.research.protocol import PartId
from oddframe.timeline import FloatArray

SIGNIFICANCE_LEVEL = 0.05


@dataclass(frozen=True)
class Ranking:
    """Methods from best to worst; a mean rank of 1 is the best possible.

    Attributes:
        statistic: Friedman's statistic, corrected for ties and for the weights of the blocks: chi
            square with one degree of freedom less than there are methods.
        p_value: Probability of ranks at least as unequal if all methods are alike.
        critical: Critical difference: methods whose mean ranks are closer are not distinguished.
    """

    names: tuple[str, ...]
    ranks: tuple[float, ...]
    blocks: int
    statistic: float
    p_value: float
    critical: float

    def rank(self, name: str) -> float | None:
        return self.ranks[self.names.index(name)] if name in self.names else None

    def cliques(self) -> tuple[tuple[int, int], ...]:
        """First and last method of every longest run of methods that are not distinguished."""
        runs: list[tuple[int, int]] = []
        for first, rank in enumerate(self.ranks):
            last = max(i for i, other in enumerate(self.ranks) if other - rank < self.critical)
            if last > first and (not runs or last > runs[-1][1]):
                runs.append((first, last))
        return tuple(runs)


def rank_blocks(
    values: Mapping[str, Sequence[float]], groups: Sequence[Hashable] | None = None
) -> Ranking:
    """Rank methods by their value in each block; higher is better, ``nan`` is a failure.

    Ties share their ranks; methods that failed share the last ones. With ``groups``, the group of
    each block (its data set), groups count equally, however many blocks they have.
    """
    counts = {len(row) for row in values.values()}
    if groups is not None:
        counts.add(len(groups))
    if len(values) < 2 or len(counts) != 1 or 0 in counts:
        raise UsageError("ranks need two methods, and a value of each in every block")
    names = list(values)
    ranks = np.array([_ranks(row) for row in zip(*values.values(), strict=True)])  # (N, k)
    n, k = ranks.shape
    groups = groups or range(n)
    sizes = Counter(groups)  # Groups weigh the same, and so do the blocks of a group.
    weights = np.array([1 / (len(sizes) * sizes[group]) for group in groups])
    mean = weights @ ranks
    order = np.argsort(mean, kind="stable")
    statistic = _friedman(ranks, weights)
    halves = torch.tensor([(k - 1) / 2, statistic / 2], dtype=torch.float64)
    return Ranking(
        tuple(names[i] for i in order),
        tuple(float(mean[i]) for i in order),
        n,
        statistic,
        float(torch.special.gammaincc(halves[0], halves[1])),
        critical_difference(k, 1 / float((weights**2).sum())),
    )


def _ranks(row: Sequence[float]) -> FloatArray:
    values = np.nan_to_num(np.array(row, dtype=np.float64), nan=-np.inf)
    better = (values[None, :] > values[:, None]).sum(axis=1)
    equal = (values[None, :] == values[:, None]).sum(axis=1)
    ranks: FloatArray = better + (equal + 1) / 2
    return ranks


def _friedman(ranks: FloatArray, weights: FloatArray) -> float:
    """Friedman's statistic of ``ranks`` (N blocks, k methods); 0 if all of them are tied.

    If methods are alike, mean ranks have the variance sum of w^2 v, where v is the variance of a
    block's ranks. With equal weights and no ties, the statistic is the textbook's: 12 N /
    (k (k + 1)) times the sum of squared mean ranks, minus its value for methods that are alike.
    """
    k = ranks.shape[1]
    middle = (k + 1) / 2
    variances = ((ranks - middle) ** 2).sum(axis=1) / (k - 1)
    variance = float(weights**2 @ variances)
    deviation = float(((weights @ ranks - middle) ** 2).sum())
    return deviation / variance if variance else 0.0


def critical_difference(methods: int, blocks: float) -> float:
    """Nemenyi's critical difference at ``SIGNIFICANCE_LEVEL``: q sqrt(k (k + 1) / 6 N).

    q is the studentised range over sqrt(2). Blocks of unequal weights w count as 1 / sum of w^2
    blocks of equal weights.
    """
    q = studentised_range(1 - SIGNIFICANCE_LEVEL, methods) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * blocks))


@lru_cache
def studentised_range(probability: float, k: int) -> float:
    """Quantile of the range of ``k`` standard normal numbers (infinite degrees of freedom).

    The distribution is k times the integral of phi(z) (Phi(z) - Phi(z - q))^(k - 1) over z.
    """
    z = torch.linspace(-9, 9, 18_001, dtype=torch.float64)
    density = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    below = torch.special.ndtr(z)
    low, high = 0.0, 20.0
    for _ in range(60):
        q = (low + high) / 2
        integrand = density * (below - torch.special.ndtr(z - q)) ** (k - 1)
        if k * float(torch.trapezoid(integrand, z)) < probability:
            low = q
        else:
            high = q
    return (low + high) / 2


LeagueBlock = tuple[str, PartId]
"""Data set, and repeat and fold in it."""


@dataclass(frozen=True)
class LeagueRanking:
    """The ranking of the rows over all benchmarks; rows that are in all of them are ranked.

    Rankings are None if there are fewer than two such rows, or they have no common training.

    Attributes:
        titles: Titles of the rows by name, best first; rows without a rank last.
        ranking: By the leading figure of each training; benchmarks count equally. Its test assumes
            that trainings are independent.
        pooled: The same, but trainings count equally.
        by_benchmark: By the mean figure of each benchmark, whose test assumes that benchmarks are
            independent, as Demšar's does. Also None if there is only one benchmark.
        differences: Leading figure minus that of the reference method over the parts that both
            have: the mean of the benchmarks' means, with a 95 % interval.
        own_differences: The project's own method minus the row, likewise; empty without it.
        blocks: The trainings that are ranked.
    """

    titles: Mapping[str, str]
    ranking: Ranking | None
    pooled: Ranking | None
    by_benchmark: Ranking | None
    differences: Mapping[str, Interval]
    own_differences: Mapping[str, Interval]
    blocks: tuple[LeagueBlock, ...]


def rank_leagues(leagues: Sequence[League]) -> LeagueRanking:
    """Rank the rows of several leagues, one per benchmark.

    A block counts if every row was trained on it; a training that failed ranks last.
    """
    titles = {entry.name: entry.title for league in leagues for entry in league.entries}
    names = [name for name in titles if all(league.entry(name) for league in leagues)]
    values = {name: _leading_figures(leagues, name) for name in names}
    blocks = tuple(
        (league.dataset, part)
        for league in leagues
        for part in league.parts
        if all((league.dataset, part) in values[name] for name in names)
    )
    ranking = pooled = by_benchmark = None
    if len(names) > 1 and blocks:
        datasets = [dataset for dataset, _ in blocks]
        rows = {name: [values[name][block] for block in blocks] for name in names}
        ranking, pooled = rank_blocks(rows, datasets), rank_blocks(rows)
        if len(set(datasets)) > 1:
            means = {name: _benchmark_means(row, datasets) for name, row in rows.items()}
            by_benchmark = rank_blocks(means)
        names = list(ranking.names)
    unranked = [name for name in titles if name not in names]
    return LeagueRanking(
        {name: titles[name] for name in (*names, *unranked)},
        ranking,
        pooled,
        by_benchmark,
        {name: d for name in values if (d := _difference(values, name, REFERENCE_METHOD))},
        {name: d for name in values if (d := _difference(values, OWN_METHOD, name))},
        blocks,
    )


def _benchmark_means(values: Sequence[float], datasets: Sequence[str]) -> list[float]:
    """The mean over the trainings of each data set that did not fail; ``nan`` if all failed."""
    means = []
    for dataset in dict.fromkeys(datasets):
        pairs = zip(values, datasets, strict=True)
        own = [value for value, of in pairs if of == dataset and np.isfinite(value)]
        means.append(float(np.mean(own)) if own else float("nan"))
    return means


def _leading_figures(leagues: Sequence[League], name: str) -> dict[LeagueBlock, float]:
    """A row's leading figure by block, per cent; ``nan`` where the training failed."""
    found: dict[LeagueBlock, float] = {}
    for league in leagues:
        entry = league.entry(name)
        if entry is None:
            continue
        found |= {(league.dataset, each.part_id): float("nan") for each in entry.failed}
        values = column_values(entry.figures, league.lead).tolist()
        pairs = zip(entry.figures_by_part, values, strict=True)
        found |= {(league.dataset, part): value for part, value in pairs}
    return found


def _difference(
    values: Mapping[str, Mapping[LeagueBlock, float]], name: str, other: str
) -> Interval | None:
    """A row minus another over the blocks that both have; None: there are none, or same row."""
    first, second = values.get(name, {}), values.get(other, {})
    by_dataset: dict[str, list[float]] = defaultdict(list)
    for block, value in first.items():
        difference = value - second.get(block, math.nan)
        if np.isfinite(difference):
            by_dataset[block[0]].append(difference)
    if not by_dataset or name == other:
        return None
    return mean_of_means_interval(list(by_dataset.values()))
