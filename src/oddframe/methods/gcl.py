"""GCL, generative cooperative learning: two networks make pseudo-labels for each other.

The generator is an autoencoder of features, which reconstructs rare ones badly: its errors label
snippets for the discriminator, whose scores mark what the generator learns to reconstruct badly.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import Loss, MethodInfo, Output, Recipe, StagedNetwork, Unsupervised
from oddframe.methods.config import AboveZero, Dropout, MethodConfig, Width, renamed_field
from oddframe.methods.layers import init_xavier, score_mlp


class GclConfig(MethodConfig):
    wide: Width = 512  # width of the generator's outer hidden layers
    narrow: Width = 128  # width of its middle layer
    hidden: Width = 512  # width of the discriminator's first layer
    bottleneck: Width = 32  # width of its second layer
    dropout: Dropout = 0.6  # after both layers of the discriminator
    # Threshold of the pseudo-labels: standard deviations above the batch's mean.
    deviations: AboveZero = 1.0
    # Share of the training steps in which only the generator is trained.
    generator_share: float = renamed_field(0.2, name="generator_share", old="alone", ge=0, lt=1)
    negative: Dropout = 0.5  # share of the steps after which negative learning starts

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
