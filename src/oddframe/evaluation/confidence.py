"""Confidence intervals of metrics: of means, of rates, and of any statistic over groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from oddframe.errors import UsageError

_GroupT = TypeVar("_GroupT")


@dataclass(frozen=True)
class Interval:
    """A value and its confidence interval; ``nan`` where it is undefined."""

    value: float
    low: float = float("nan")
    high: float = float("nan")


_UNDEFINED = Interval(float("nan"))


def bootstrap_interval(
    groups: Sequence[_GroupT], statistic: Callable[[Sequence[_GroupT]], float], draws: int = 500
) -> Interval:
    """95 % percentile bootstrap of ``statistic`` over whole groups (recordings, draws, videos).

    Groups are resampled, because frames of a video and clips of a recording are similar. Resamples
    for which the statistic is ``nan`` are ignored. Both ends are ``nan`` where no resample is
    defined, and where the interval has no width: resampling equal values cannot show their
    uncertainty.
    """
    rng = np.random.default_rng(0)
    picks = rng.integers(len(groups), size=(draws, len(groups))) if groups else np.zeros((0, 0))
    values = np.array([statistic([groups[int(i)] for i in row]) for row in picks])
    values = values[np.isfinite(values)]
    value = statistic(groups) if groups else float("nan")
    tail = 50 * (1 - 0.95)  # Per cent at each end.
    low, high = np.percentile(values, (tail, 100 - tail)) if values.size else (np.nan, np.nan)
    return Interval(value) if low == high else Interval(value, float(low), float(high))


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The mean of a few values with the interval of Student's t.

    Student, "The Probable Error of a Mean" (Biometrika 1908): exact for normally distributed
    values, where a bootstrap of three to ten values is far too narrow. With one value the ends are
    ``nan``, without values the mean too.
    """
    n = len(values)
    mean = float(np.mean(values)) if n else float("nan")
    if n < 2:
        return Interval(mean)
    reach = _student_quantile(n - 1, (1 + level) / 2) * float(np.std(values, ddof=1)) / np.sqrt(n)
    return Interval(mean, float(mean - reach), float(mean + reach))


def mean_of_means_interval(groups: Sequence[Sequence[float]], level: float = 0.95) -> Interval:
    """The mean of the groups' means, with equal weights, and an interval.

    Welch, "The Generalization of Student's Problem when Several Different Population Variances are
    Involved" (Biometrika 1947): each group has its own variance, and the degrees of freedom are
    those that fit all of them together, rounded down. With a group of one value, whose variance is
    unknown, the ends are ``nan``; without groups, or with an empty one, the mean too.
    """
    sizes = np.array([len(group) for group in groups])
    if not sizes.size or not sizes.all():
        return _UNDEFINED
    mean = float(np.mean([np.mean(group) for group in groups]))
    if sizes.min() < 2:
        return Interval(mean)
    squares = np.array([np.var(group, ddof=1) for group in groups]) / sizes
    total = float(squares.sum())
    if not total:
        return Interval(mean, mean, mean)
    degrees = int(total**2 / float((squares**2 / (sizes - 1)).sum()) + 1e-9)
    reach = _student_quantile(degrees, (1 + level) / 2) * np.sqrt(total) / len(groups)
    return Interval(mean, float(mean - reach), float(mean + reach))


def _student_quantile(degrees: int, probability: float) -> float:
    """The quantile of Student's t for a ``probability`` above 0.5.

    Abramowitz and Stegun, "Handbook of Mathematical Functions" (1964), 26.7.3 and 26.7.4: the
    probability that the absolute value is at most t, by the angle whose tangent is t /
    sqrt(degrees).
    """
    odd = degrees % 2
    k = np.arange(1 + odd, degrees - 1, 2)
    factors = np.append(1.0, np.cumprod(k / (k + 1)))[: (degrees + (not odd)) // 2]

    def enough(angle: float) -> bool:
        sine, cosine = np.sin(angle), np.cos(angle)
        within = sine * (factors * cosine ** (2 * np.arange(len(factors)) + odd)).sum()
        if odd:
            within = (angle + within) * 2 / np.pi
        return bool((1 + within) / 2 >= probability)

    return float(np.sqrt(degrees) * np.tan(_bisect(enough, 0.0, np.pi / 2)))


def binomial_interval(count: int, total: int, level: float = 0.95) -> Interval:
    """A share, ``count`` of ``total``, with its exact interval.

    Clopper and Pearson, "The Use of Confidence or Fiducial Limits Illustrated in the Case of the
    Binomial" (Biometrika 1934): the shares for which neither so high a count nor so low a one is
    improbable. 12 of 12: 1 (0.74 to 1). Assumes that the ``total`` cases are independent.
    """
    if not 0 <= count <= total:
        raise UsageError(f"a share of {total} needs a count from 0 to {total}, not {count}")
    if not total:
        return _UNDEFINED
    tail = (1 - level) / 2
    low = _binomial_share(count - 1, total, 1 - tail) if count else 0.0
    high = _binomial_share(count, total, tail) if count < total else 1.0
    return Interval(count / total, low, high)


def _binomial_share(count: int, total: int, probability: float) -> float:
    """The share at which at most ``count`` of ``total`` has this probability; it falls with it."""
    log_factorial = np.append(0.0, np.cumsum(np.log(np.arange(1, total + 1))))
    k = np.arange(count + 1)
    log_ways = log_factorial[total] - log_factorial[k] - log_factorial[total - k]

    def enough(share: float) -> bool:
        logs = log_ways + k * np.log(share) + (total - k) * np.log1p(-share)
        return bool(np.exp(logs).sum() <= probability)

    return _bisect(enough, 0.0, 1.0)


def poisson_interval(count: int, exposure: float, level: float = 0.95) -> Interval:
    """Events per unit of exposure (hours) with the exact interval of a Poisson rate.

    Garwood, "Fiducial Limits for the Poisson Distribution" (Biometrika 1936): the rates for which
    neither so high a count nor so low a one is improbable. None in ten hours: 0 (0 to 0.37) an
    hour.
    """
    if not exposure > 0:
        return _UNDEFINED
    tail = (1 - level) / 2
    low = _poisson_mean(count - 1, 1 - tail) if count else 0.0
    return Interval(count / exposure, low / exposure, _poisson_mean(count, tail) / exposure)


def _poisson_mean(count: int, probability: float) -> float:
    """The mean at which at most ``count`` events have this probability; it falls with it."""
    k = np.arange(count + 1)
    log_factorial = np.append(0.0, np.cumsum(np.log(k[1:])))

    def enough(mean: float) -> bool:
        return bool(np.exp(k * np.log(mean) - mean - log_factorial).sum() <= probability)

    return _bisect(enough, 0.0, count + 10 * float(np.sqrt(count + 1)) + 10)


def _bisect(enough: Callable[[float], bool], low: float, high: float) -> float:
    """The lowest number between ``low`` and ``high`` that is enough; ``high`` must be."""
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return (low + high) / 2
