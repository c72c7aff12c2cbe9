"""Intervals against scipy's, and a bootstrap against what theory says of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, t

from oddframe.confidence import bootstrap_interval, mean_interval, poisson_interval


def test_bootstrap_draws_whole_groups():
    rng = np.random.default_rng(3)
    groups = [rng.normal(5, 1, size=20) for _ in range(40)]
    interval = bootstrap_interval(groups, lambda gs: float(np.mean(np.concatenate(gs))), draws=500)
    assert interval.low < interval.value < interval.high
    spread = np.std([g.mean() for g in groups]) / np.sqrt(len(groups))
    assert (interval.high - interval.low) / (2 * 1.96 * spread) == pytest.approx(1, abs=0.2)
    again = bootstrap_interval(groups, lambda gs: float(np.mean(np.concatenate(gs))), draws=500)
    assert again == interval


def test_bootstrap_leaves_undefined_resamples_out():
    def only_with_both(groups):
        return float("nan") if len(set(groups)) < 2 else 1.0

    assert bootstrap_interval([0, 1], only_with_both).low == 1.0
    assert np.isnan(bootstrap_interval([0], only_with_both).high)
    assert np.isnan(bootstrap_interval([], len).value)


@given(
    st.lists(
        st.floats(-100, 100).filter(lambda x: x == 0 or abs(x) > 1e-3), min_size=2, max_size=40
    )
)
def test_a_mean_of_few_has_students_interval(values: list[float]) -> None:
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
