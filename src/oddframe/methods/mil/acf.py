"""ACF: how far picture and sound are to be trusted, snippet by snippet, told by the video's label.

Wei, Liu, Liu, Liu, Zhu, Zeng, "Look, Listen and Pay More Attention: Fusing Multi-Modal Information
for Video Violence Detection", ICASSP 2022. A multimodal attention weighs either modality in every
snippet; its weights are classified themselves by the video's label. A stream of both modalities
scores, beside one of each alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn

from oddframe.methods.base import MAX_WIDTH, Loss, Method, MethodInfo, Output, Recipe
from oddframe.methods.shared.layers import init_xavier, mean_over_crops, merge_crops
from oddframe.methods.shared.mil import top_k_bce
from oddframe.methods.shared.modalities import (
    AudioVisualConfig,
    modality_embedding,
    split_modalities,
)


class AcfConfig(AudioVisualConfig):
    """Settings.

    Attributes:
        hidden: Width of either modality, and of the fused stream.
        dropout: Behind the embeddings and in the fused stream.
        single: Weight of the cross-entropy of the streams of one modality.
        attention: Weight of that of the attention's weights.
    """

    hidden: int = Field(default=128, ge=1, le=MAX_WIDTH)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    single: float = Field(default=1.0, ge=0)
    attention: float = Field(default=1.0, ge=0)


@dataclass(frozen=True)
class AcfOutput(Output):
    """What the loss reads. ``scores`` and ``logits`` are the fused stream's."""

    seen: Tensor  # (B, T) scores of the picture alone
    heard: Tensor  # (B, T) scores of the sound alone
    trust_seen: Tensor  # (B, T) attention to the picture, in [0, 1]
    trust_heard: Tensor  # (B, T) attention to the sound


class AcfNetwork(nn.Module):
    """Two embeddings, an attention that reads both, and three streams that score."""

    def __init__(self, dim: int, config: AcfConfig) -> None:
        super().__init__()
        h = config.hidden
        self.modality_dims = config.modality_dims(dim)
        picture, sound = self.modality_dims
        self.picture = modality_embedding(picture, h, config.dropout)
        self.sound = modality_embedding(sound, h, config.dropout)
        self.attention = nn.Sequential(nn.Linear(2 * h, h), nn.Tanh(), nn.Linear(h, 2))
        self.fused = nn.Sequential(modality_embedding(2 * h, h, config.dropout), nn.Linear(h, 1))
        self.of_picture, self.of_sound = nn.Linear(h, 1), nn.Linear(h, 1)
        init_xavier(self)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Output:
        """(B, T, D) -> scores (B, T); (B, C, T, D): averaged over the C crops.

        With ``labels`` it is the ``AcfOutput`` of the loss.
        """
        x, crops = merge_crops(features, labels)
        seen, heard = split_modalities(x, self.modality_dims)
        v, a = self.picture(seen), self.sound(heard)
        trust = self.attention(torch.cat([v, a], dim=-1)).sigmoid()
        v, a = (1 + trust[..., :1]) * v, (1 + trust[..., 1:]) * a
        logits = self.fused(torch.cat([v, a], dim=-1)).squeeze(-1)
        if labels is None:
            return mean_over_crops(logits, crops)
        seen, heard = (
            score(y).squeeze(-1).sigmoid()
            for score, y in ((self.of_picture, v), (self.of_sound, a))
        )
        return AcfOutput(logits.sigmoid(), logits, seen, heard, trust[..., 0], trust[..., 1])


class Acf(Method[AcfConfig, AcfOutput]):
    """Attention-based fusion of picture and sound (Wei et al.; ICASSP 2022)."""

    name = "acf"
    title = "ACF"
    year = 2022
    info = MethodInfo(
        paper="Wei, Liu, Liu, Liu, Zhu, Zeng: Look, Listen and Pay More Attention: Fusing "
        "Multi-Modal Information for Video Violence Detection, ICASSP 2022",
        inputs="features of picture and sound, side by side",
        supervision="video labels",
        checked="from the paper",
        evidence="loss and attention by hand, behaviour on planted anomalies in either modality",
        deviations=(
            "read from a description of the paper (a multimodal attention supervised by the "
            "video's label, a fused stream and single ones, top-k cross-entropy), so what follows "
            "is chosen: the attention is one weight a modality and snippet, from both modalities, "
            "and a modality is multiplied by one and that weight",
            "each modality's weights are told the video's label as scores are, by the mean of "
            "their k highest",
            "chosen: scores are the fused stream's; widths, dropout 0.5, all terms weigh the same, "
            "Adam at 1e-4 with weight decay 5e-4, 3,000 steps of 64 + 64 bags",
        ),
    )
    Config = AcfConfig
    recipe = Recipe(lr=1e-4, weight_decay=5e-4)

    def network(self, dim: int, config: AcfConfig) -> AcfNetwork:
        """A fresh network for features of length ``dim``, the sound's numbers last.

        Raises:
            UsageError: ``dim`` leaves none for picture or sound.
        """
        return AcfNetwork(dim, config)

    def loss(self, output: AcfOutput, labels: Tensor, config: AcfConfig) -> Loss:
        """Terms: top-k cross-entropies ``cls`` of the fused stream, ``single`` of those of one
        modality, ``attention`` of the weights."""
        cls = top_k_bce(output.scores, labels)
        single = top_k_bce(output.seen, labels) + top_k_bce(output.heard, labels)
        trust = top_k_bce(output.trust_seen, labels) + top_k_bce(output.trust_heard, labels)
        total = cls + config.single * single + config.attention * trust
        return Loss(total, {"cls": cls, "single": single, "attention": trust})
