"""CLAWS: noisy labels, a module that suppresses the normal, and clusters that lie apart.

Zaheer, Mahmood, Astrid, Lee, "CLAWS: Clustering Assisted Weakly Supervised Learning with Normalcy
Suppression for Anomalous Event Detection", ECCV 2020. Every snippet is told its video's label. What
is usual in a bag is suppressed by a softmax over time; the features of an abnormal video shall fall
into two clusters far apart, those of a normal one into two that are near.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import MAX_WIDTH, Loss, Method, MethodInfo, Output, Recipe
from oddframe.methods.shared.layers import init_xavier, mean_over_crops, merge_crops
from oddframe.methods.shared.mil import smoothness, sparsity, split_by_label

_LLOYD_STEPS = 5


class ClawsConfig(BaseModel):
    """Settings of CLAWS.

    Attributes:
        hidden: Width of the first layer.
        bottleneck: Width of the second, whose features are clustered.
        dropout: Behind both.
        cluster: Weight of the clustering distance loss.
        apart: Distance of the two centres of an abnormal video that is far enough.
        smooth: Weight of the smoothness of scores.
        sparse: Weight of their sparsity.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(default=512, ge=1, le=MAX_WIDTH)
    bottleneck: int = Field(default=32, ge=1, le=MAX_WIDTH)
    dropout: float = Field(default=0.6, ge=0, lt=1)
    cluster: float = Field(default=0.1, ge=0)
    apart: float = Field(default=1.0, gt=0)
    smooth: float = Field(default=8e-5, ge=0)
    sparse: float = Field(default=8e-5, ge=0)


@dataclass(frozen=True)
class ClawsOutput(Output):
    """What the loss reads."""

    hidden: Tensor  # (B, T, H) features of the second layer, of length 1


class NormalcySuppression(nn.Module):
    """Features times a softmax over time: what stands out in a bag stays, the rest goes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weigh = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H) -> the same shape."""
        weights: Tensor = self.weigh(x).softmax(dim=1)
        return x * weights * x.shape[1]  # 1 on average, however long the video is.


class ClawsNetwork(nn.Module):
    """Two layers, each with its suppression, and a score."""

    def __init__(self, dim: int, config: ClawsConfig) -> None:
        super().__init__()
        h, b, dropout = config.hidden, config.bottleneck, config.dropout
        self.first = nn.Sequential(nn.Linear(dim, h), nn.ReLU(), nn.Dropout(dropout))
        self.suppress = NormalcySuppression(h)
        self.second = nn.Sequential(nn.Linear(h, b), nn.ReLU(), nn.Dropout(dropout))
        self.suppress_again = NormalcySuppression(b)
        self.score = nn.Linear(b, 1)
        init_xavier(self)
        # It begins without suppression: at random, its weights of a few snippets drive the scores
        # out to 0 and 1, where a squared error has no slope.
        for layer in (self.suppress, self.suppress_again):
            nn.init.zeros_(layer.weigh.weight)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Output:
        """(B, T, D) -> scores (B, T); (B, C, T, D): averaged over the C crops.

        With ``labels`` it is the ``ClawsOutput`` of the loss.
        """
        x, crops = merge_crops(features, labels)
        x = self.suppress(self.first(x))
        x = self.suppress_again(self.second(x))
        logits = self.score(x).squeeze(-1)
        if labels is None:
            return mean_over_crops(logits, crops)
        return ClawsOutput(logits.sigmoid(), logits, F.normalize(x, dim=-1))


class Claws(Method[ClawsConfig, ClawsOutput]):
    """Clustering assisted learning with normalcy suppression (Zaheer et al.; ECCV 2020)."""

    name = "claws"
    title = "CLAWS"
    year = 2020
    info = MethodInfo(
        paper="Zaheer, Mahmood, Astrid, Lee: CLAWS: Clustering Assisted Weakly Supervised Learning "
        "with Normalcy Suppression for Anomalous Event Detection, ECCV 2020",
        inputs="snippet features",
        supervision="video labels",
        checked="from the paper",
        evidence="loss and clusters by hand, behaviour on planted anomalies",
        deviations=(
            "suppression is over a bag, in training and at test, where the paper's is over a batch "
            "of consecutive snippets of one video; it is multiplied by the length, so that this "
            "does not change the scale, and begins at none: at random it saturates the scores on "
            "real features, and nothing is learned",
            "clusters lie in features of length 1; those of a normal video are drawn together, "
            "those of an abnormal one pushed up to a margin apart; they are of what the second "
            "suppression leaves, after five of Lloyd's steps from two snippets that lie far apart",
            "chosen: Sultani et al.'s widths, dropout and weights of smoothness and sparsity, a "
            "clustering weight of 0.1, Adam at 1e-4, 3,000 steps of 30 + 30 bags",
        ),
    )
    Config = ClawsConfig
    recipe = Recipe(lr=1e-4, steps=3_000, normal_bags=30, abnormal_bags=30, segments=32)

    def network(self, dim: int, config: ClawsConfig) -> ClawsNetwork:
        """A fresh network for features of length ``dim``."""
        return ClawsNetwork(dim, config)

    def loss(self, output: ClawsOutput, labels: Tensor, config: ClawsConfig) -> Loss:
        """Terms: ``cls``, squared error against the video's label; ``cluster``; ``smooth`` and
        ``sparse`` of abnormal videos."""
        normal, abnormal = split_by_label(labels)
        told = labels[:, None].to(output.scores.dtype)
        cls = (output.scores - told).square().mean()
        apart = centre_distance(output.hidden)
        cluster = apart[normal].mean() + F.relu(config.apart - apart[abnormal]).mean()
        odd = output.scores[abnormal]
        smooth, sparse = smoothness(odd).mean(), sparsity(odd).mean()
        total = cls + config.cluster * cluster + config.smooth * smooth + config.sparse * sparse
        terms = {"cls": cls, "cluster": cluster, "smooth": smooth, "sparse": sparse}
        return Loss(total, terms)


def centre_distance(x: Tensor) -> Tensor:
    """(B, T, H) -> (B,) distance of the centres of two clusters of each video's snippets.

    By Lloyd's algorithm, without chance: it starts at the snippet farthest from the mean and the
    one farthest from that. 0 where all snippets are the same.
    """
    with torch.no_grad():
        one = (x - x.mean(1, keepdim=True)).norm(dim=-1).argmax(1)
        first = x.take_along_dim(one[:, None, None], dim=1)
        other = (x - first).norm(dim=-1).argmax(1)
        centres = torch.cat([first, x.take_along_dim(other[:, None, None], dim=1)], dim=1)
        for _ in range(_LLOYD_STEPS):
            member = F.one_hot(torch.cdist(x, centres).argmin(-1), 2).to(x.dtype)  # (B, T, 2)
            centres = _cluster_means(x, member)
    centres = _cluster_means(x, member)
    return ((centres[:, 0] - centres[:, 1]).square().sum(-1) + 1e-12).sqrt()


def _cluster_means(x: Tensor, member: Tensor) -> Tensor:
    """(B, 2, H) means of the members; the whole bag's where a cluster has none."""
    size = member.sum(1)[..., None]
    means = member.mT @ x / size.clamp(min=1)
    return torch.where(size > 0, means, x.mean(1, keepdim=True))
