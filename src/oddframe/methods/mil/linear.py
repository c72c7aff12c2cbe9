"""The linear baseline: one weight a feature, top-k multiple-instance learning.

Every table compares with it: a method that is no better has learnt nothing beyond a weighted sum of
the features. It expects standardised features.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import (
    MAX_WIDTH,
    Loss,
    MethodConfig,
    MethodInfo,
    Output,
    Recipe,
    WeaklySupervised,
)
from oddframe.methods.shared.layers import mean_over_crops, merge_crops
from oddframe.methods.shared.mil import top_k_mean


class LinearConfig(MethodConfig):
    """Settings of the linear baseline.

    Attributes:
        topk_share: A bag's score is the mean of its ``max(1, T // topk_share)`` highest scores.
    """

    topk_share: int = Field(default=8, ge=1, le=MAX_WIDTH)


class LinearNetwork(nn.Module):
    """sigmoid(w x + b), the same for every snippet."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = nn.Linear(dim, 1)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Output:
        """(B, T, D) -> scores (B, T); (B, C, T, D): averaged over the C crops."""
        x, crops = merge_crops(features, labels)
        return mean_over_crops(self.score(x).squeeze(-1), crops)


class Linear(WeaklySupervised[LinearConfig, Output]):
    """Linear top-k multiple-instance learning."""

    name = "linear"
    title = "Linear top-k MIL"
    year = 2023
    info = MethodInfo(
        paper="Ours: the baseline for deep methods",
        inputs="snippet features",
        checked="ours",
        evidence="loss by hand, behaviour on planted anomalies",
    )
    Config = LinearConfig
    supports_microbatches = True
    recipe = Recipe(lr=2e-3, weight_decay=1e-2, steps=300)

    def network(self, dim: int, config: LinearConfig) -> LinearNetwork:  # noqa: ARG002
        """Build the network, with weights of zero: except for the top k the loss is convex."""
        return LinearNetwork(dim)

    def loss(self, output: Output, labels: Tensor, config: LinearConfig) -> Loss:
        """Binary cross-entropy of the mean of the top-k scores and the bag's label."""
        k = max(1, output.scores.shape[1] // config.topk_share)
        bag = top_k_mean(output.scores, k)
        total = F.binary_cross_entropy(bag, labels.to(bag.dtype))
        return Loss(total, {"cls": total})
