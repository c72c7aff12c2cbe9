"""Pang et al.: picture and sound attended to, multiplied, and made to agree.

Pang, He, Hu, Li, "Violence Detection in Videos Based on Fusing Visual and Audio Information",
ICASSP 2021. Attention on each modality, fusion by low-rank bilinear pooling (Kim et al., "Hadamard
Product for Low-rank Bilinear Pooling", ICLR 2017), and mutual learning: each modality scores alone,
too, and each learns from the other's scores.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import MAX_WIDTH, Loss, Method, MethodInfo, Output, Recipe
from oddframe.methods.shared.layers import init_xavier, mean_over_crops, merge_crops
from oddframe.methods.shared.mil import top_k_bce
from oddframe.methods.shared.modalities import (
    AudioVisualConfig,
    modality_embedding,
    split_modalities,
)


class PangConfig(AudioVisualConfig):
    """Settings.

    Attributes:
        hidden: Width of either modality.
        inner: Width of queries and keys of the attention.
        rank: Of the bilinear pooling: width of the product.
        dropout: Behind the embeddings and the product.
        single: Weight of the cross-entropy of each modality's own scores.
        mutual: Weight of what the modalities learn from each other.
    """

    hidden: int = Field(default=128, ge=1, le=MAX_WIDTH)
    inner: int = Field(default=64, ge=1, le=MAX_WIDTH)
    rank: int = Field(default=128, ge=1, le=MAX_WIDTH)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    single: float = Field(default=1.0, ge=0)
    mutual: float = Field(default=0.1, ge=0)


@dataclass(frozen=True)
class PangOutput(Output):
    """What the loss reads. ``scores`` and ``logits`` are those of both modalities together."""

    seen: Tensor  # (B, T) logits of the picture alone
    heard: Tensor  # (B, T) logits of the sound alone


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
    """One modality: embedding, attention, a score of its own."""

    def __init__(self, dim: int, config: PangConfig) -> None:
        super().__init__()
        self.embedding = modality_embedding(dim, config.hidden, config.dropout)
        self.attention = SelfAttention(config.hidden, config.inner)
        self.score = nn.Linear(config.hidden, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D) -> (B, T, H), and logits (B, T)."""
        y = self.attention(self.embedding(x))
        return y, self.score(y).squeeze(-1)


class PangNetwork(nn.Module):
    """Both modalities, their low-rank bilinear pooling, and a classifier of it."""

    def __init__(self, dim: int, config: PangConfig) -> None:
        super().__init__()
        self.modality_dims = config.modality_dims(dim)
        self.picture, self.sound = (Modality(length, config) for length in self.modality_dims)
        self.of_picture = nn.Linear(config.hidden, config.rank)
        self.of_sound = nn.Linear(config.hidden, config.rank)
        self.dropout = nn.Dropout(config.dropout)
        self.score = nn.Linear(config.rank, 1)
        init_xavier(self)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Output:
        """(B, T, D) -> scores (B, T); (B, C, T, D): averaged over the C crops.

        With ``labels`` it is the ``PangOutput`` of the loss.
        """
        x, crops = merge_crops(features, labels)
        picture, sound = split_modalities(x, self.modality_dims)
        (v, seen), (a, heard) = self.picture(picture), self.sound(sound)
        product = self.of_picture(v).tanh() * self.of_sound(a).tanh()
        logits = self.score(self.dropout(product)).squeeze(-1)
        if labels is None:
            return mean_over_crops(logits, crops)
        return PangOutput(logits.sigmoid(), logits, seen, heard)


class Pang(Method[PangConfig, PangOutput]):
    """Fusion of visual and audio information (Pang et al.; ICASSP 2021)."""

    name = "pang"
    title = "Pang et al."
    year = 2021
    info = MethodInfo(
        paper="Pang, He, Hu, Li: Violence Detection in Videos Based on Fusing Visual and Audio "
        "Information, ICASSP 2021",
        inputs="features of picture and sound, side by side",
        supervision="video labels",
        checked="from the paper",
        evidence="loss and product by hand, behaviour on planted anomalies in either modality",
        deviations=(
            "read from a description of the paper (attention on each modality, low-rank bilinear "
            "pooling, mutual learning, top-k cross-entropy), so what follows is chosen: attention "
            "is scaled dot products over the snippets of a modality, added to it",
            "mutual learning is the divergence of each modality's snippet scores from the other's, "
            "which are held fixed, with a weight of 0.1",
            "chosen: widths, dropout 0.5, Adam at 1e-4 with weight decay 5e-4, 3,000 steps of 64 + "
            "64 bags",
        ),
    )
    Config = PangConfig
    recipe = Recipe(lr=1e-4, weight_decay=5e-4)

    def network(self, dim: int, config: PangConfig) -> PangNetwork:
        """A fresh network for features of length ``dim``, the sound's numbers last.

        Raises:
            UsageError: ``dim`` leaves none for picture or sound.
        """
        return PangNetwork(dim, config)

    def loss(self, output: PangOutput, labels: Tensor, config: PangConfig) -> Loss:
        """Terms: top-k cross-entropies ``cls`` of both together, ``single`` of the modalities, and
        ``mutual``, how far their scores lie apart."""
        cls = top_k_bce(output.scores, labels)
        seen, heard = output.seen.sigmoid(), output.heard.sigmoid()
        single = top_k_bce(seen, labels) + top_k_bce(heard, labels)
        mutual = bernoulli_kl(seen.detach(), output.heard) + bernoulli_kl(
            heard.detach(), output.seen
        )
        total = cls + config.single * single + config.mutual * mutual
        return Loss(total, {"cls": cls, "single": single, "mutual": mutual})


def bernoulli_kl(told: Tensor, logits: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence of Bernoulli ``logits`` from the probabilities
    ``translate_os_errors``.
    """
    entropy = F.binary_cross_entropy(told, told)
    return F.binary_cross_entropy_with_logits(logits, told) - entropy
