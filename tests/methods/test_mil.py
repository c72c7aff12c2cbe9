"""Selections and loss terms that several methods share, by hand."""

from __future__ import annotations

from math import log

import pytest
import torch

from oddframe.methods.losses import (
    max_window_mean,
    ranking_loss,
    smoothness,
    sparsity,
    top_k_bce,
    top_k_size,
)


def test_ranking_loss_is_over_all_pairs() -> None:
    abnormal, normal = torch.tensor([0.9, 0.2]), torch.tensor([0.1, 0.6])
    pairs = [1 - a + n for a in (0.9, 0.2) for n in (0.1, 0.6)]
    assert ranking_loss(abnormal, normal).item() == pytest.approx(sum(pairs) / 4)
    # Beyond the margin there is nothing to gain, and nothing to set off against others.
    assert ranking_loss(abnormal, normal, 0.5).item() == pytest.approx((0.2 + 0.4 + 0.9) / 4)


def test_top_k_mean() -> None:
    assert [top_k_size(n) for n in (1, 15, 16, 31, 32, 200)] == [1, 1, 2, 2, 3, 13]
    row = torch.linspace(0.1, 0.9, 33)  # k is 3: 0.9, 0.875 and 0.85.
    scores = torch.stack([row, row.flip(0)])
    found = top_k_bce(scores, torch.tensor([1.0, 0.0]))
    assert found.item() == pytest.approx(-(log(0.875) + log(1 - 0.875)) / 2)


def test_max_window_mean_is_of_consecutive_snippets() -> None:
    scores = torch.tensor([[0.9, 0.1, 0.6, 0.5, 0.8]])
    found = [max_window_mean(scores, length).item() for length in (1, 2, 3, 5)]
    assert found == pytest.approx([0.9, 0.65, 1.9 / 3, 2.9 / 5])


def test_smoothness_and_sparsity() -> None:
    scores = torch.tensor([[0.1, 0.4, 0.2], [0.5, 0.5, 0.5]])
    assert smoothness(scores).tolist() == pytest.approx([0.09 + 0.04, 0])
    assert sparsity(scores).tolist() == pytest.approx([0.7, 1.5])
