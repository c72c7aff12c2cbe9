"""GCN: weak labels are noisy labels, and a graph convolution cleans them.

Zhong, Li, Kong, Liu, Li, Li, "Graph Convolutional Label Noise Cleaner: Train a Plug-and-play Action
Classifier for Anomaly Detection", CVPR 2019. A classifier learns from labels of snippets, at first
their video's. A graph network then learns from what the classifier is sure of, and says what the
next labels are. Both take turns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import (
    MAX_LAYERS,
    MAX_WIDTH,
    Loss,
    Method,
    MethodInfo,
    Output,
    Recipe,
    StagedNetwork,
)
from oddframe.methods.shared.layers import (
    cosine_adjacency,
    distance_adjacency,
    init_xavier,
    mean_over_crops,
    merge_crops,
    score_mlp,
)


class GcnConfig(BaseModel):
    """Settings of the label noise cleaner.

    Attributes:
        hidden: Width of the classifier's first layer, and of the first graph layer.
        bottleneck: Width of the second ones.
        dropout: In the classifier and in the graph layers; its variance tells what is sure.
        passes: Passes through the classifier that the variance is taken over.
        sure: Share of a batch's snippets, those of the lowest variance, that the graph is told of.
        rounds: How often both take turns.
        sharpness: How fast the similarity graph's edges fall with the cosine.
        ensemble: Weight of what draws the graph's two outputs for the same snippet together.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(default=512, ge=1, le=MAX_WIDTH)
    bottleneck: int = Field(default=128, ge=1, le=MAX_WIDTH)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    passes: int = Field(default=4, ge=2, le=MAX_LAYERS)
    sure: float = Field(default=0.5, gt=0, le=1)
    rounds: int = Field(default=3, ge=1, le=MAX_LAYERS)
    sharpness: float = Field(default=10.0, gt=0)
    ensemble: float = Field(default=1.0, ge=0)


@dataclass(frozen=True)
class GcnOutput(Output):
    """What the loss reads. ``scores`` and ``logits`` are the classifier's."""

    guesses: Tensor  # (B, passes, T) scores of the classifier, each with other dropout
    cleaned: Tensor  # (B, T) logits of the graph
    again: Tensor  # (B, T) the same with other dropout
    done: Tensor  # (B,) share of the training that is done


class GraphLayer(nn.Module):
    """A x W (equation 4), rows of A summing to 1."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, out)

    def forward(self, x: Tensor, graph: Tensor) -> Tensor:
        """(B, T, width) -> (B, T, out)."""
        y: Tensor = graph @ self.linear(x)
        return y


class NoiseCleaner(nn.Module):
    """Two branches of two graph layers: snippets that look alike, snippets that are near."""

    def __init__(self, dim: int, config: GcnConfig) -> None:
        super().__init__()
        h, b = config.hidden, config.bottleneck
        self.alike = nn.ModuleList([GraphLayer(dim, h), GraphLayer(h, b)])
        self.near = nn.ModuleList([GraphLayer(dim, h), GraphLayer(h, b)])
        self.sharpness = config.sharpness
        self.dropout = nn.Dropout(config.dropout)
        self.score = nn.Linear(b, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> logits (B, T)."""
        alike = (self.sharpness * (cosine_adjacency(x) - 1)).exp()  # eq. 5: at most 1
        near = distance_adjacency(x.shape[1], x, 1.0)  # eq. 8
        fused = []
        for layers, graph in ((self.alike, alike), (self.near, near)):
            y, graph = x, graph / graph.sum(-1, keepdim=True)
            for layer in layers:
                y = self.dropout(F.relu(layer(y, graph)))
            fused.append(y)
        logits: Tensor = self.score(fused[0] + fused[1]).squeeze(-1)
        return logits


class GcnNetwork(StagedNetwork):
    """The classifier, which is what scores; the cleaner beside it, for training alone."""

    def __init__(self, dim: int, config: GcnConfig) -> None:
        super().__init__()
        self.passes = config.passes
        self.classifier = score_mlp(dim, config.hidden, config.bottleneck, config.dropout)
        self.cleaner = NoiseCleaner(dim, config)
        init_xavier(self)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Output:
        """(B, T, D) -> scores (B, T); (B, C, T, D): averaged over the C crops.

        With ``labels`` it is the ``GcnOutput`` of the loss.
        """
        x, crops = merge_crops(features, labels)
        logits = self.classifier(x).squeeze(-1)
        if labels is None:
            return mean_over_crops(logits, crops)
        more = [self.classifier(x).squeeze(-1) for _ in range(self.passes - 1)]
        guesses = torch.stack([logits, *more], dim=1).sigmoid()
        cleaned, again = self.cleaner(x), self.cleaner(x)
        done = self.done.expand(len(x))
        return GcnOutput(logits.sigmoid(), logits, guesses, cleaned, again, done)


class Gcn(Method[GcnConfig, GcnOutput]):
    """Graph convolutional label noise cleaner (Zhong et al.; CVPR 2019)."""

    name = "gcn"
    title = "GCN"
    year = 2019
    info = MethodInfo(
        paper="Zhong, Li, Kong, Liu, Li, Li: Graph Convolutional Label Noise Cleaner: Train a "
        "Plug-and-play Action Classifier for Anomaly Detection, CVPR 2019",
        inputs="snippet features",
        supervision="video labels",
        checked="from the paper",
        evidence="both losses by hand, turns, behaviour on planted anomalies",
        deviations=(
            "the classifier is three layers on features, where the paper trains a whole backbone",
            "sure is where dropout changes little, where the paper takes the variance of ten crops",
            "the graph's outputs are drawn to a second pass with other dropout, where the paper "
            "keeps a running mean of past outputs for every snippet of the data set",
            "edges of the similarity graph are exp(10 (cosine - 1)), where the paper takes the exp "
            "of a dot product less the row's largest",
            "a graph's weights are divided by their row's sum, where the authors' code divides by "
            "the root of the sums of both its snippets",
            "graph layers read the features themselves, both with ReLU, and one score is made of "
            "the branches' sum, where the authors' code has two layers before the graphs and takes "
            "the mean of the branches' scores",
            "outputs are drawn together for all snippets, sure ones and those of normal videos too",
            "chosen: three rounds, half of the snippets sure, Adam at 1e-4, 3,000 steps",
        ),
    )
    Config = GcnConfig
    recipe = Recipe(lr=1e-4, steps=3_000, normal_bags=32, abnormal_bags=32, segments=32)

    def network(self, dim: int, config: GcnConfig) -> GcnNetwork:
        """A fresh network for features of length ``dim``."""
        return GcnNetwork(dim, config)

    def loss(self, output: GcnOutput, labels: Tensor, config: GcnConfig) -> Loss:
        """Of the one whose turn it is. Terms: ``cls``, the classifier on the labels of now;
        ``direct`` (equation 9), the graph on what is sure; ``ensemble`` (equation 10)."""
        whole = labels[:, None].to(output.scores.dtype).expand_as(output.scores)
        turn = min(int(float(output.done[0]) * 2 * config.rounds), 2 * config.rounds - 1)
        # Snippets of a normal video are normal: nothing there has to be cleaned.
        told = whole if turn == 0 else whole * output.cleaned.detach().sigmoid()
        cls = F.binary_cross_entropy_with_logits(output.logits, told)

        guess, doubt = output.guesses.detach().mean(1), output.guesses.detach().var(1)
        believed = torch.where(whole > 0.5, guess, 0.0)
        most = max(1, int(config.sure * doubt.numel()))
        sure = doubt <= doubt.flatten().kthvalue(most).values
        direct = F.binary_cross_entropy_with_logits(output.cleaned[sure], believed[sure])
        ensemble = (output.cleaned.sigmoid() - output.again.sigmoid()).square().mean()
        cleaning = direct + config.ensemble * ensemble
        terms = {"cls": cls, "direct": direct, "ensemble": ensemble}
        total = cls if turn % 2 == 0 else cleaning
        return Loss(total, terms)
