"""MSL, multi-sequence learning: ranking by the highest sequence of K consecutive snippets.

Early in training the highest-scoring snippet is often wrong, a sequence seldom is: K starts at T
and is halved until it is 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import Loss, MethodInfo, Output, Recipe, StagedNetwork, WeaklySupervised
from oddframe.methods.config import AboveZero, Depth, Dropout, MethodConfig, NotNegative, Width
from oddframe.methods.losses import max_window_mean, ranking_loss, split_by_label


class MslConfig(MethodConfig):
    hidden: Width = 512  # width of the encoder
    heads: Width = 4  # attention heads, each ``hidden / heads`` wide
    depth: Depth = 2  # layers of the encoder
    # In attention's output, in the feed-forward network and in the snippet head.
    dropout: Dropout = 0.1
    margin: AboveZero = 1.0  # of the ranking loss
    video: NotNegative = 1.0  # weight of the video's cross-entropy


@dataclass(frozen=True)
class MslOutput(Output):
    """What the loss reads. ``scores`` are those of the snippets times that of the video."""

    snippets: Tensor  # (B, T) scores of the snippet head, in [0, 1]
    video: Tensor  # (B,) logits of the video head
    done: Tensor  # (B,) share of the training that is done


class ConvProjection(nn.Module):
    """Depthwise-separable convolution over the snippets; only pointwise for the class token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 3, padding=1, groups=width)
        self.pointwise = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1 + T, H) -> the same shape."""
        token, snippets = x[:, :1], x[:, 1:]
        mixed = self.depthwise(snippets.mT).mT
        y: Tensor = self.pointwise(torch.cat([token, mixed], dim=1))
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
    """Projection, class token, encoder, a head for the video and a head for its snippets."""

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

    def score_bags(self, x: Tensor, labels: Tensor | None) -> Output:  # noqa: ARG002
        """A score is the snippet's times the video's probability (equation 9)."""
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), self.project(x)], dim=1)
        x = self.norm(self.layers(x))
        video, snippets = self.video(x[:, 0]), self.snippet(x[:, 1:]).squeeze(-1)
        logits = _logit_of_product(snippets, video)
        done = self.done.expand(x.shape[0])
        return MslOutput(logits.sigmoid(), logits, snippets.sigmoid(), video.squeeze(1), done)


def _logit_of_product(a: Tensor, b: Tensor) -> Tensor:
    """The logit of sigmoid(a) sigmoid(b), accurate even if both are nearly 1."""
    # 1 - p q = (1 - p) + p (1 - q)
    complement = torch.logaddexp(F.logsigmoid(-a), F.logsigmoid(a) + F.logsigmoid(-b))
    return F.logsigmoid(a) + F.logsigmoid(b) - complement


class Msl(WeaklySupervised[MslConfig, MslOutput]):
    name = "msl"
    title = "MSL"
    year = 2022
    info = MethodInfo(
        paper="Li, Liu, Jiao: Self-Training Multi-Sequence Learning with Transformer for Weakly "
        "Supervised Video Anomaly Detection, AAAI 2022",
        inputs="snippet features",
        checked="from the paper",
        evidence="loss by hand, stages, behaviour on planted anomalies",
        deviations=(
            "predictions select the sequences from the first step on, without the paper's first "
            "stage, in which pseudo-labels do; K is halved after equal shares of one run's steps",
            "the ranking term is the mean over all pairs of an abnormal and a normal bag",
            "our choice: two encoder layers of width 512 with four heads, a snippet head of two "
            "layers, Adam at 1e-4 with weight decay 5e-4, 3,000 steps of 32 + 32 bags",
        ),
    )
    Config = MslConfig
    Network = MslNetwork
    recipe = Recipe(
        lr=1e-4, weight_decay=5e-4, steps=3_000, normal_bags=32, abnormal_bags=32, segments=32
    )

    def loss(self, output: MslOutput, labels: Tensor, config: MslConfig) -> Loss:
        """Equation 8. Terms: ``rank`` of the videos' highest sequences, ``video``."""
        normal, abnormal = split_by_label(labels)
        length = sequence_length(output.snippets.shape[1], float(output.done[0]))
        highest = max_window_mean(output.snippets, length)  # eq. 3
        rank = ranking_loss(highest[abnormal], highest[normal], config.margin)  # eq. 4
        video = F.binary_cross_entropy_with_logits(output.video, labels.to(output.video.dtype))
        return Loss(rank + config.video * video, {"rank": rank, "video": video})


def sequence_length(segments: int, done: float) -> int:
    """K: ``segments`` at first, halved after equal shares of the training, 1 at the end."""
    halvings = segments.bit_length() - 1
    return max(1, segments >> min(int(done * (halvings + 1)), halvings))
