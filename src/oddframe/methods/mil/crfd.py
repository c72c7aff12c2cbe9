"""CRFD: attention that sees all snippets and, nearer by, the past; features told apart.

Wu, Liu, "Learning Causal Temporal Relation and Feature Discrimination for Anomaly Detection", IEEE
TIP 2021. Normal features shall lie close together, and the oddest of abnormal videos far from them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import MAX_WIDTH, Loss, Method, MethodInfo, Output, Recipe
from oddframe.methods.shared.layers import CausalConv1d, init_xavier, mean_over_crops, merge_crops
from oddframe.methods.shared.mil import (
    mean_at,
    split_by_label,
    top_k_bce,
    top_k_indices,
    top_k_size,
)


class CrfdConfig(BaseModel):
    """Settings of CRFD.

    Attributes:
        hidden: Width of features behind the embedding.
        inner: Width of queries, keys and values.
        kernel: Snippets that the classifier sees, the last one its own.
        dropout: Behind the embedding and behind attention.
        margin: By which the oddest features of abnormal videos shall lie off the normal centre.
        compact: Weight of what draws normal features to their centre.
        disperse: Weight of what drives the oddest ones away.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(default=512, ge=1, le=MAX_WIDTH)
    inner: int = Field(default=128, ge=1, le=MAX_WIDTH)
    kernel: int = Field(default=7, ge=1, le=MAX_WIDTH)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    margin: float = Field(default=1.0, ge=0)
    compact: float = Field(default=0.1, ge=0)
    disperse: float = Field(default=0.1, ge=0)


@dataclass(frozen=True)
class CrfdOutput(Output):
    """What the loss reads."""

    hidden: Tensor  # (B, T, H) features behind the causal temporal relation, of length 1


class CausalRelation(nn.Module):
    """Global attention, and local attention to the past that falls with the distance."""

    def __init__(self, config: CrfdConfig) -> None:
        super().__init__()
        h, inner = config.hidden, config.inner
        self.q, self.k, self.v = nn.Linear(h, inner), nn.Linear(h, inner), nn.Linear(h, inner)
        self.fall = nn.Parameter(torch.zeros(()))  # e^fall snippets
        self.out = nn.Linear(2 * inner, h)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H) -> the same shape."""
        weights = self.q(x) @ self.k(x).mT / self.k.out_features**0.5
        at = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)
        ago = at[:, None] - at
        near = (weights - ago * torch.exp(-self.fall)).masked_fill(ago < 0, -torch.inf)
        v = self.v(x)
        both = torch.cat([weights.softmax(-1) @ v, near.softmax(-1) @ v], dim=-1)
        y: Tensor = self.dropout(self.out(both))
        return x + y


class CrfdNetwork(nn.Module):
    """Embedding, causal temporal relation, causal classifier."""

    def __init__(self, dim: int, config: CrfdConfig) -> None:
        super().__init__()
        self.embedding = nn.Sequential(
            nn.Linear(dim, config.hidden), nn.ReLU(), nn.Dropout(config.dropout)
        )
        self.relation = CausalRelation(config)
        self.norm = nn.LayerNorm(config.hidden)
        self.classifier = CausalConv1d(config.hidden, 1, config.kernel)
        init_xavier(self)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Output:
        """(B, T, D) -> scores (B, T); (B, C, T, D): averaged over the C crops.

        With ``labels`` it is the ``CrfdOutput`` of the loss.
        """
        x, crops = merge_crops(features, labels)
        x = self.norm(self.relation(self.embedding(x)))
        logits = self.classifier(x.mT).squeeze(1)
        if labels is None:
            return mean_over_crops(logits, crops)
        return CrfdOutput(logits.sigmoid(), logits, F.normalize(x, dim=-1))


class Crfd(Method[CrfdConfig, CrfdOutput]):
    """Causal temporal relation and feature discrimination (Wu, Liu; TIP 2021)."""

    name = "crfd"
    title = "CRFD"
    year = 2021
    info = MethodInfo(
        paper="Wu, Liu: Learning Causal Temporal Relation and Feature Discrimination for Anomaly "
        "Detection, IEEE TIP 2021",
        inputs="snippet features",
        supervision="video labels",
        checked="from the paper",
        evidence="loss by hand, what is seen of the future, behaviour on planted anomalies",
        deviations=(
            "the normal centre is that of the batch, of features brought to length 1",
            "local weights fall exponentially with the distance into the past, at a learnt rate",
            "chosen: what attention gives is added to what came in, LayerNorm behind it",
            "chosen: widths 512 and 128, a classifier over seven snippets, margin 1, both weights "
            "0.1, Adam at 1e-4 with weight decay 5e-4, 3,000 steps of 64 + 64 bags",
        ),
    )
    Config = CrfdConfig
    recipe = Recipe(lr=1e-4, weight_decay=5e-4, steps=3_000)

    def network(self, dim: int, config: CrfdConfig) -> CrfdNetwork:
        """A fresh network for features of length ``dim``."""
        return CrfdNetwork(dim, config)

    def loss(self, output: CrfdOutput, labels: Tensor, config: CrfdConfig) -> Loss:
        """Terms: ``cls`` of the top-k scores; ``compact``, mean squared distance of normal videos'
        features from their centre; ``disperse``, what the mean feature of an abnormal video's top
        k lacks to the margin."""
        normal, abnormal = split_by_label(labels)
        cls = top_k_bce(output.scores, labels)
        calm = output.hidden[normal].flatten(0, 1)
        centre = calm.mean(0)
        compact = (calm - centre).square().sum(-1).mean()
        k = top_k_size(output.scores.shape[1])
        oddest = top_k_indices(output.scores[abnormal], k)
        away = (mean_at(output.hidden[abnormal], oddest) - centre).square().sum(-1)
        disperse = F.relu(config.margin - away).mean()
        total = cls + config.compact * compact + config.disperse * disperse
        terms = {"cls": cls, "compact": compact, "disperse": disperse}
        return Loss(total, terms)
