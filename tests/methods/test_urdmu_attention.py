"""The local branch, computed as a band, equals the dense mask."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from oddframe.methods.mil.urdmu_network import local_attention, mask_sums

Norm = Literal["column", "row"]


def dense(x: Tensor, tau: float, norm: Norm) -> Tensor:
    t = torch.arange(x.shape[1], dtype=x.dtype)
    mask = torch.exp(-(t[:, None] - t).abs() / math.exp(tau))
    # Dividing by sums laid out as a row divides column j by the sum of column j.
    mask = mask / mask.sum(0) if norm == "column" else mask / mask.sum(1, keepdim=True)
    return mask @ x


@settings(max_examples=40)
@given(
    length=st.integers(1, 400),
    tau=st.sampled_from([-2.0, 0.0, 1.0, 1.7]),
    norm=st.sampled_from(["column", "row"]),
)
def test_band_equals_dense_mask(length: int, tau: float, norm: Norm) -> None:
    x = torch.randn(2, length, 3, generator=torch.Generator().manual_seed(length))
    exact = dense(x.double(), tau, norm)
    torch.testing.assert_close(local_attention(x.double(), tau, norm), exact, rtol=0, atol=1e-11)
    # A float32's own rounding, of up to some hundred values that are added.
    torch.testing.assert_close(local_attention(x, tau, norm).double(), exact, rtol=0, atol=4e-6)


@pytest.mark.parametrize("norm", ["column", "row"])
def test_band_equals_dense_mask_over_thousands_of_snippets(norm: Norm) -> None:
    x = torch.randn(1, 3001, 4, generator=torch.Generator().manual_seed(0))
    exact = dense(x.double(), 1.0, norm)
    torch.testing.assert_close(local_attention(x, 1.0, norm).double(), exact, rtol=0, atol=1e-6)
    precise = local_attention(x.double(), 1.0, norm)
    torch.testing.assert_close(precise, exact, rtol=0, atol=1e-11)


def test_half_precision_stays_near_even_for_long_videos() -> None:
    x = torch.rand(1, 3001, 4, generator=torch.Generator().manual_seed(0))
    half = local_attention(x.bfloat16(), 1.0, "column")
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), local_attention(x, 1.0, "column"), rtol=0, atol=0.02)


@pytest.mark.parametrize("norm", ["column", "row"])
def test_gradient_equals_that_of_the_dense_mask(norm: Norm) -> None:
    x = torch.randn(1, 90, 2, dtype=torch.float64, requires_grad=True)
    seen = torch.randn(1, 90, 2, dtype=torch.float64)
    ours = torch.autograd.grad((local_attention(x, 1.0, norm) * seen).sum(), x)[0]
    theirs = torch.autograd.grad((dense(x, 1.0, norm) * seen).sum(), x)[0]
    torch.testing.assert_close(ours, theirs)


@settings(max_examples=40)
@given(length=st.integers(1, 300), tau=st.floats(-4, 4))
def test_sums_have_a_closed_form(length: int, tau: float) -> None:
    t = torch.arange(length, dtype=torch.float64)
    expected = torch.exp(-(t[:, None] - t).abs() / math.exp(tau)).sum(1)
    torch.testing.assert_close(mask_sums(length, tau, expected), expected)


def test_rows_or_columns_sum_to_one() -> None:
    eye = torch.eye(25).unsqueeze(0)
    column, row = local_attention(eye, 1.0, "column")[0], local_attention(eye, 1.0, "row")[0]
    torch.testing.assert_close(column.sum(0), torch.ones(25))
    torch.testing.assert_close(row.sum(1), torch.ones(25))
    assert (column[0].sum() - 1).abs() > 0.1  # They differ near either end ...
    torch.testing.assert_close(column[12], row[12], rtol=0, atol=2e-3)  # ... and not in between.
