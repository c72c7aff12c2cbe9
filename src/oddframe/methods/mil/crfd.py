"""CRFD: causal temporal relation and feature discrimination.

Two loss terms draw normal features to their centre, and move the top-k features of abnormal videos
away from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import BagNetwork, Loss, MethodInfo, Output, Recipe, WeaklySupervised
from oddframe.methods.config import Dropout, MethodConfig, NotNegative, Width
from oddframe.methods.layers import CausalConv1d, embedding_layer, init_xavier
from oddframe.methods.losses import mean_at, split_by_label, top_k_bce, top_k_indices, top_k_size


class CrfdConfig(MethodConfig):
    hidden: Width = 512  # width of features after the embedding
    inner: Width = 128  # width of queries, keys and values
    kernel: Width = 7  # of the causal classifier: a snippet and those before it
    dropout: Dropout = 0.3  # after the embedding and after attention
    # Margin of the dispersion term: squared distance from the normal centre.
    margin: NotNegative = 1.0
    compact: NotNegative = 0.1  # weight of the compactness term
    disperse: NotNegative = 0.1  # weight of the dispersion term


@dataclass(frozen=True)
class CrfdOutput(Output):
    hidden: Tensor  # (B, T, H) features after the causal temporal relation, L2-normalised


class CausalRelation(nn.Module):
    """Global attention, and local attention to the past that decays with the distance."""

    def __init__(self, config: CrfdConfig) -> None:
        super().__init__()
        h, inner = config.hidden, config.inner
        self.q, self.k, self.v = nn.Linear(h, inner), nn.Linear(h, inner), nn.Linear(h, inner)
        self.fall = nn.Parameter(torch.zeros(()))  # Local weights decay as exp(-lag / e^fall).
        self.out = nn.Linear(2 * inner, h)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H) -> the same shape."""
        weights = self.q(x) @ self.k(x).mT / self.k.out_features**0.5
        index = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)
        lag = index[:, None] - index
        local = (weights - lag * torch.exp(-self.fall)).masked_fill(lag < 0, -torch.inf)
        v = self.v(x)
        both = torch.cat([weights.softmax(-1) @ v, local.softmax(-1) @ v], dim=-1)
        y: Tensor = self.dropout(self.out(both))
        return x + y


class CrfdNetwork(BagNetwork):
    """Embedding, causal temporal relation, causal classifier."""

    def __init__(self, dim: int, config: CrfdConfig) -> None:
        super().__init__()
        self.embedding = embedding_layer(dim, config.hidden, config.dropout)
        self.relation = CausalRelation(config)
        self.norm = nn.LayerNorm(config.hidden)
        self.classifier = CausalConv1d(config.hidden, 1, config.kernel)
        init_xavier(self)

    def score_bags(self, x: Tensor, labels: Tensor | None) -> Output:  # noqa: ARG002
        x = self.norm(self.relation(self.embedding(x)))
        logits = self.classifier(x.mT).squeeze(1)
        return CrfdOutput(logits.sigmoid(), logits, F.normalize(x, dim=-1))


class Crfd(WeaklySupervised[CrfdConfig, CrfdOutput]):
    name = "crfd"
    title = "CRFD"
    year = 2021
    info = MethodInfo(
        paper="Wu, Liu: Learning Causal Temporal Relation and Feature Discrimination for Anomaly "
        "Detection, IEEE TIP 2021",
        inputs="snippet features",
        checked="from the paper",
        evidence="loss by hand, causality, behaviour on planted anomalies",
        deviations=(
            "the normal centre is that of the batch, of L2-normalised features",
            "local weights decay exponentially with the distance into the past, at a learnt rate",
            "our choice: a residual connection around attention, then LayerNorm",
            "our choice: widths 512 and 128, a classifier over seven snippets, margin 1, weights "
            "0.1, Adam at 1e-4 with weight decay 5e-4, 3,000 steps of 64 + 64 bags",
        ),
    )
    Config = CrfdConfig
    Network = CrfdNetwork
    recipe = Recipe(lr=1e-4, weight_decay=5e-4, steps=3_000)

    def loss(self, output: CrfdOutput, labels: Tensor, config: CrfdConfig) -> Loss:
        """Terms: ``cls``, top-k cross-entropy; ``compact``, mean squared distance of normal videos'
        features from their centre; ``disperse``, hinge on the squared distance of the mean top-k
        feature of an abnormal video from that centre."""
        normal, abnormal = split_by_label(labels)
        cls = top_k_bce(output.scores, labels)
        features = output.hidden[normal].flatten(0, 1)
        centre = features.mean(0)
        compact = (features - centre).square().sum(-1).mean()
        k = top_k_size(output.scores.shape[1])
        top = top_k_indices(output.scores[abnormal], k)
        distance = (mean_at(output.hidden[abnormal], top) - centre).square().sum(-1)
        disperse = F.relu(config.margin - distance).mean()
        total = cls + config.compact * compact + config.disperse * disperse
        return Loss(total, {"cls": cls, "compact": compact, "disperse": disperse})
