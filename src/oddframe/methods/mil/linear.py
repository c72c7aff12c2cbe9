"""The linear baseline, top-k multiple-instance learning with one weight a feature.

A method that is no better has learnt nothing beyond a weighted sum of the standardised features.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import BagNetwork, Loss, MethodInfo, Output, Recipe, WeaklySupervised
from oddframe.methods.config import MethodConfig, Width
from oddframe.methods.losses import top_k_mean


class LinearConfig(MethodConfig):
    # A bag's score is the mean of its ``max(1, T // topk_share)`` highest scores.
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
        k = max(1, output.scores.shape[1] // config.topk_share)
        bag = top_k_mean(output.scores, k)
        total = F.binary_cross_entropy(bag, labels.to(bag.dtype))
        return Loss(total, {"cls": total})
