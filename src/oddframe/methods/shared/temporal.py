"""Scores along time: how smooth and how rare they should be."""

from __future__ import annotations

from torch import Tensor


def smoothness(scores: Tensor) -> Tensor:
    """(..., T) -> (...) sum of (s_i - s_{i+1})^2."""
    return scores.diff(dim=-1).square().sum(-1)


def sparsity(scores: Tensor) -> Tensor:
    """(..., T) -> (...) sum of the scores, none of which is negative."""
    return scores.sum(-1)
