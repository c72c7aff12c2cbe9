"""ACF: audio-visual fusion by an attention that the video's label supervises, as it does scores."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from oddframe.methods.base import BagNetwork, Loss, MethodInfo, Output, Recipe, WeaklySupervised
from oddframe.methods.config import AudioVisualConfig, Dropout, NotNegative, Width
from oddframe.methods.layers import embedding_layer, init_xavier
from oddframe.methods.losses import top_k_bce


class AcfConfig(AudioVisualConfig):
    hidden: Width = 128  # width of each modality and of the fused stream
    dropout: Dropout = 0.5  # after the embeddings and in the fused stream
    single: NotNegative = 1.0  # loss weight of the streams of one modality
    attention: NotNegative = 1.0  # loss weight of the attention weights


@dataclass(frozen=True)
class AcfOutput(Output):
    """What the loss reads. ``scores`` and ``logits`` are the fused stream's."""

    visual_scores: Tensor  # (B, T) of the visual stream
    audio_scores: Tensor  # (B, T) of the audio stream
    visual_attention: Tensor  # (B, T) weights in [0, 1]
    audio_attention: Tensor  # (B, T)


class AcfNetwork(BagNetwork):
    """Two embeddings, an attention over both, and three scoring streams."""

    def __init__(self, dim: int, config: AcfConfig) -> None:
        super().__init__()
        h = config.hidden
        self.modality_dims = config.modality_dims(dim)
        visual_dim, audio_dim = self.modality_dims
        self.picture = embedding_layer(visual_dim, h, config.dropout)
        self.sound = embedding_layer(audio_dim, h, config.dropout)
        self.attention = nn.Sequential(nn.Linear(2 * h, h), nn.Tanh(), nn.Linear(h, 2))
        self.fused = nn.Sequential(embedding_layer(2 * h, h, config.dropout), nn.Linear(h, 1))
        self.of_picture, self.of_sound = nn.Linear(h, 1), nn.Linear(h, 1)
        init_xavier(self)

    def score_bags(self, x: Tensor, labels: Tensor | None) -> Output:
        visual, audio = torch.split(x, list(self.modality_dims), dim=-1)
        v, a = self.picture(visual), self.sound(audio)
        weights = self.attention(torch.cat([v, a], dim=-1)).sigmoid()
        v, a = (1 + weights[..., :1]) * v, (1 + weights[..., 1:]) * a
        logits = self.fused(torch.cat([v, a], dim=-1)).squeeze(-1)
        if labels is None:
            return Output.from_logits(logits)
        single = (self.of_picture(v).squeeze(-1).sigmoid(), self.of_sound(a).squeeze(-1).sigmoid())
        return AcfOutput(logits.sigmoid(), logits, *single, weights[..., 0], weights[..., 1])


class Acf(WeaklySupervised[AcfConfig, AcfOutput]):
    name = "acf"
    title = "ACF"
    year = 2022
    info = MethodInfo(
        paper="Wei, Liu, Liu, Liu, Zhu, Zeng: Look, Listen and Pay More Attention: Fusing "
        "Multi-Modal Information for Video Violence Detection, ICASSP 2022",
        inputs="visual and audio features, concatenated",
        checked="from the paper",
        evidence="loss and attention by hand, behaviour on planted anomalies in each modality",
        deviations=(
            "written from a description of the paper (a multimodal attention supervised by the "
            "video's label, a fused stream and single ones, top-k cross-entropy), so the rest is "
            "our choice: the attention gives one weight for each modality and snippet, computed "
            "from both modalities, and the modality is multiplied by 1 + that weight",
            "each modality's weights are trained by the video's label as scores are, by the mean "
            "of the k highest",
            "our choice: the fused stream's scores are the result; widths, dropout 0.5, equal "
            "weights of all terms, Adam at 1e-4 with weight decay 5e-4, 3,000 steps of 64 + 64 "
            "bags",
        ),
    )
    Config = AcfConfig
    Network = AcfNetwork
    recipe = Recipe(lr=1e-4, weight_decay=5e-4)

    def loss(self, output: AcfOutput, labels: Tensor, config: AcfConfig) -> Loss:
        """Terms, all top-k cross-entropies: ``cls`` of the fused stream, ``single`` of the streams
        of one modality, ``attention`` of the attention weights."""
        cls = top_k_bce(output.scores, labels)
        single = top_k_bce(output.visual_scores, labels) + top_k_bce(output.audio_scores, labels)
        attention = top_k_bce(output.visual_attention, labels)
        attention = attention + top_k_bce(output.audio_attention, labels)
        total = cls + config.single * single + config.attention * attention
        return Loss(total, {"cls": cls, "single": single, "attention": attention})
