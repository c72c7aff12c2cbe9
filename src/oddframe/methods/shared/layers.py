"""Layers that several methods have.

Several crops of a video: each goes through the network as a bag of its own.

Graphs over the snippets of a video: which of them are connected, and how strongly.

Initial weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.errors import UsageError
from oddframe.methods.base import Output


def score_mlp(dim: int, hidden: int, bottleneck: int, dropout: float) -> nn.Sequential:
    """(..., D) -> (..., 1): the three layers of Sultani et al. 2018, which many took over."""
    return nn.Sequential(
        nn.Linear(dim, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, bottleneck),
        nn.Dropout(dropout),
        nn.Linear(bottleneck, 1),
    )


class CausalConv1d(nn.Conv1d):
    """A convolution that sees a snippet and those before it: (B, D, T) -> (B, D', T)."""

    def __init__(self, channels: int, out: int, kernel: int, dilation: int = 1) -> None:
        super().__init__(channels, out, kernel, dilation=dilation)
        self.before = (kernel - 1) * dilation

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (self.before, 0)))


def merge_crops(features: Tensor, labels: Tensor | None = None) -> tuple[Tensor, int]:
    """(B, C, T, D) -> (B * C, T, D) and C; (B, T, D) as it is and 1.

    Raises:
        UsageError: several crops come with labels; an item of training is one crop.
    """
    if features.ndim == 3:
        return features, 1
    if labels is not None:
        raise UsageError("train on one crop at a time: features (B, T, D), not (B, C, T, D)")
    return features.flatten(0, 1), features.shape[1]


def mean_over_crops(logits: Tensor, crops: int) -> Output:
    """Logits (B * C, T) -> the crops' mean scores and mean logits, both (B, T)."""
    logits = logits.view(-1, crops, logits.shape[1])
    return Output(logits.sigmoid().mean(1), logits.mean(1))


def distance_adjacency(length: int, like: Tensor, scale: float = math.e) -> Tensor:
    """(T, T) exp(-|i - j| / scale) in the type of ``like`` and on its device."""
    at = torch.arange(length, device=like.device, dtype=like.dtype)
    return torch.exp(-(at[:, None] - at).abs() / scale)


def cosine_adjacency(x: Tensor) -> Tensor:
    """(B, T, D) -> (B, T, T) cosine of each two snippets; 0 where one of them is zero."""
    lengths = x.norm(dim=-1, keepdim=True)
    cosine: Tensor = (x @ x.mT) / (lengths @ lengths.mT + 1e-20)
    return cosine


def masked_softmax(weights: Tensor, valid: Tensor) -> Tensor:
    """Softmax of the rows of ``weights`` (B, T, T), over and for snippets that ``valid`` (B, T)
    names; nothing for the others."""
    hidden = weights.masked_fill(~valid[:, None, :], -torch.inf)
    return torch.where(valid[:, :, None], hidden.softmax(-1), 0.0)


def init_xavier(network: nn.Module, *, normal: bool = False, biases: bool = False) -> None:
    """Glorot's uniform (or ``normal``) weights in every linear layer and convolution.

    Biases begin at zero, or, with ``biases``, as PyTorch draws them.
    """
    fill = nn.init.xavier_normal_ if normal else nn.init.xavier_uniform_
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv1d):
            fill(module.weight)
            if module.bias is not None and not biases:
                nn.init.zeros_(module.bias)
