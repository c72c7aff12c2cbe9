"""Intervals against those of scipy, and the bootstrap against theory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, chi2, t

from oddframe.errors import UsageError
from oddframe.evaluation.confidence import (
    Interval,
    binomial_interval,
    bootstrap_interval,
    mean_interval,
    mean_of_means_interval,
    poisson_interval,
)


def test_bootstrap_resamples_whole_groups():
    rng = np.random.default_rng(3)
    groups = [rng.normal(5, 1, size=20) for _ in range(40)]
    interval = bootstrap_interval(groups, lambda gs: float(np.mean(np.concatenate(gs))), draws=500)
    assert interval.low < interval.value < interval.high
    spread = np.std([g.mean() for g in groups]) / np.sqrt(len(groups))
    assert (interval.high - interval.low) / (2 * 1.96 * spread) == pytest.approx(1, abs=0.2)
    again = bootstrap_interval(groups, lambda gs: float(np.mean(np.concatenate(gs))), draws=500)
    assert again == interval


def test_bootstrap_ignores_undefined_resamples():
    def only_with_both(groups):
        return float("nan") if len(set(groups)) < 2 else float(sum(groups))

    assert bootstrap_interval([0, 1, 1], only_with_both).low == 1.0
    assert np.isnan(bootstrap_interval([0], only_with_both).high)
    assert np.isnan(bootstrap_interval([], len).value)


def test_equal_values_have_no_bootstrap_interval():
    found = bootstrap_interval([1.0] * 12, lambda drawn: float(np.mean(drawn)))
    assert found.value == 1.0
    assert np.isnan([found.low, found.high]).all()


@given(st.integers(0, 400), st.integers(0, 400), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_a_share_has_its_exact_interval(one: int, other: int, level: float) -> None:
    count, total = min(one, other), max(one, other, 1)
    found = binomial_interval(count, total, level)
    exact = binomtest(count, total).proportion_ci(level, "exact")
    assert found.value == count / total
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), rel=1e-8, abs=1e-10)
    assert found.low < found.high


def test_twelve_of_twelve_is_not_certain() -> None:
    assert binomial_interval(12, 12).low == pytest.approx(0.025 ** (1 / 12))  # By hand.
    assert binomial_interval(0, 12).high == pytest.approx(1 - 0.025 ** (1 / 12))
    many = binomial_interval(99_000, 100_000)
    exact = binomtest(99_000, 100_000).proportion_ci(0.95, "exact")
    assert (many.low, many.high) == pytest.approx((exact.low, exact.high), rel=1e-8)
    assert np.isnan(binomial_interval(0, 0).value)
    for count, total in ((-1, 3), (4, 3), (0, -1)):
        with pytest.raises(UsageError, match="needs a count"):
            binomial_interval(count, total)


@given(
    st.lists(
        st.floats(-100, 100).filter(lambda x: x == 0 or abs(x) > 1e-3), min_size=2, max_size=40
    )
)
def test_a_mean_has_students_interval(values: list[float]) -> None:
    found = mean_interval(values, 0.9)
    reach = t.ppf(0.95, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    assert found.value == pytest.approx(np.mean(values), abs=1e-9)
    assert (found.low, found.high) == pytest.approx(
        (found.value - reach, found.value + reach), rel=1e-9, abs=1e-9
    )


def test_one_value_has_no_interval_and_none_has_no_mean() -> None:
    one, none = mean_interval([3.0]), mean_interval([])
    assert one.value == 3.0
    assert np.isnan([one.low, one.high, none.value, none.low]).all()


@pytest.mark.parametrize("count", [0, 1, 3, 12, 250])
def test_a_poisson_rate_has_its_exact_interval(count):
    found = poisson_interval(count, exposure=10.0)
    low = chi2.ppf(0.025, 2 * count) / 20 if count else 0.0
    assert found.value == count / 10
    assert (found.low, found.high) == pytest.approx((low, chi2.ppf(0.975, 2 * count + 2) / 20))


def test_without_hours_there_is_no_rate():
    assert np.isnan(poisson_interval(0, 0.0).high)


def test_one_group_has_students_interval() -> None:
    values = [0.3, 0.5, 0.1, 0.8]
    assert mean_of_means_interval([values]) == mean_interval(values)


def test_groups_have_equal_weights_and_own_variances() -> None:
    """By hand: variances of the means 1 and 1/3, their sum over 4, Welch's degrees of freedom."""
    found = mean_of_means_interval([[0.0, 2.0], [9.0, 10.0, 11.0]])
    # Squares 2/2 and 1/3; (4/3)^2 / (1/1 + (1/9)/2) = 1.68, so one degree: t of 12.706.
    reach = 12.7062 * np.sqrt(4 / 3) / 2
    assert found.value == 5.5
    assert (found.low, found.high) == pytest.approx((5.5 - reach, 5.5 + reach), rel=1e-4)
    # Many in one group do not outweigh few in another.
    many = mean_of_means_interval([[0.0, 2.0] * 50, [9.0, 10.0, 11.0]])
    assert many.value == 5.5


def test_the_mean_of_means_interval_has_its_coverage() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        groups = [rng.normal(0, s, n).tolist() for s, n in ((1, 10), (5, 5), (2, 3))]
        found = mean_of_means_interval(groups)
        hits += found.low <= 0 <= found.high
    assert 0.93 <= hits / 400 <= 0.99


def test_a_group_of_one_value_has_no_interval() -> None:
    alone = mean_of_means_interval([[1.0, 2.0], [4.0]])
    assert alone.value == 2.75
    assert np.isnan([alone.low, alone.high]).all()
    assert np.isnan(mean_of_means_interval([]).value)
    assert np.isnan(mean_of_means_interval([[1.0], []]).value)
    assert mean_of_means_interval([[1.0, 1.0], [3.0, 3.0]]) == Interval(2.0, 2.0, 2.0)
