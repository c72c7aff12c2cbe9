"""oddframe's own method: two small UR-DMUs with linear shortcuts, and the distance from normal.

One has UR-DMU's attention, the other one sees single snippets; neither has memories, which did not
improve results on validation recordings. A Gaussian smooths the logits over time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import (
    Loss,
    MethodInfo,
    Output,
    Recipe,
    WeaklySupervised,
    mean_over_crops,
    merge_crops,
)
from oddframe.methods.config import MAX_LAYERS, Dropout, MethodConfig, NotNegative, Width
from oddframe.methods.layers import SmoothingNetwork
from oddframe.methods.mil.urdmu import UrDmu
from oddframe.methods.mil.urdmu_network import (
    UrDmuConfig,
    UrDmuNetwork,
    UrDmuOutput,
    UrDmuWithShortcut,
    conv_embedding,
)

_UR_DMU = UrDmu()
# Snippets of a normal video that the statistics are computed from; of more, evenly spaced ones.
_MAX_SNIPPETS_PER_VIDEO = 200
# Size of logits after temperature scaling; see training/loop.py.
_LOGIT_RANGE = 4.0
# Lower limits of distances, for the logarithm, and of standard deviations.
_MIN_DISTANCE, _MIN_DEVIATION = 1e-6, 1e-3


class OddframeConfig(MethodConfig):
    # Number of networks with UR-DMU's attention over the video.
    contextual: int = Field(default=1, ge=0, le=MAX_LAYERS)
    # Number of networks that see single snippets.
    snippetwise: int = Field(default=1, ge=0, le=MAX_LAYERS)
    hidden: Width = 128  # width of each network
    heads: Width = 4  # attention heads
    head_dim: Width = 32  # width of a head
    dropout: Dropout = 0.5  # in attention's output and in the feed-forward network
    # Share of a network's deep logits that is added to the linear shortcut's.
    deep_share: float = Field(default=0.5, ge=0, le=1)
    # Weight of the distance from normal, relative to the size of the logits; 0: none.
    distance: NotNegative = 0.2
    # Standard deviation, in snippets of the profile ``best``, of the Gaussian that logits are
    # smoothed with; 0: none.
    blur: NotNegative = 0.7

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if not self.contextual + self.snippetwise:
            raise ValueError("at least one network is needed: set contextual or snippetwise")
        return self

    @property
    def members(self) -> tuple[UrDmuConfig, ...]:
        """The config of each network; those without attention have depth 0."""
        same = self.model_dump(include={"hidden", "heads", "head_dim", "dropout", "deep_share"})
        contextual = UrDmuConfig(memory="none", shortcut=True, **same)
        snippetwise = contextual.model_copy(update={"depth": 0})
        return (contextual,) * self.contextual + (snippetwise,) * self.snippetwise


@dataclass(frozen=True)
class OddframeOutput(Output):
    """What the loss reads. ``logits`` are the mean of the networks' logits."""

    members: tuple[UrDmuOutput, ...]  # Of each network


class SnippetUrDmu(UrDmuNetwork):
    """UR-DMU on single snippets: an embedding with kernel 1, and no attention."""

    def __init__(self, dim: int, config: UrDmuConfig) -> None:
        super().__init__(dim, config)
        self.embedding = conv_embedding(dim, config.hidden, reach=0)


class NormalDistance(nn.Module):
    """ln of the mean over dimensions of ((x - mean) / deviation)^2, standardised by its values on
    normal snippets, times a scale, which is 0 before ``calibrate``."""

    mean: Tensor  # (D,) of normal snippets
    deviation: Tensor  # (D,) their standard deviation
    usual: Tensor  # () mean of their distances
    spread: Tensor  # () standard deviation of their distances
    scale: Tensor  # () added to a logit for each standard deviation

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("deviation", torch.ones(dim))
        self.register_buffer("usual", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("scale", torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, D) -> (B, T), to be added to logits."""
        return self.scale * (self._distance(features) - self.usual) / self.spread

    def _distance(self, features: Tensor) -> Tensor:
        squared = ((features - self.mean) / self.deviation) ** 2
        return squared.mean(-1).clamp(min=_MIN_DISTANCE).log()

    def calibrate(self, normal: Tensor, scale: Tensor) -> None:
        """Compute the statistics of ``normal`` snippets (N, D), N at least 2; set the scale."""
        self.mean.copy_(normal.mean(0))
        self.deviation.copy_(normal.std(0).clamp(min=_MIN_DEVIATION))
        distances = self._distance(normal)
        self.usual.copy_(distances.mean())
        self.spread.copy_(distances.std().clamp(min=_MIN_DEVIATION))
        self.scale.copy_(scale)


class OddframeNetwork(SmoothingNetwork):
    """The mean logits of several networks plus the distance from normal, smoothed over time."""

    def __init__(self, dim: int, config: OddframeConfig) -> None:
        super().__init__()
        self.blur, self.weight = config.blur, config.distance
        self.members = nn.ModuleList(_member(dim, each) for each in config.members)
        self.distance = NormalDistance(dim)

    def forward(
        self, features: Tensor, labels: Tensor | None = None, spacing: float = 1.0
    ) -> Output:
        x, crops = merge_crops(features, labels)
        if labels is None:
            logits = self.mean_logits(x) + self.distance(x)
            return mean_over_crops(gaussian_blur(logits, self.blur / spacing), crops)
        outputs = tuple(member(x, labels) for member in self.members)
        logits = torch.stack([output.logits for output in outputs]).mean(0)
        return OddframeOutput(logits.sigmoid(), logits, outputs)

    def mean_logits(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T) mean logits of the networks."""
        return torch.stack([member(x).logits for member in self.members]).mean(0)

    def calibrate(self, normal: Iterable[Tensor]) -> None:
        """Compute the statistics of the features (1, T, D) of each of the ``normal`` videos."""
        snippets, logits = [], []
        for video in normal:
            kept = slice(None, None, video.shape[1] // _MAX_SNIPPETS_PER_VIDEO + 1)
            snippets.append(video[0, kept])
            logits.append(self.mean_logits(video)[0, kept])
        x = torch.cat(snippets)
        if len(x) > 1:
            # Temperature scaling will divide logits by this: 95 % are then within the range.
            temperature = torch.cat(logits).abs().quantile(0.95) / _LOGIT_RANGE
            self.distance.calibrate(x, self.weight * temperature)


def _member(dim: int, config: UrDmuConfig) -> UrDmuWithShortcut:
    network = UrDmuNetwork if config.depth else SnippetUrDmu
    return UrDmuWithShortcut(dim, network(dim, config), config.deep_share)


def gaussian_blur(logits: Tensor, deviation: float) -> Tensor:
    """Logits (B, T) smoothed by a Gaussian with a standard deviation of ``deviation`` snippets; at
    both ends the weights are normalised over the snippets that exist."""
    if not deviation:
        return logits
    radius = math.ceil(4 * deviation)
    offset = torch.arange(-radius, radius + 1, dtype=logits.dtype, device=logits.device)
    kernel = torch.exp(-0.5 * (offset / deviation) ** 2)[None, None]
    summed = F.conv1d(logits[:, None], kernel, padding=radius)
    weight = F.conv1d(torch.ones_like(logits[:1, None]), kernel, padding=radius)
    return (summed / weight)[:, 0]


class Oddframe(WeaklySupervised[OddframeConfig, OddframeOutput]):
    name = "oddframe"
    title = "oddframe"
    year = 2026
    info = MethodInfo(
        paper="Ours; its parts are UR-DMU's (Zhou, Yu, Yang, AAAI 2023)",
        inputs="snippet features",
        checked="ours",
        evidence="its networks are UR-DMUs, one without attention; loss and logits are their means",
    )
    Config = OddframeConfig
    Network = OddframeNetwork
    supports_microbatches = True
    recipe = Recipe(
        lr=3e-4,
        weight_decay=5e-5,
        steps=300,
        normal_bags=8,
        abnormal_bags=8,
        segments=32,
        average=0.98,
    )

    def loss(self, output: OddframeOutput, labels: Tensor, config: OddframeConfig) -> Loss:
        members = zip(output.members, config.members, strict=True)
        return Loss.mean([_UR_DMU.loss(each, labels, settings) for each, settings in members])

    def calibrate(self, network: nn.Module, normal: Iterable[Tensor]) -> None:
        if isinstance(network, OddframeNetwork) and network.weight:
            network.calibrate(normal)

    def parameter_groups(self, network: nn.Module, config: OddframeConfig) -> list[dict[str, Any]]:
        """One group of all networks and one of all linear shortcuts, which have their own rate."""
        members = zip(network.get_submodule("members").children(), config.members, strict=True)
        groups = [_UR_DMU.parameter_groups(each, settings) for each, settings in members]
        deep, linear = ([p for each in groups for p in each[i]["params"]] for i in (0, 1))
        return [{"params": deep}, {**groups[0][1], "params": linear}]
