"""Hasan et al.: an autoencoder trained on normal frames reconstructs abnormal ones badly.

Published scores of errors e are (e - min e) / (max e - min e) over a video (``per_video``). By
default e is scaled by normal video, so that a video in which nothing happens scores low.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.errors import UsageError
from oddframe.methods.base import Loss, MethodInfo, OneClass, Output, Recipe
from oddframe.methods.config import MethodConfig, Width
from oddframe.methods.layers import OneClassNetwork, init_xavier

# Stacks in one pass through the network if no gradient is needed.
_STACKS_PER_CHUNK = 32
# With ``per_video``, logits of a video's most and least regular stack are minus and plus this.
_PER_VIDEO_LOGIT = 4.0


class HasanConfig(MethodConfig):
    frames: Width = 10  # of a stack; they are square
    widths: tuple[Width, Width, Width] = (512, 256, 128)  # channels of the three convolutions
    kernel: Width = 11  # of the first convolution, in pixels
    stride: Width = 4  # its stride, in pixels
    # Whether scores are scaled to the same range in each video, as published. Then every video has
    # a frame of the highest score, and a threshold is meaningless.
    per_video: bool = False


@dataclass(frozen=True)
class HasanOutput(Output):
    errors: Tensor  # (B, T) mean squared error of each stack's pixels


class Autoencoder(nn.Module):
    """Reconstructs stacks (N, frames, height, width). Unpooling uses the indices of pooling."""

    def __init__(self, config: HasanConfig) -> None:
        super().__init__()
        one, two, three = config.widths
        kernel, stride = config.kernel, config.stride
        self.conv1 = nn.Conv2d(config.frames, one, kernel, stride)
        self.conv2 = nn.Conv2d(one, two, 5, padding=2)
        self.conv3 = nn.Conv2d(two, three, 3, padding=1)
        self.back3 = nn.ConvTranspose2d(three, two, 3, padding=1)
        self.back2 = nn.ConvTranspose2d(two, one, 5, padding=2)
        self.back1 = nn.ConvTranspose2d(one, config.frames, kernel, stride)
        init_xavier(self)

    def forward(self, stacks: Tensor) -> Tensor:
        first = self.conv1(stacks).tanh()
        small, at1 = F.max_pool2d(first, 2, return_indices=True)
        second = self.conv2(small).tanh()
        smaller, at2 = F.max_pool2d(second, 2, return_indices=True)
        y = self.back3(self.conv3(smaller).tanh()).tanh()
        y = _unpooled(y, at2, second)
        y = _unpooled(self.back2(y).tanh(), at1, first)
        rebuilt: Tensor = self.back1(y, output_size=stacks.shape[-2:])
        return rebuilt


def _unpooled(x: Tensor, at: Tensor, like: Tensor) -> Tensor:
    """``x`` at the indices ``at`` of an image shaped ``like`` the unpooled one, zeros elsewhere."""
    empty = x.new_zeros(like.shape).flatten(2)
    return empty.scatter(2, at.flatten(2), x.flatten(2)).view(like.shape)


class HasanNetwork(OneClassNetwork):
    """Reconstruction errors of stacks of frames, standardised by normal ones."""

    picture: Tensor  # (height, width) mean of all normal frames
    spread: Tensor  # () standard deviation of all normal pixels from it

    def __init__(self, dim: int, config: HasanConfig) -> None:
        super().__init__()
        side = isqrt(dim // config.frames)
        if config.frames * side * side != dim or (side - config.kernel) // config.stride < 3:
            raise UsageError(
                f"hasan reads stacks of {config.frames} square grey frames, not features of {dim} "
                f"numbers: set features.backbone to {' or '.join(Hasan.backbones)}"
            )
        self.config, self.shape = config, (config.frames, side, side)
        self.autoencoder = Autoencoder(config)
        self.register_buffer("picture", torch.zeros(side, side))
        self.register_buffer("spread", torch.ones(()))

    def score_bags(self, x: Tensor, labels: Tensor | None) -> Output:  # noqa: ARG002
        errors = self.distance(x)
        if self.config.per_video:
            low, high = errors.amin(1, keepdim=True), errors.amax(1, keepdim=True)
            share = (errors - low) / (high - low).clamp(min=torch.finfo(errors.dtype).tiny)
            logits = _PER_VIDEO_LOGIT * (2 * share - 1)
        else:
            logits = self.logits(errors)
        return HasanOutput(logits.sigmoid(), logits, errors)

    def distance(self, features: Tensor) -> Tensor:
        """(..., D) -> (...) mean squared error of the pixels, divided by the normal variance."""
        flat = features.flatten(0, -2)
        parts = [flat] if torch.is_grad_enabled() else torch.split(flat, _STACKS_PER_CHUNK)
        return torch.cat([self._errors(part) for part in parts]).view(features.shape[:-1])

    def _errors(self, flat: Tensor) -> Tensor:
        stacks = (flat.view(-1, *self.shape) - self.picture) / self.spread
        residual: Tensor = self.autoencoder(stacks) - stacks
        return residual.square().flatten(1).mean(1)

    def fit_snippets(self, snippets: Tensor) -> None:
        stacks = snippets.view(-1, *self.shape)
        self.picture.copy_(stacks.mean((0, 1)))
        squares = sum(float((part - self.picture).square().sum()) for part in stacks)
        self.spread.fill_((squares / stacks.numel()) ** 0.5 or 1.0)


class Hasan(OneClass[HasanConfig, HasanOutput]):
    name = "hasan"
    title = "Hasan et al."
    year = 2016
    info = MethodInfo(
        paper="Hasan, Choi, Neumann, Roy-Chowdhury, Davis: Learning Temporal Regularity in Video "
        "Sequences, CVPR 2016",
        inputs="stacks of 10 grey frames",
        checked="from the paper",
        evidence="errors, loss and gradients by hand; it detects a square that turns and speeds up",
        deviations=(
            "frames of 96x96 pixels (backbone grey_10x96x96) by default, where the paper's are "
            "227x227 (grey_10x227x227)",
            "a stack has one error, and a frame the mean error of its stacks",
            "scores are scaled by normal video, not min-max normalised for each video (per_video: "
            "true does that)",
            "stacks of consecutive frames only, none with frames left out",
            "pixels are standardised by the mean image and one standard deviation; tanh between "
            "layers, none at the end; our choice: learning rate, weight decay and number of steps; "
            "bags of the recipe are stacks",
        ),
    )
    Config = HasanConfig
    Network = HasanNetwork
    recipe = Recipe(
        optimiser="adagrad",
        lr=1e-2,
        weight_decay=5e-4,
        steps=3000,
        normal_bags=32,
        abnormal_bags=0,
        segments=1,
    )
    closed_form = False
    backbones = ("grey_10x96x96", "grey_10x227x227")
    league_config = MappingProxyType({"widths": [64, 32, 16]})

    def loss(self, output: HasanOutput, labels: Tensor, config: HasanConfig) -> Loss:  # noqa: ARG002
        # The paper's penalty of the weights is the recipe's weight decay.
        total = output.errors[labels == 0].mean()
        return Loss(total, {"rebuilt": total})
