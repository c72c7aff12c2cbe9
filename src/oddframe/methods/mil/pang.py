"""Pang et al.: audio-visual fusion by attention, bilinear pooling and mutual learning.

The low-rank bilinear pooling is that of Kim et al., ICLR 2017. Each modality also scores by itself,
and is trained with the scores of the other one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import BagNetwork, Loss, MethodInfo, Output, Recipe, WeaklySupervised
from oddframe.methods.config import AudioVisualConfig, Dropout, NotNegative, Width
from oddframe.methods.layers import embedding_layer, init_xavier
from oddframe.methods.losses import top_k_bce


class PangConfig(AudioVisualConfig):
    hidden: Width = 128  # width of each modality
    inner: Width = 64  # width of queries and keys
    rank: Width = 128  # of the bilinear pooling: width of the product
    dropout: Dropout = 0.5  # after the embeddings and the product
    single: NotNegative = 1.0  # weight of the cross-entropy of the single modalities
    mutual: NotNegative = 0.1  # weight of mutual learning


@dataclass(frozen=True)
class PangOutput(Output):
    """What the loss reads. ``scores`` and ``logits`` are those of the fused modalities."""

    visual_logits: Tensor  # (B, T)
    audio_logits: Tensor  # (B, T)


class SelfAttention(nn.Module):
    """x + softmax(Q K^T / sqrt(d)) x over the snippets of one modality."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden, inner, bias=False)
        self.key = nn.Linear(hidden, inner, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H) -> the same shape."""
        q, k = self.query(x), self.key(x)
        weights: Tensor = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        return x + weights @ x


class Modality(nn.Module):
    """The branch of one modality: embedding, attention and a scoring layer."""

    def __init__(self, dim: int, config: PangConfig) -> None:
        super().__init__()
        self.embedding = embedding_layer(dim, config.hidden, config.dropout)
        self.attention = SelfAttention(config.hidden, config.inner)
        self.score = nn.Linear(config.hidden, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D) -> (B, T, H), and logits (B, T)."""
        y = self.attention(self.embedding(x))
        return y, self.score(y).squeeze(-1)


class PangNetwork(BagNetwork):
    """Both modalities, their low-rank bilinear pooling, and a classifier."""

    def __init__(self, dim: int, config: PangConfig) -> None:
        super().__init__()
        self.modality_dims = config.modality_dims(dim)
        self.picture, self.sound = (Modality(each, config) for each in self.modality_dims)
        self.of_picture = nn.Linear(config.hidden, config.rank)
        self.of_sound = nn.Linear(config.hidden, config.rank)
        self.dropout = nn.Dropout(config.dropout)
        self.score = nn.Linear(config.rank, 1)
        init_xavier(self)

    def score_bags(self, x: Tensor, labels: Tensor | None) -> Output:  # noqa: ARG002
        visual, audio = torch.split(x, list(self.modality_dims), dim=-1)
        (v, visual_logits), (a, audio_logits) = self.picture(visual), self.sound(audio)
        product = self.of_picture(v).tanh() * self.of_sound(a).tanh()
        logits = self.score(self.dropout(product)).squeeze(-1)
        return PangOutput(logits.sigmoid(), logits, visual_logits, audio_logits)


class Pang(WeaklySupervised[PangConfig, PangOutput]):
    name = "pang"
    title = "Pang et al."
    year = 2021
    info = MethodInfo(
        paper="Pang, He, Hu, Li: Violence Detection in Videos Based on Fusing Visual and Audio "
        "Information, ICASSP 2021",
        inputs="visual and audio features, concatenated",
        checked="from the paper",
        evidence="loss and product by hand, behaviour on planted anomalies in each modality",
        deviations=(
            "written from a description of the paper (attention on each modality, low-rank "
            "bilinear pooling, mutual learning, top-k cross-entropy), so the rest is our choice: "
            "attention is scaled dot-product attention over the snippets of a modality, with a "
            "residual connection",
            "mutual learning is the KL divergence of each modality's snippet scores from the "
            "detached scores of the other one, with a weight of 0.1",
            "our choice: widths, dropout 0.5, Adam at 1e-4 with weight decay 5e-4, 3,000 steps of "
            "64 + 64 bags",
        ),
    )
    Config = PangConfig
    Network = PangNetwork
    recipe = Recipe(lr=1e-4, weight_decay=5e-4)

    def loss(self, output: PangOutput, labels: Tensor, config: PangConfig) -> Loss:
        """Terms: top-k cross-entropies ``cls`` of the fused and ``single`` of the single
        modalities; ``mutual``, the KL divergences between the two modalities."""
        cls = top_k_bce(output.scores, labels)
        visual, audio = output.visual_logits.sigmoid(), output.audio_logits.sigmoid()
        single = top_k_bce(visual, labels) + top_k_bce(audio, labels)
        mutual = bernoulli_kl(visual.detach(), output.audio_logits)
        mutual = mutual + bernoulli_kl(audio.detach(), output.visual_logits)
        total = cls + config.single * single + config.mutual * mutual
        return Loss(total, {"cls": cls, "single": single, "mutual": mutual})


def bernoulli_kl(targets: Tensor, logits: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence of Bernoulli distributions, ``targets`` being the true
    probabilities."""
    entropy = F.binary_cross_entropy(targets, targets)
    return F.binary_cross_entropy_with_logits(logits, targets) - entropy
