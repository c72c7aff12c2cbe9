"""MIST: one network generates pseudo-labels of snippets, and another one learns from them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import Loss, MethodInfo, Output, Recipe, StagedNetwork, WeaklySupervised
from oddframe.methods.config import (
    MAX_WIDTH,
    AboveZero,
    Dropout,
    MethodConfig,
    NotNegative,
    Width,
    renamed_field,
)
from oddframe.methods.layers import embedding_layer, init_xavier, score_mlp
from oddframe.methods.losses import max_window_mean, ranking_loss, split_by_label


class MistConfig(MethodConfig):
    hidden: Width = 512  # width of the generator's first layer and of the encoder
    bottleneck: Width = 32  # width of the generator's second layer
    dropout: Dropout = 0.6  # in both
    # Snippets of a sub-bag, T of section 3.2.
    sub_bag: int = renamed_field(3, name="sub_bag", old="together", ge=1, le=MAX_WIDTH)
    # Share of the training steps in which only the generator is trained.
    generator_share: float = renamed_field(0.5, name="generator_share", old="alone", ge=0, lt=1)
    # Width of the moving average over its scores, in snippets. An even width is the mean of the two
    # windows that are half a snippet off the centre.
    smooth: Width = 5
    margin: AboveZero = 1.0  # of the ranking loss
    sparse: NotNegative = 0.01  # weight of the sparsity of its scores in abnormal videos
    # Weight of the abnormal class in the encoder's and attention's losses.
    abnormal_weight: float = renamed_field(1.2, name="abnormal_weight", old="odd", gt=0)
    # Weight of the normal class; both as in the authors' code.
    normal_weight: float = renamed_field(0.8, name="normal_weight", old="calm", gt=0)
    guide: NotNegative = 1.0  # weight of the cross-entropy of the attention


@dataclass(frozen=True)
class MistOutput(Output):
    """What the loss reads. ``scores`` and ``logits`` are the encoder's."""

    generated: Tensor  # (B, T) scores of the generator
    guided: Tensor  # (B, T) logits of the attention's classifier
    done: Tensor  # (B,) share of the training that is done


class SelfGuidedEncoder(nn.Module):
    """Features weighted by an attention that is trained to classify snippets itself."""

    def __init__(self, dim: int, config: MistConfig) -> None:
        super().__init__()
        h = config.hidden
        self.embedding = embedding_layer(dim, h, config.dropout)
        self.attention = nn.Sequential(nn.Linear(h, h), nn.ReLU(), nn.Linear(h, h))
        self.guide = nn.Linear(h, 1)
        self.score = nn.Linear(h, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D) -> logits of the snippets and of the attention, each (B, T)."""
        y = self.embedding(x)
        a = self.attention(y)
        weighted = y + a.sigmoid() * y  # eq. 4
        return self.score(weighted).squeeze(-1), self.guide(a).squeeze(-1)


class MistNetwork(StagedNetwork):
    """The encoder, whose scores are the result, and the generator, used in training only."""

    def __init__(self, dim: int, config: MistConfig) -> None:
        super().__init__()
        self.generator = score_mlp(dim, config.hidden, config.bottleneck, config.dropout)
        self.encoder = SelfGuidedEncoder(dim, config)
        init_xavier(self)

    def score_bags(self, x: Tensor, labels: Tensor | None) -> Output:
        logits, guided = self.encoder(x)
        if labels is None:
            return Output.from_logits(logits)
        generated = self.generator(x).squeeze(-1).sigmoid()
        return MistOutput(logits.sigmoid(), logits, generated, guided, self.done.expand(len(x)))


class Mist(WeaklySupervised[MistConfig, MistOutput]):
    name = "mist"
    title = "MIST"
    year = 2021
    info = MethodInfo(
        paper="Feng, Hong, Zheng: MIST: Multiple Instance Self-Training Framework for Video "
        "Anomaly Detection, CVPR 2021",
        inputs="snippet features",
        checked="from the paper",
        evidence="both losses and the labels by hand, behaviour on planted anomalies",
        deviations=(
            "the encoder is a few layers on features: the backbone stays fixed, where the paper "
            "trains it, and attention is over features, not over image positions",
            "all sub-bags of a bag's segments are used, where the paper samples some",
            "the generator is trained in the second stage, too, and generates new labels for "
            "every bag",
            "the generator's scores are smoothed once, where the authors' code does so twice",
            "our choice: sub-bags of three, half of the steps for each stage, Adam at 1e-4 with "
            "weight decay 5e-4, 3,000 steps of 30 + 30 bags",
        ),
    )
    Config = MistConfig
    Network = MistNetwork
    recipe = Recipe(
        lr=1e-4, weight_decay=5e-4, steps=3_000, normal_bags=30, abnormal_bags=30, segments=32
    )

    def loss(self, output: MistOutput, labels: Tensor, config: MistConfig) -> Loss:
        """Terms: ``rank`` of the highest sub-bags (equation 1), ``sparse``; ``cls`` of the encoder
        and ``guide`` of its attention, on the pseudo-labels (equation 8)."""
        normal, abnormal = split_by_label(labels)
        length = min(config.sub_bag, output.generated.shape[1])
        highest = max_window_mean(output.generated, length)
        rank = ranking_loss(highest[abnormal], highest[normal], config.margin)
        sparse = output.generated[abnormal].mean()
        targets = labels[:, None] * pseudo_labels(output.generated.detach(), config.smooth)
        cls = _weighted_bce(output.logits, targets, config)
        guide = _weighted_bce(output.guided, targets, config)
        total = rank + config.sparse * sparse
        if float(output.done[0]) >= config.generator_share:
            total = total + cls + config.guide * guide
        return Loss(total, {"rank": rank, "sparse": sparse, "cls": cls, "guide": guide})


def _weighted_bce(logits: Tensor, targets: Tensor, config: MistConfig) -> Tensor:
    """Cross-entropy with targets in [0, 1] and the class weights of ``config``."""
    ratio = logits.new_tensor(config.abnormal_weight / config.normal_weight)
    bce = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=ratio)
    return config.normal_weight * bce


def pseudo_labels(scores: Tensor, smooth: int) -> Tensor:
    """(B, T) -> (B, T) moving average over ``smooth`` snippets (fewer at both ends), then scaled
    to the range from 0 to 1 in each video (equations 2 and 3)."""
    mean = F.avg_pool1d(
        scores[:, None], smooth, stride=1, padding=smooth // 2, count_include_pad=False
    )[:, 0]
    if smooth % 2 == 0:  # T + 1 windows, half a snippet off the centre.
        mean = (mean[:, :-1] + mean[:, 1:]) / 2
    low, high = mean.amin(1, keepdim=True), mean.amax(1, keepdim=True)
    return (mean - low) / (high - low).clamp(min=1e-6)
