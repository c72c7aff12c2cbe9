"""MSL: a sequence of snippets stands for a video, long at first, one snippet in the end.

Li, Liu, Jiao, "Self-Training Multi-Sequence Learning with Transformer for Weakly Supervised Video
Anomaly Detection", AAAI 2022. Early in training the oddest snippet is often the wrong one; the
oddest K in a row seldom are. K starts at T and is halved down to 1 while training goes on. A class
token tells whether there is anything odd in the video at all.
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
from oddframe.methods.shared.layers import mean_over_crops, merge_crops
from oddframe.methods.shared.mil import max_window_mean, ranking_loss, split_by_label


class MslConfig(BaseModel):
    """Settings of MSL.

    Attributes:
        hidden: Width of the encoder.
        heads: Attention heads, which share it.
        depth: Layers of the encoder.
        dropout: In attention's output, in the feed-forward network and in the snippet head.
        margin: By which abnormal videos shall score higher.
        video: Weight of the cross-entropy of the video's probability.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(default=512, ge=1, le=MAX_WIDTH)
    heads: int = Field(default=4, ge=1, le=MAX_WIDTH)
    depth: int = Field(default=2, ge=1, le=MAX_LAYERS)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    margin: float = Field(default=1.0, gt=0)
    video: float = Field(default=1.0, ge=0)


@dataclass(frozen=True)
class MslOutput(Output):
    """What the loss reads. ``scores`` are the snippets' times their video's, as at test."""

    snippets: Tensor  # (B, T) scores of the snippet head, in [0, 1]
    video: Tensor  # (B,) logits of the video head
    done: Tensor  # (B,) share of the training that is done


class ConvProjection(nn.Module):
    """Depthwise-separable convolution of the snippets; the class token has no neighbours."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 3, padding=1, groups=width)
        self.pointwise = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1 + T, H) -> the same shape."""
        token, snippets = x[:, :1], x[:, 1:]
        near = self.depthwise(snippets.mT).mT
        y: Tensor = self.pointwise(torch.cat([token, near], dim=1))
        return y


class EncoderLayer(nn.Module):
    """A transformer's encoder layer whose projections are convolutions (figure 2c)."""

    def __init__(self, config: MslConfig) -> None:
        super().__init__()
        h, self.heads = config.hidden, config.heads
        self.before, self.between = nn.LayerNorm(h), nn.LayerNorm(h)
        self.q, self.k, self.v = ConvProjection(h), ConvProjection(h), ConvProjection(h)
        self.out = nn.Sequential(nn.Linear(h, h), nn.Dropout(config.dropout))
        self.feed = nn.Sequential(
            nn.Linear(h, h), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(h, h)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1 + T, H) -> the same shape."""
        normed = self.before(x)
        q, k, v = (
            project(normed).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.q, self.k, self.v)
        )
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.out(y)
        z: Tensor = x + self.feed(self.between(x))
        return z


class MslNetwork(StagedNetwork):
    """Projection, class token, encoder, a head for the video and one for its snippets."""

    def __init__(self, dim: int, config: MslConfig) -> None:
        super().__init__()
        h = config.hidden
        self.project = nn.Linear(dim, h)
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, h))
        self.layers = nn.Sequential(*(EncoderLayer(config) for _ in range(config.depth)))
        self.norm = nn.LayerNorm(h)
        self.video = nn.Linear(h, 1)
        self.snippet = nn.Sequential(
            nn.Linear(h, h // 4 or 1),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(h // 4 or 1, 1),
        )

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Output:
        """(B, T, D) -> scores (B, T); (B, C, T, D): averaged over the C crops.

        A snippet's score is its own times its video's probability (equation 9). With ``labels`` it
        is the ``MslOutput`` of the loss.
        """
        x, crops = merge_crops(features, labels)
        x = torch.cat([self.token.expand(len(x), -1, -1), self.project(x)], dim=1)
        x = self.norm(self.layers(x))
        video, snippets = self.video(x[:, 0]), self.snippet(x[:, 1:]).squeeze(-1)
        logits = _logit_of_product(snippets, video)
        if labels is None:
            return mean_over_crops(logits, crops)
        scores = logits.sigmoid()
        done = self.done.expand(len(x))
        return MslOutput(scores, logits, snippets.sigmoid(), video.squeeze(1), done)


def _logit_of_product(a: Tensor, b: Tensor) -> Tensor:
    """The logit of sigmoid(a) sigmoid(b), exact also where both are nearly 1."""
    # 1 - p q = (1 - p) + p (1 - q)
    rest = torch.logaddexp(F.logsigmoid(-a), F.logsigmoid(a) + F.logsigmoid(-b))
    return F.logsigmoid(a) + F.logsigmoid(b) - rest


class Msl(Method[MslConfig, MslOutput]):
    """Multi-sequence learning (Li, Liu, Jiao; AAAI 2022)."""

    name = "msl"
    title = "MSL"
    year = 2022
    info = MethodInfo(
        paper="Li, Liu, Jiao: Self-Training Multi-Sequence Learning with Transformer for Weakly "
        "Supervised Video Anomaly Detection, AAAI 2022",
        inputs="snippet features",
        supervision="video labels",
        checked="from the paper",
        evidence="loss by hand, stages, behaviour on planted anomalies",
        deviations=(
            "predictions choose the sequences from the first step on, without the paper's first "
            "stage, in which pseudo-labels do; K is halved at equal shares of the steps of one run",
            "the ranking term is the mean over all pairs of an abnormal and a normal bag",
            "chosen: two encoder layers of width 512 with four heads, a snippet head of two "
            "layers, Adam at 1e-4 with weight decay 5e-4, 3,000 steps of 32 + 32 bags",
        ),
    )
    Config = MslConfig
    recipe = Recipe(
        lr=1e-4, weight_decay=5e-4, steps=3_000, normal_bags=32, abnormal_bags=32, segments=32
    )

    def network(self, dim: int, config: MslConfig) -> MslNetwork:
        """A fresh network for features of length ``dim``."""
        return MslNetwork(dim, config)

    def loss(self, output: MslOutput, labels: Tensor, config: MslConfig) -> Loss:
        """Equation 8. Terms: ``rank`` of the videos' oddest sequences, ``video``."""
        normal, abnormal = split_by_label(labels)
        length = sequence_length(output.snippets.shape[1], float(output.done[0]))
        oddest = max_window_mean(output.snippets, length)  # eq. 3
        rank = ranking_loss(oddest[abnormal], oddest[normal], config.margin)  # eq. 4
        video = F.binary_cross_entropy_with_logits(output.video, labels.to(output.video.dtype))
        terms = {"rank": rank, "video": video}
        return Loss(rank + config.video * video, terms)


def sequence_length(segments: int, done: float) -> int:
    """K: ``mean_segments`` T at first, halved at equal shares of the training, 1 at its end."""
    halvings = segments.bit_length() - 1
    return max(1, segments >> min(int(done * (halvings + 1)), halvings))
