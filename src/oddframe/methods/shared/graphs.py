"""Graphs over the snippets of a video: which of them are connected, and how strongly."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def by_distance(length: int, like: Tensor, scale: float = math.e) -> Tensor:
    """(T, T) exp(-|i - j| / scale) in the type of ``like`` and on its device."""
    at = torch.arange(length, device=like.device, dtype=like.dtype)
    return torch.exp(-(at[:, None] - at).abs() / scale)


def by_cosine(x: Tensor) -> Tensor:
    """(B, T, D) -> (B, T, T) cosine of each two snippets; 0 where one of them is zero."""
    lengths = x.norm(dim=-1, keepdim=True)
    cosine: Tensor = (x @ x.mT) / (lengths @ lengths.mT + 1e-20)
    return cosine


def rows_to_one(weights: Tensor, valid: Tensor) -> Tensor:
    """Softmax of the rows of ``weights`` (B, T, T), over and for snippets that ``valid`` (B, T)
    names; nothing for the others."""
    hidden = weights.masked_fill(~valid[:, None, :], -torch.inf)
    return torch.where(valid[:, :, None], hidden.softmax(-1), 0.0)
