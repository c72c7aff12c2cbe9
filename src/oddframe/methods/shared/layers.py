"""Layers, crops, graphs over snippets and initial weights that several methods share."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.errors import UsageError
from oddframe.methods.base import Output


def merge_crops(features: Tensor, labels: Tensor | None = None) -> tuple[Tensor, int]:
    """(B, C, T, D) -> (B * C, T, D) and C; (B, T, D) stays as it is, with C = 1.

    Raises:
        UsageError: there are several crops and ``labels``; a training item is one crop.
    """
    if features.ndim == 3:
        return features, 1
    if labels is not None:
        raise UsageError("train on one crop at a time: features (B, T, D), not (B, C, T, D)")
    return features.flatten(0, 1), features.shape[1]


def mean_over_crops(logits: Tensor, crops: int) -> Output:
    """Logits (B * C, T) -> mean scores and mean logits of the crops, both (B, T)."""
    logits = logits.view(-1, crops, logits.shape[1])
    return Output(logits.sigmoid().mean(1), logits.mean(1))


def score_mlp(dim: int, hidden: int, bottleneck: int, dropout: float) -> nn.Sequential:
    """(..., D) -> (..., 1): the three layers of Sultani et al. 2018, which many methods reuse."""
    return nn.Sequential(
        nn.Linear(dim, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, bottleneck),
        nn.Dropout(dropout),
        nn.Linear(bottleneck, 1),
    )


class CausalConv1d(nn.Conv1d):
    """A convolution over a snippet and those before it: (B, D, T) -> (B, D', T)."""

    def __init__(self, channels: int, out: int, kernel: int, dilation: int = 1) -> None:
        super().__init__(channels, out, kernel, dilation=dilation)
        self.left_padding = (kernel - 1) * dilation

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (self.left_padding, 0)))


def distance_adjacency(length: int, like: Tensor, scale: float = math.e) -> Tensor:
    """(T, T) exp(-|i - j| / scale), with dtype and device of ``like``."""
    index = torch.arange(length, device=like.device, dtype=like.dtype)
    return torch.exp(-(index[:, None] - index).abs() / scale)


def cosine_adjacency(x: Tensor) -> Tensor:
    """(B, T, D) -> (B, T, T) cosine similarity of every two snippets; 0 for snippets of zeros."""
    norms = x.norm(dim=-1, keepdim=True)
    cosine: Tensor = (x @ x.mT) / (norms @ norms.mT + 1e-20)
    return cosine


def masked_softmax(weights: Tensor, valid: Tensor) -> Tensor:
    """Softmax over the rows of ``weights`` (B, T, T), for and over ``valid`` (B, T) snippets.

    The weights of all others are 0.
    """
    masked = weights.masked_fill(~valid[:, None, :], -torch.inf)
    return torch.where(valid[:, :, None], masked.softmax(-1), 0.0)


def init_xavier(network: nn.Module, *, normal: bool = False, keep_biases: bool = False) -> None:
    """Draw Glorot's uniform (or ``normal``) weights in all linear layers and 1-D convolutions.

    Biases are set to zero, unless ``keep_biases``.
    """
    fill = nn.init.xavier_normal_ if normal else nn.init.xavier_uniform_
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv1d):
            fill(module.weight)
            if module.bias is not None and not keep_biases:
                nn.init.zeros_(module.bias)
