"""GCL: a generator and a discriminator label for each other what is odd; no labels are used.

Zaheer, Mahmood, Khan, Segu, Yu, Lee, "Generative Cooperative Learning for Unsupervised Video
Anomaly Detection", CVPR 2022. The generator is an autoencoder of features: what is rare it makes
badly. Its errors beyond a threshold are the discriminator's labels; what the discriminator calls
odd, the generator shall make badly on purpose (negative learning). Labels of videos are never read,
and bags are drawn without regard to them.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import MAX_WIDTH, Loss, Method, MethodInfo, Output, Recipe, StagedNetwork
from oddframe.methods.shared.layers import init_xavier, mean_over_crops, merge_crops, score_mlp


class GclConfig(BaseModel):
    """Settings of GCL.

    Attributes:
        wide: Width of the generator's outer layers.
        narrow: Width of its middle.
        hidden: Width of the discriminator's first layer.
        bottleneck: Width of its second.
        dropout: Behind both of the discriminator's.
        deviations: How many deviations above the mean of a batch make a snippet odd, for either.
        alone: Share of the training in which the generator learns by itself.
        negative: Share after which it learns from the discriminator, too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    wide: int = Field(default=512, ge=1, le=MAX_WIDTH)
    narrow: int = Field(default=128, ge=1, le=MAX_WIDTH)
    hidden: int = Field(default=512, ge=1, le=MAX_WIDTH)
    bottleneck: int = Field(default=32, ge=1, le=MAX_WIDTH)
    dropout: float = Field(default=0.6, ge=0, lt=1)
    deviations: float = Field(default=1.0, gt=0)
    alone: float = Field(default=0.2, ge=0, lt=1)
    negative: float = Field(default=0.5, ge=0, lt=1)

    @model_validator(mode="after")
    def _in_order(self) -> GclConfig:
        if self.negative < self.alone:
            raise ValueError("negative must not be less than alone: nobody has taught it by then")
        return self


@dataclass(frozen=True)
class GclOutput(Output):
    """What the loss reads. ``scores`` and ``logits`` are the discriminator's."""

    error: Tensor  # (B, T) mean squared error of a feature as the generator makes it
    to_ones: Tensor  # (B, T) its mean squared distance to a feature of ones
    done: Tensor  # (B,) share of the training that is done


class GclNetwork(StagedNetwork):
    """The discriminator, which is what scores; the generator beside it, for training alone."""

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

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Output:
        """(B, T, D) -> scores (B, T); (B, C, T, D): averaged over the C crops.

        With ``labels``, whatever they say, it is the ``GclOutput`` of the loss.
        """
        x, crops = merge_crops(features, labels)
        logits = self.discriminator(x).squeeze(-1)
        if labels is None:
            return mean_over_crops(logits, crops)
        made = self.generator(x)
        error, to_ones = (x - made).square().mean(-1), (1 - made).square().mean(-1)
        return GclOutput(logits.sigmoid(), logits, error, to_ones, self.done.expand(len(x)))


class Gcl(Method[GclConfig, GclOutput]):
    """Generative cooperative learning (Zaheer et al.; CVPR 2022)."""

    name = "gcl"
    title = "GCL"
    year = 2022
    info = MethodInfo(
        paper="Zaheer, Mahmood, Khan, Segu, Yu, Lee: Generative Cooperative Learning for "
        "Unsupervised Video Anomaly Detection, CVPR 2022",
        inputs="snippet features",
        supervision="none",
        checked="from the paper",
        evidence="losses and pseudo-labels by hand, rare snippets found, the same weights whatever "
        "the labels are",
        deviations=(
            "both learn in every step of the last stage, where the paper takes turns",
            "thresholds are those of the batch's own errors and scores",
            "the generator begins on all snippets, where the paper first leaves out those that "
            "change fast",
            "a feature of ones is what the generator shall make of an odd snippet",
            "chosen: one deviation for the discriminator's labels, too; three stages of 20, 30 and "
            "50 % of the steps; widths, Adam at 1e-3, 3,000 steps of 32 + 32 bags",
        ),
    )
    Config = GclConfig
    unsupervised = True
    recipe = Recipe(lr=1e-3, normal_bags=32, abnormal_bags=32, segments=32)

    def network(self, dim: int, config: GclConfig) -> GclNetwork:
        """A fresh network for features of length ``dim``."""
        return GclNetwork(dim, config)

    def loss(self, output: GclOutput, labels: Tensor, config: GclConfig) -> Loss:  # noqa: ARG002
        """Terms: ``make``, the generator's error, to ones where the discriminator says odd, and
        ``tell``, the discriminator's cross-entropy on the generator's labels."""
        done = float(output.done[0])
        target = output.error
        if done >= config.negative:
            odd = threshold_labels(output.scores.detach(), config.deviations)
            target = odd * output.to_ones + (1 - odd) * output.error
        make = target.mean()
        told = threshold_labels(output.error.detach(), config.deviations)
        tell = F.binary_cross_entropy_with_logits(output.logits, told)
        total = make + tell if done >= config.alone else make
        return Loss(total, {"make": make, "tell": tell})


def threshold_labels(values: Tensor, deviations: float) -> Tensor:
    """1 where a value lies more than so many deviations above the mean of all, else 0."""
    edge = values.mean() + deviations * values.std(correction=0)
    return (values > edge).to(values.dtype)
