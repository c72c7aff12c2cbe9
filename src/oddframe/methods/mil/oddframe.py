"""oddframe's own: small UR-DMUs that see a video or a snippet, linear paths, and what is normal.

UR-DMU with what measurably helped on validation recordings, and without what did not;
docs/methods.md has what each part gave. Two networks a quarter of the published width score
together: one has UR-DMU's attention, one sees a snippet at a time; both learn by its loss with the
uncertainty regulation, and each, at a half of what it says itself, is beside a linear path. To
their logits comes how far a snippet lies from the training set's normal ones, the measure that
BN-WVAD takes inside a network, here of the features. In the end a snippet's neighbours have a say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from oddframe.methods.base import MAX_LAYERS, MAX_WIDTH, Loss, Method, MethodInfo, Output, Recipe
from oddframe.methods.shared.layers import mean_over_crops, merge_crops
from oddframe.methods.shared.scores import SmoothingNetwork, gaussian_blur
from oddframe.methods.urdmu.attention import conv_embedding
from oddframe.methods.urdmu.config import UrDmuConfig
from oddframe.methods.urdmu.method import UrDmu
from oddframe.methods.urdmu.network import UrDmuNetwork, UrDmuOutput, UrDmuWithShortcut

_UR_DMU = UrDmu()
# A video's snippets that say what is normal; more are thinned out evenly.
_MAX_SNIPPETS_PER_VIDEO = 200
# What training brings logits to: see the temperature in training/loop.py.
_LOGIT_RANGE = 4.0
# Where something does not move there is neither a logarithm nor a deviation.
_LEAST, _LEAST_DEVIATION = 1e-6, 1e-3


class OddframeConfig(BaseModel):
    """Settings of oddframe's own method.

    Attributes:
        contextual: Networks that see the whole video, by UR-DMU's attention.
        snippetwise: Networks that see a snippet at a time.
        hidden: Width of each.
        heads: Attention heads.
        head_dim: Width of a head.
        dropout: In attention's output and in the feed-forward network behind it.
        deep_share: How much of a network's own logits a score has beside the linear path's.
        distance: Weight of the distance from what is normal, in the deviations of logits and of
            normal snippets' distances; 0: left out.
        blur: Deviation, in snippets as the profile ``best`` reads them, of the Gaussian that logits
            are smoothed with; 0: none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    contextual: int = Field(default=1, ge=0, le=MAX_LAYERS)
    snippetwise: int = Field(default=1, ge=0, le=MAX_LAYERS)
    hidden: int = Field(default=128, ge=1, le=MAX_WIDTH)
    heads: int = Field(default=4, ge=1, le=MAX_WIDTH)
    head_dim: int = Field(default=32, ge=1, le=MAX_WIDTH)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    deep_share: float = Field(default=0.5, ge=0, le=1)
    distance: float = Field(default=0.2, ge=0)
    blur: float = Field(default=0.7, ge=0)

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if not self.contextual + self.snippetwise:
            raise ValueError("at least one network has to score: contextual or snippetwise")
        return self

    @property
    def members(self) -> tuple[UrDmuConfig, ...]:
        """The config of each network; without attention their depth is 0."""
        contextual = UrDmuConfig(
            hidden=self.hidden,
            heads=self.heads,
            head_dim=self.head_dim,
            dropout=self.dropout,
            memory="none",
            shortcut=True,
            deep_share=self.deep_share,
        )
        snippetwise = contextual.model_copy(update={"depth": 0})
        return (contextual,) * self.contextual + (snippetwise,) * self.snippetwise


@dataclass(frozen=True)
class OddframeOutput(Output):
    """What the loss reads: of each network its own; scores and logits are of their mean."""

    members: tuple[UrDmuOutput, ...]


class SnippetUrDmu(UrDmuNetwork):
    """UR-DMU that sees one snippet at a time: an embedding without its neighbours, no attention."""

    def __init__(self, dim: int, config: UrDmuConfig) -> None:
        super().__init__(dim, config)
        self.embedding = conv_embedding(dim, config.hidden, reach=0)


class NormalDistance(nn.Module):
    """How far features lie from the normal ones of training, by each dimension's own deviation.

    The logarithm of the mean squared distance, in deviations of what normal snippets have, times a
    scale; until it is calibrated, nothing.
    """

    mean: Tensor  # (D,) of normal snippets
    deviation: Tensor  # (D,)
    usual: Tensor  # () mean of their distances
    spread: Tensor  # () deviation of these
    scale: Tensor  # () what one deviation adds to a logit

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("deviation", torch.ones(dim))
        self.register_buffer("usual", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("scale", torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, D) -> (B, T) to add to logits."""
        return self.scale * (self._distance(features) - self.usual) / self.spread

    def _distance(self, features: Tensor) -> Tensor:
        squared = ((features - self.mean) / self.deviation) ** 2
        return squared.mean(-1).clamp(min=_LEAST).log()

    def calibrate(self, normal: Tensor, scale: Tensor) -> None:
        """Take ``normal`` snippets (N, D), N at least 2, as what is normal."""
        self.mean.copy_(normal.mean(0))
        self.deviation.copy_(normal.std(0).clamp(min=_LEAST_DEVIATION))
        found = self._distance(normal)
        self.usual.copy_(found.mean())
        self.spread.copy_(found.std().clamp(min=_LEAST_DEVIATION))
        self.scale.copy_(scale)


class OddframeNetwork(SmoothingNetwork):
    """The mean logits of several networks and the distance from normal, smoothed along time."""

    def __init__(self, dim: int, config: OddframeConfig) -> None:
        super().__init__()
        self.blur, self.weight = config.blur, config.distance
        self.members = nn.ModuleList(_member(dim, each) for each in config.members)
        self.distance = NormalDistance(dim)

    def forward(
        self, features: Tensor, labels: Tensor | None = None, spacing: float = 1.0
    ) -> Output:
        """(B, T, D) -> scores (B, T); (B, C, T, D): averaged over the C crops."""
        x, crops = merge_crops(features, labels)
        if labels is None:
            logits = self.together(x) + self.distance(x)
            return mean_over_crops(gaussian_blur(logits, self.blur / spacing), crops)
        outputs = tuple(member(x, labels) for member in self.members)
        logits = torch.stack([output.logits for output in outputs]).mean(0)
        return OddframeOutput(logits.sigmoid(), logits, outputs)

    def together(self, x: Tensor) -> Tensor:
        """The networks' mean logits (B, T) of (B, T, D)."""
        return torch.stack([member(x).logits for member in self.members]).mean(0)

    def calibrate(self, normal: Iterable[Tensor]) -> None:
        """Find what is normal by the features (1, T, D) of ``normal`` videos."""
        snippets, logits = [], []
        for video in normal:
            kept = slice(None, None, video.shape[1] // _MAX_SNIPPETS_PER_VIDEO + 1)
            snippets.append(video[0, kept])
            logits.append(self.together(video)[0, kept])
        x = torch.cat(snippets)
        if len(x) > 1:
            # Where the temperature brings all but one in twenty logits.
            typical = torch.cat(logits).abs().quantile(0.95) / _LOGIT_RANGE
            self.distance.calibrate(x, self.weight * typical)


def _member(dim: int, config: UrDmuConfig) -> UrDmuWithShortcut:
    network = UrDmuNetwork if config.depth else SnippetUrDmu
    return UrDmuWithShortcut(dim, network(dim, config), config.deep_share)


class Oddframe(Method[OddframeConfig, OddframeOutput]):
    """oddframe's own method."""

    name = "oddframe"
    title = "oddframe"
    year = 2026
    info = MethodInfo(
        paper="Ours; its parts are UR-DMU's (Zhou, Yu, Yang, AAAI 2023)",
        inputs="snippet features",
        supervision="video labels",
        checked="ours",
        evidence="its networks are UR-DMUs, one without attention; loss and scores are their means",
    )
    Config = OddframeConfig
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

    def network(self, dim: int, config: OddframeConfig) -> OddframeNetwork:
        """A fresh network for features of length ``dim``."""
        return OddframeNetwork(dim, config)

    def loss(self, output: OddframeOutput, labels: Tensor, config: OddframeConfig) -> Loss:
        """UR-DMU's, the mean over the networks: each learns as if it were alone."""
        each = zip(output.members, config.members, strict=True)
        losses = [_UR_DMU.loss(one, labels, settings) for one, settings in each]
        total = torch.stack([loss.total for loss in losses]).mean()
        names = losses[0].terms
        terms = {name: torch.stack([loss.terms[name] for loss in losses]).mean() for name in names}
        return Loss(total, terms)

    def calibrate(self, network: nn.Module, normal: Iterable[Tensor]) -> None:
        """Find what is normal; unlike a scale it moves snippets past each other."""
        if isinstance(network, OddframeNetwork) and network.weight:
            network.calibrate(normal)

    def parameter_groups(self, network: nn.Module, config: OddframeConfig) -> list[dict[str, Any]]:
        """Networks and linear paths, each with its own rate."""
        members = zip(network.get_submodule("members").children(), config.members, strict=True)
        groups = [_UR_DMU.parameter_groups(one, settings) for one, settings in members]
        deep, linear = ([p for each in groups for p in each[i]["params"]] for i in (0, 1))
        return [{"params": deep}, {**groups[0][1], "params": linear}]
