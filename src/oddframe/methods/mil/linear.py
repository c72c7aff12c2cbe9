"""The linear baseline: one weight a feature, top-k multiple-instance learning.

Every table compares with it: a method that is no better has learnt nothing beyond a weighted sum of
the features. It expects standardised features.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import (
    BagNetwork,
    Loss,
    MethodConfig,
    MethodInfo,
    Output,
    Recipe,
    WeaklySupervised,
    Width,
)
from oddframe.methods.losses import top_k_mean


class LinearConfig(MethodConfig):
    """Settings of the linear baseline.

    Attributes:
        topk_share: A bag's score is the mean of its ``max(1, T // topk_share)`` highest scores.
    """

    topk_share: Width = 8


class LinearNetwork(BagNetwork):
    """sigmoid(w x + b), from weights of zero: except for the top k the loss is convex."""

    def __init__(self, dim: int, config: LinearConfig) -> None:  # noqa: ARG002
        super().__init__()
        self.score = nn.Linear(dim, 1)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def score_bags(self, x: Tensor, labels: Tensor | None) -> Output:  # noqa: ARG002
        return Output.from_logits(self.score(x).squeeze(-1))


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
    Network = LinearNetwork
    supports_microbatches = True
    recipe = Recipe(lr=2e-3, weight_decay=1e-2, steps=300)

    def loss(self, output: Output, labels: Tensor, config: LinearConfig) -> Loss:
        """Binary cross-entropy of the mean of the top-k scores and the bag's label."""
        k = max(1, output.scores.shape[1] // config.topk_share)
        bag = top_k_mean(output.scores, k)
        total = F.binary_cross_entropy(bag, labels.to(bag.dtype))
        return Loss(total, {"cls": total})
