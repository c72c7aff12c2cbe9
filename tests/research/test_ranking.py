"""Ranks, Friedman's test and Nemenyi's critical difference, against values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import friedmanchisquare

from oddframe.errors import UsageError
from oddframe.research.leaderboard.ranking import (
    Ranking,
    critical_difference,
    rank_blocks,
    studentised_range,
)

NAN = float("nan")


# Table 5(a) of Demšar (JMLR 2006): the studentised range over sqrt(2), at 5 %.
@pytest.mark.parametrize(
    ("methods", "q"),
    [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (8, 3.031), (10, 3.164)],
)
def test_the_studentised_range_equals_the_table(methods: int, q: float) -> None:
    # The paper's 2.343 for three is cut, not rounded: it is 2.34370.
    assert studentised_range(0.95, methods) / math.sqrt(2) == pytest.approx(q, abs=1e-3)


def test_the_critical_difference_of_the_papers_example() -> None:
    # Section 3.2.2: four classifiers on fourteen data sets, 2.569 sqrt(4 * 5 / (6 * 14)) = 1.25.
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


def test_ranks_and_statistic_by_hand() -> None:
    found = rank_blocks({"worst": [1, 1, 1, 2], "best": [3, 3, 3, 3], "tied": [2, 2, 2, 2]})
    # Ranks of the last block: best 1, the two others share 2 and 3.
    assert found.names == ("best", "tied", "worst")
    assert found.ranks == (1.0, 2.125, 2.875)
    squares = 1.0**2 + 2.125**2 + 2.875**2
    untied = 12 * 4 / (3 * 4) * (squares - 3 * 4**2 / 4)
    # One tie of two in four blocks of three takes (2^3 - 2) / (4 (3^3 - 3)) of the variance.
    assert found.statistic == pytest.approx(untied / (1 - 6 / 96))
    assert found.p_value == pytest.approx(math.exp(-found.statistic / 2))  # Two degrees of freedom.
    assert found.blocks == 4


@pytest.mark.parametrize("levels", [2, 4, 1000])
def test_the_statistic_equals_scipy_with_and_without_ties(levels: int) -> None:
    values = np.random.default_rng(levels).integers(levels, size=(5, 9)).astype(float)
    found = rank_blocks({f"m{i}": row.tolist() for i, row in enumerate(values)})
    expected = friedmanchisquare(*values)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue)


def test_methods_with_equal_ranks_do_not_differ() -> None:
    found = rank_blocks({"a": [1.0, 2.0], "b": [1.0, 2.0], "c": [1.0, 2.0]})
    assert (found.ranks, found.statistic, found.p_value) == ((2.0, 2.0, 2.0), 0.0, 1.0)


def test_failed_methods_rank_last() -> None:
    found = rank_blocks({"good": [90.0, 80.0], "poor": [10.0, 10.0], "failed": [NAN, 95.0]})
    assert dict(zip(found.names, found.ranks, strict=True)) == {
        "good": 1.5,
        "failed": 2.0,
        "poor": 2.5,
    }
    both = rank_blocks({"good": [1.0], "a": [NAN], "b": [NAN]})
    assert both.ranks == (1.0, 2.5, 2.5)


def test_cliques_are_the_longest_runs_within_the_critical_difference() -> None:
    found = Ranking(("a", "b", "c", "d", "e"), (1.0, 2.0, 2.4, 3.2, 5.0), 9, 0.0, 1.0, 1.3)
    assert found.cliques() == ((0, 1), (1, 3))


def test_groups_count_equally_however_many_blocks_they_have() -> None:
    # "a" wins all ten blocks of one data set, "b" both of two others.
    values = {"a": [2.0] * 10 + [1.0] * 2, "b": [1.0] * 10 + [2.0] * 2}
    pooled = rank_blocks(values)
    assert dict(zip(pooled.names, pooled.ranks, strict=True)) == pytest.approx(
        {"a": 14 / 12, "b": 22 / 12}
    )
    found = rank_blocks(values, ["x"] * 10 + ["y", "z"])
    assert found.names == ("b", "a")
    assert found.ranks == pytest.approx(((2 + 1 + 1) / 3, (1 + 2 + 2) / 3))
    # Weights 1/30 and 1/3: squares sum to 10/900 + 2/9 = 7/30. A block's ranks 1 and 2 have
    # variance 1/2; the mean ranks lie 1/6 from 1.5.
    assert found.statistic == pytest.approx(2 * (1 / 6) ** 2 / (7 / 30 / 2))
    assert found.critical == pytest.approx(critical_difference(2, 30 / 7))
    assert found.blocks == 12
    assert found.rank("b") == pytest.approx(4 / 3)
    assert found.rank("c") is None


def test_groups_of_equal_size_change_nothing() -> None:
    values = np.random.default_rng(0).normal(size=(4, 6))
    rows = {f"m{i}": row.tolist() for i, row in enumerate(values)}
    alike, plain = rank_blocks(rows, ["x", "y"] * 3), rank_blocks(rows)
    assert alike.names == plain.names
    assert (*alike.ranks, alike.statistic, alike.critical) == pytest.approx(
        (*plain.ranks, plain.statistic, plain.critical)
    )


def test_equal_methods_are_rarely_distinguished_whatever_the_weights() -> None:
    rng = np.random.default_rng(0)
    groups = [name for name, n in (("a", 10), ("b", 5), ("c", 5), ("d", 3)) for _ in range(n)]
    low = far = 0
    for _ in range(600):
        rows = {f"m{i}": row.tolist() for i, row in enumerate(rng.normal(size=(5, 23)))}
        found = rank_blocks(rows, groups)
        low += found.p_value < 0.05
        far += found.ranks[-1] - found.ranks[0] > found.critical
    assert 0.02 < low / 600 < 0.08
    assert 0.02 < far / 600 < 0.08


@settings(max_examples=20)
@given(st.integers(2, 6), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_the_sum_of_the_ranks_is_fixed(methods: int, blocks: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(4, size=(methods, blocks)).astype(float)
    found = rank_blocks({f"m{i}": row.tolist() for i, row in enumerate(values)})
    assert sum(found.ranks) == pytest.approx(methods * (methods + 1) / 2)
    assert list(found.ranks) == sorted(found.ranks)
    assert 0 <= found.p_value <= 1


def test_nothing_to_rank_is_refused() -> None:
    for values in ({"alone": [1.0]}, {"a": [1.0], "b": []}, {"a": [], "b": []}):
        with pytest.raises(UsageError, match="ranks need two"):
            rank_blocks(values)
    with pytest.raises(UsageError, match="ranks need two"):
        rank_blocks({"a": [1.0, 2.0], "b": [1.0, 2.0]}, ["x"])
