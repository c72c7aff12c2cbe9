"""CLAWS: noisy snippet labels, normalcy suppression and a clustering loss.

Every snippet is trained with its video's label. The clustering loss moves two clusters of features
far apart in abnormal videos, and close together in normal ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import BagNetwork, Loss, MethodInfo, Output, Recipe, WeaklySupervised
from oddframe.methods.config import Dropout, MethodConfig, NotNegative, Width, renamed_field
from oddframe.methods.layers import embedding_layer, init_xavier
from oddframe.methods.losses import smoothness, sparsity, split_by_label

_LLOYD_STEPS = 5


class ClawsConfig(MethodConfig):
    hidden: Width = 512  # width of the first layer
    bottleneck: Width = 32  # width of the second, whose features are clustered
    dropout: Dropout = 0.6  # after both
    cluster: NotNegative = 0.1  # weight of the clustering distance loss
    # Margin of that loss: distance of the two centres of an abnormal video.
    cluster_margin: float = renamed_field(1.0, name="cluster_margin", old="apart", gt=0)
    smooth: NotNegative = 8e-5  # weight of the smoothness term
    sparse: NotNegative = 8e-5  # weight of the sparsity term


@dataclass(frozen=True)
class ClawsOutput(Output):
    hidden: Tensor  # (B, T, H) features of the second layer, L2-normalised


class NormalcySuppression(nn.Module):
    """Multiplies features by a softmax over time, so those that stand out in a bag remain."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weigh = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H) -> the same shape."""
        weights: Tensor = self.weigh(x).softmax(dim=1)
        return x * weights * x.shape[1]  # 1 on average, however long the video is.


class ClawsNetwork(BagNetwork):
    """Two layers, each with normalcy suppression, and a scoring layer."""

    def __init__(self, dim: int, config: ClawsConfig) -> None:
        super().__init__()
        h, b, dropout = config.hidden, config.bottleneck, config.dropout
        self.first = embedding_layer(dim, h, dropout)
        self.suppress = NormalcySuppression(h)
        self.second = embedding_layer(h, b, dropout)
        self.suppress_again = NormalcySuppression(b)
        self.score = nn.Linear(b, 1)
        init_xavier(self)
        # Start without suppression: random weights single out a few snippets, whose scores become
        # 0 or 1, where the squared error has no gradient.
        for layer in (self.suppress, self.suppress_again):
            nn.init.zeros_(layer.weigh.weight)

    def score_bags(self, x: Tensor, labels: Tensor | None) -> Output:  # noqa: ARG002
        x = self.suppress(self.first(x))
        x = self.suppress_again(self.second(x))
        logits = self.score(x).squeeze(-1)
        return ClawsOutput(logits.sigmoid(), logits, F.normalize(x, dim=-1))


class Claws(WeaklySupervised[ClawsConfig, ClawsOutput]):
    name = "claws"
    title = "CLAWS"
    year = 2020
    info = MethodInfo(
        paper="Zaheer, Mahmood, Astrid, Lee: CLAWS: Clustering Assisted Weakly Supervised Learning "
        "with Normalcy Suppression for Anomalous Event Detection, ECCV 2020",
        inputs="snippet features",
        checked="from the paper",
        evidence="loss and clusters by hand, behaviour on planted anomalies",
        deviations=(
            "suppression is over a bag, in training and at test, where the paper's is over a batch "
            "of consecutive snippets of one video; it is multiplied by the length, so that the "
            "length does not change the scale, and starts without effect: random weights saturate "
            "the scores on real features, and nothing is learned",
            "clusters are of L2-normalised features after the second suppression, found by five "
            "iterations of Lloyd's algorithm from two distant snippets; the loss draws those of a "
            "normal video together, and those of an abnormal one up to a margin apart",
            "our choice: Sultani et al.'s widths, dropout and weights of smoothness and sparsity, "
            "a clustering weight of 0.1, Adam at 1e-4, 3,000 steps of 30 + 30 bags",
        ),
    )
    Config = ClawsConfig
    Network = ClawsNetwork
    recipe = Recipe(lr=1e-4, steps=3_000, normal_bags=30, abnormal_bags=30, segments=32)

    def loss(self, output: ClawsOutput, labels: Tensor, config: ClawsConfig) -> Loss:
        """Terms: ``cls``, squared error against the video's label; ``cluster``; ``smooth`` and
        ``sparse`` of abnormal videos."""
        normal, abnormal = split_by_label(labels)
        targets = labels[:, None].to(output.scores.dtype)
        cls = (output.scores - targets).square().mean()
        distance = centre_distance(output.hidden)
        hinge = F.relu(config.cluster_margin - distance[abnormal])
        cluster = distance[normal].mean() + hinge.mean()
        scores = output.scores[abnormal]
        smooth, sparse = smoothness(scores).mean(), sparsity(scores).mean()
        total = cls + config.cluster * cluster + config.smooth * smooth + config.sparse * sparse
        return Loss(total, {"cls": cls, "cluster": cluster, "smooth": smooth, "sparse": sparse})


def centre_distance(x: Tensor) -> Tensor:
    """(B, T, H) -> (B,) distance between the centres of two clusters of each video's snippets.

    Lloyd's algorithm starts at the snippet farthest from the mean and the one farthest from that.
    """
    with torch.no_grad():
        index = (x - x.mean(1, keepdim=True)).norm(dim=-1).argmax(1)
        first = x.take_along_dim(index[:, None, None], dim=1)
        index = (x - first).norm(dim=-1).argmax(1)
        centres = torch.cat([first, x.take_along_dim(index[:, None, None], dim=1)], dim=1)
        for _ in range(_LLOYD_STEPS):
            member = F.one_hot(torch.cdist(x, centres).argmin(-1), 2).to(x.dtype)  # (B, T, 2)
            centres = _cluster_means(x, member)
    centres = _cluster_means(x, member)
    return ((centres[:, 0] - centres[:, 1]).square().sum(-1) + 1e-12).sqrt()


def _cluster_means(x: Tensor, member: Tensor) -> Tensor:
    """(B, 2, H) means of the clusters; the mean of the bag if a cluster is empty."""
    size = member.sum(1)[..., None]
    means = member.mT @ x / size.clamp(min=1)
    return torch.where(size > 0, means, x.mean(1, keepdim=True))
