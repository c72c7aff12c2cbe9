"""GCN: weak labels as noisy snippet labels, which a graph convolution cleans.

A classifier is trained with snippet labels, at first the label of the video. A graph network is
trained on the snippets whose scores are confident, and its output gives the next labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import Loss, MethodInfo, Output, Recipe, StagedNetwork, WeaklySupervised
from oddframe.methods.config import (
    MAX_LAYERS,
    AboveZero,
    Depth,
    Dropout,
    MethodConfig,
    NotNegative,
    Width,
    renamed_field,
)
from oddframe.methods.layers import cosine_adjacency, distance_adjacency, init_xavier, score_mlp


class GcnConfig(MethodConfig):
    hidden: Width = 512  # width of the classifier's first layer, and of the first graph layer
    bottleneck: Width = 128  # width of the second ones
    # In the classifier, whose variance under dropout measures confidence, and in the graph layers.
    dropout: Dropout = 0.3
    # Passes through the classifier that the variance is computed from.
    passes: int = Field(default=4, ge=2, le=MAX_LAYERS)
    # Share of a batch's snippets that count as confident: those of the lowest variance.
    confident_share: float = renamed_field(0.5, name="confident_share", old="sure", gt=0, le=1)
    rounds: Depth = 3  # of training the classifier, then the graph
    # Exponent of the similarity graph: edges are exp(sharpness (cosine - 1)).
    sharpness: AboveZero = 10.0
    ensemble: NotNegative = 1.0  # weight of the temporal ensemble term


@dataclass(frozen=True)
class GcnOutput(Output):
    """What the loss reads. ``scores`` and ``logits`` are the classifier's."""

    passes: Tensor  # (B, passes, T) scores of the classifier under different dropout
    cleaned: Tensor  # (B, T) logits of the graph network
    cleaned_again: Tensor  # (B, T) the same under different dropout
    done: Tensor  # (B,) share of the training that is done


class GraphLayer(nn.Module):
    """A x W (equation 4); each row of A sums to 1."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, out)

    def forward(self, x: Tensor, graph: Tensor) -> Tensor:
        """(B, T, width) -> (B, T, out)."""
        y: Tensor = graph @ self.linear(x)
        return y


class NoiseCleaner(nn.Module):
    """Two branches of two graph layers: feature similarity and temporal distance."""

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
        similarity = (self.sharpness * (cosine_adjacency(x) - 1)).exp()  # eq. 5: at most 1
        proximity = distance_adjacency(x.shape[1], x, 1.0)  # eq. 8
        fused = []
        for layers, graph in ((self.alike, similarity), (self.near, proximity)):
            y, graph = x, graph / graph.sum(-1, keepdim=True)
            for layer in layers:
                y = self.dropout(F.relu(layer(y, graph)))
            fused.append(y)
        logits: Tensor = self.score(fused[0] + fused[1]).squeeze(-1)
        return logits


class GcnNetwork(StagedNetwork):
    """The classifier, whose scores are the result, and the noise cleaner, used in training only."""

    def __init__(self, dim: int, config: GcnConfig) -> None:
        super().__init__()
        self.passes = config.passes
        self.classifier = score_mlp(dim, config.hidden, config.bottleneck, config.dropout)
        self.cleaner = NoiseCleaner(dim, config)
        init_xavier(self)

    def score_bags(self, x: Tensor, labels: Tensor | None) -> Output:
        logits = self.classifier(x).squeeze(-1)
        if labels is None:
            return Output.from_logits(logits)
        more = [self.classifier(x).squeeze(-1) for _ in range(self.passes - 1)]
        passes = torch.stack([logits, *more], dim=1).sigmoid()
        cleaned, again = self.cleaner(x), self.cleaner(x)
        done = self.done.expand(len(x))
        return GcnOutput(logits.sigmoid(), logits, passes, cleaned, again, done)


class Gcn(WeaklySupervised[GcnConfig, GcnOutput]):
    name = "gcn"
    title = "GCN"
    year = 2019
    info = MethodInfo(
        paper="Zhong, Li, Kong, Liu, Li, Li: Graph Convolutional Label Noise Cleaner: Train a "
        "Plug-and-play Action Classifier for Anomaly Detection, CVPR 2019",
        inputs="snippet features",
        checked="from the paper",
        evidence="both losses by hand, alternation, behaviour on planted anomalies",
        deviations=(
            "the classifier is three layers on features, where the paper trains a whole backbone",
            "confidence is a low variance under dropout, where the paper takes the variance of ten "
            "crops",
            "the ensemble term compares with a second pass under different dropout, where the "
            "paper keeps a running mean of past outputs for every snippet of the data set",
            "edges of the similarity graph are exp(10 (cosine - 1)), where the paper takes the exp "
            "of a dot product minus the row's largest",
            "a graph's weights are divided by the sum of their row, where the authors' code "
            "divides by the root of the product of the sums of both snippets",
            "both graph layers have ReLU and the first reads the features, and the score is of "
            "the branches' sum, where the authors' code has two layers before the graphs and takes "
            "the mean of the branches' scores",
            "the ensemble term is over all snippets, including confident ones and those of normal "
            "videos",
            "our choice: three rounds, half of the snippets confident, Adam at 1e-4, 3,000 steps",
        ),
    )
    Config = GcnConfig
    Network = GcnNetwork
    recipe = Recipe(lr=1e-4, steps=3_000, normal_bags=32, abnormal_bags=32, segments=32)

    def loss(self, output: GcnOutput, labels: Tensor, config: GcnConfig) -> Loss:
        """The loss of the classifier or of the graph, alternately. Terms: ``cls``; ``direct``
        (equation 9), the graph on confident snippets; ``ensemble`` (equation 10)."""
        video = labels[:, None].to(output.scores.dtype).expand_as(output.scores)
        stage = min(int(float(output.done[0]) * 2 * config.rounds), 2 * config.rounds - 1)
        # Snippets of normal videos are normal: their labels need no cleaning.
        targets = video if stage == 0 else video * output.cleaned.detach().sigmoid()
        cls = F.binary_cross_entropy_with_logits(output.logits, targets)

        mean, variance = output.passes.detach().mean(1), output.passes.detach().var(1)
        targets = torch.where(video > 0.5, mean, 0.0)
        count = max(1, int(config.confident_share * variance.numel()))
        confident = variance <= variance.flatten().kthvalue(count).values
        direct = F.binary_cross_entropy_with_logits(output.cleaned[confident], targets[confident])
        ensemble = (output.cleaned.sigmoid() - output.cleaned_again.sigmoid()).square().mean()
        total = cls if stage % 2 == 0 else direct + config.ensemble * ensemble
        return Loss(total, {"cls": cls, "direct": direct, "ensemble": ensemble})
