"""Where methods stand over all benchmarks of a league: ranks, and differences between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from oddframe.confidence import Interval, mean_of_means_interval
from oddframe.experiments.league_record import League, Place
from oddframe.experiments.league_rows import OWN, REFERENCE
from oddframe.experiments.ranks import Ranking, ranking
from oddframe.experiments.table import values_of

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
