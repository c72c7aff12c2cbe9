"""GCL: a generator and a discriminator make pseudo-labels for each other; no labels are used.

Zaheer, Mahmood, Khan, Segu, Yu, Lee, "Generative Cooperative Learning for Unsupervised Video
Anomaly Detection", CVPR 2022. The generator is an autoencoder of features, which reconstructs rare
ones badly. Errors above a threshold are abnormal pseudo-labels for the discriminator; scores of the
discriminator above a threshold mark snippets that the generator is trained to reconstruct badly
(negative learning).
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import (
    AboveZero,
    Dropout,
    Loss,
    MethodConfig,
    MethodInfo,
    Output,
    Recipe,
    StagedNetwork,
    Unsupervised,
    Width,
    renamed_field,
)
from oddframe.methods.layers import init_xavier, score_mlp


class GclConfig(MethodConfig):
    """Settings of GCL.

    Attributes:
        wide: Width of the generator's outer hidden layers.
        narrow: Width of its middle layer.
        hidden: Width of the discriminator's first layer.
        bottleneck: Width of its second layer.
        dropout: After both layers of the discriminator.
        deviations: Threshold of the pseudo-labels: standard deviations above the batch's mean.
        generator_share: Share of the training steps in which only the generator is trained.
        negative: Share of the steps after which negative learning starts.
    """

    wide: Width = 512
    narrow: Width = 128
    hidden: Width = 512
    bottleneck: Width = 32
    dropout: Dropout = 0.6
    deviations: AboveZero = 1.0
    generator_share: float = renamed_field(0.2, name="generator_share", old="alone", ge=0, lt=1)
    negative: Dropout = 0.5

    @model_validator(mode="after")
    def _in_order(self) -> GclConfig:
        if self.negative < self.generator_share:
            raise ValueError("negative must not be less than generator_share")
        return self


@dataclass(frozen=True)
class GclOutput(Output):
    """What the loss reads. ``scores`` and ``logits`` are the discriminator's."""

    error: Tensor  # (B, T) mean squared reconstruction error
    to_ones: Tensor  # (B, T) mean squared distance of the reconstruction to a feature of ones
    done: Tensor  # (B,) share of the training that is done


class GclNetwork(StagedNetwork):
    """The discriminator, whose scores are the result, and the generator, used in training only."""

    def __init__(self, dim: int, config: GclConfig) -> None:
        super().__init__()
        self.discriminator = score_mlp(dim, config.hidden, config.bottleneck, config.dropout)
        self.generator = nn.Sequential(
            nn.Linear(dim, config.wide),
            nn.ReLU(),
            nn.Linear(config.wide, config.narrow),
            nn.ReLU(),
            nn.Linear(config.narrow, config.wide),
            nn.ReLU(),
            nn.Linear(config.wide, dim),
        )
        init_xavier(self)

    def score_bags(self, x: Tensor, labels: Tensor | None) -> Output:
        """With ``labels``, whatever their values, it returns the ``GclOutput`` of the loss."""
        logits = self.discriminator(x).squeeze(-1)
        if labels is None:
            return Output.from_logits(logits)
        rebuilt = self.generator(x)
        error, to_ones = (x - rebuilt).square().mean(-1), (1 - rebuilt).square().mean(-1)
        return GclOutput(logits.sigmoid(), logits, error, to_ones, self.done.expand(len(x)))


class Gcl(Unsupervised[GclConfig, GclOutput]):
    """Generative cooperative learning (Zaheer et al.; CVPR 2022)."""

    name = "gcl"
    title = "GCL"
    year = 2022
    info = MethodInfo(
        paper="Zaheer, Mahmood, Khan, Segu, Yu, Lee: Generative Cooperative Learning for "
        "Unsupervised Video Anomaly Detection, CVPR 2022",
        inputs="snippet features",
        checked="from the paper",
        evidence="losses and pseudo-labels by hand, detects rare snippets, the same weights "
        "whatever the labels are",
        deviations=(
            "both are trained in every step of the last stage, where the paper alternates",
            "thresholds are computed from the errors and scores of the batch",
            "the generator starts with all snippets, where the paper first leaves out those that "
            "change fast",
            "the target of negative learning is a feature of ones",
            "our choice: one standard deviation for the discriminator's threshold, too; three "
            "stages of 20, 30 and 50 % of the steps; widths, Adam at 1e-3, 3,000 steps of 32 + 32 "
            "bags",
        ),
    )
    Config = GclConfig
    Network = GclNetwork
    recipe = Recipe(lr=1e-3, normal_bags=32, abnormal_bags=32, segments=32)

    def loss(self, output: GclOutput, labels: Tensor, config: GclConfig) -> Loss:  # noqa: ARG002
        """Terms: ``make``, the generator's error, with a target of ones where the discriminator's
        pseudo-label is abnormal; ``tell``, the discriminator's cross-entropy."""
        done = float(output.done[0])
        errors = output.error
        if done >= config.negative:
            abnormal = threshold_labels(output.scores.detach(), config.deviations)
            errors = abnormal * output.to_ones + (1 - abnormal) * output.error
        make = errors.mean()
        targets = threshold_labels(output.error.detach(), config.deviations)
        tell = F.binary_cross_entropy_with_logits(output.logits, targets)
        total = make + tell if done >= config.generator_share else make
        return Loss(total, {"make": make, "tell": tell})


def threshold_labels(values: Tensor, deviations: float) -> Tensor:
    """1 for values more than ``deviations`` standard deviations above the mean, else 0."""
    threshold = values.mean() + deviations * values.std(correction=0)
    return (values > threshold).to(values.dtype)
