"""Layers that several methods have."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


def scorer(dim: int, hidden: int, bottleneck: int, dropout: float) -> nn.Sequential:
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
