"""Hasan et al.: an autoencoder that has only seen normal frames rebuilds odd ones badly.

Hasan, Choi, Neumann, Roy-Chowdhury, Davis, "Learning Temporal Regularity in Video Sequences"
(CVPR 2016), the autoencoder on frames. A stack X of 10 grey frames goes through convolutions
512 (11x11, stride 4), pooling, 256 (5x5), pooling, 128 (3x3) and their mirror image f:

    loss    1 / N  sum over stacks of  |X - f(X)|^2, and a penalty of the weights
    error   e = |X - f(X)|^2
    score   (e - min e) / (max e - min e) over a video, high where it is not regular

Here the score is e on a scale that normal video sets (``OneClassNetwork``), so that a video in
which
nothing happens has no frame of score 1; ``per_video`` is the published one. Errors are means over
pixels, which changes no order.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.errors import UsageError
from oddframe.methods.base import MAX_WIDTH, Loss, Method, MethodInfo, Output, Recipe
from oddframe.methods.one_class.base import OneClassNetwork
from oddframe.methods.shared.layers import mean_over_crops, merge_crops

# Stacks that go through the network together where no gradient is wanted.
_STACKS_PER_CHUNK = 32
# Logits of the least and the most regular stack of a video, with ``per_video``.
_PER_VIDEO_LOGIT = 4.0


_Width = Annotated[int, Field(ge=1, le=MAX_WIDTH)]


class HasanConfig(BaseModel):
    """Settings of Hasan et al.

    Attributes:
        frames: Of a stack; its pictures are square.
        widths: Channels of the three convolutions.
        kernel: Of the first one, pixels.
        stride: Of the first one, pixels.
        per_video: Scores are brought to the same range in each video, as published: then one frame
            of every video is as odd as can be, and a threshold means nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: int = Field(default=10, ge=1, le=MAX_WIDTH)
    widths: tuple[_Width, _Width, _Width] = (512, 256, 128)
    kernel: int = Field(default=11, ge=1, le=MAX_WIDTH)
    stride: int = Field(default=4, ge=1, le=MAX_WIDTH)
    per_video: bool = False


@dataclass(frozen=True)
class HasanOutput(Output):
    """What the loss reads besides.

    Attributes:
        errors: (B, T) mean squared error of each stack's pixels.
    """

    errors: Tensor


class Autoencoder(nn.Module):
    """Stacks (N, frames, height, width) -> the same, rebuilt from what is left between.

    Unpooling puts values back to where the pooling took them from.
    """

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
        for weight in self.parameters():
            if weight.ndim > 1:
                nn.init.xavier_uniform_(weight)
            else:
                nn.init.zeros_(weight)

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
    """``x`` at the places ``at`` of a picture ``like`` what was pooled, zeros between."""
    empty = x.new_zeros(like.shape).flatten(2)
    return empty.scatter(2, at.flatten(2), x.flatten(2)).view(like.shape)


class HasanNetwork(OneClassNetwork):
    """Errors of an autoencoder on stacks of frames, of which the mean picture is taken away."""

    picture: Tensor  # (height, width) mean of all normal frames
    spread: Tensor  # () deviation of all normal pixels from it

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

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Output:
        """(B, T, D) -> scores (B, T); (B, C, T, D): averaged over the C crops."""
        x, crops = merge_crops(features, labels)
        errors = self.distance(x)
        if self.config.per_video:
            low, high = errors.amin(1, keepdim=True), errors.amax(1, keepdim=True)
            share = (errors - low) / (high - low).clamp(min=torch.finfo(errors.dtype).tiny)
            output = mean_over_crops(_PER_VIDEO_LOGIT * (2 * share - 1), crops)
        else:
            output = mean_over_crops(self.logits(errors), crops)
        if labels is None:
            return output
        return HasanOutput(output.scores, output.logits, errors)

    def distance(self, features: Tensor) -> Tensor:
        """(..., D) -> (...) mean squared error of the pixels, in normal ones' variance."""
        flat = features.flatten(0, -2)
        parts = [flat] if torch.is_grad_enabled() else torch.split(flat, _STACKS_PER_CHUNK)
        return torch.cat([self._errors(part) for part in parts]).view(features.shape[:-1])

    def _errors(self, flat: Tensor) -> Tensor:
        stacks = (flat.view(-1, *self.shape) - self.picture) / self.spread
        missed: Tensor = self.autoencoder(stacks) - stacks
        return missed.square().flatten(1).mean(1)

    def fit_snippets(self, snippets: Tensor) -> None:
        """The mean picture of ``snippets`` (N, D), and how far pixels are from it."""
        stacks = snippets.view(-1, *self.shape)
        self.picture.copy_(stacks.mean((0, 1)))
        squares = sum(float((part - self.picture).square().sum()) for part in stacks)
        self.spread.fill_((squares / stacks.numel()) ** 0.5 or 1.0)


class Hasan(Method[HasanConfig, HasanOutput]):
    """A convolutional autoencoder on stacks of normal frames."""

    name = "hasan"
    title = "Hasan et al."
    year = 2016
    info = MethodInfo(
        paper="Hasan, Choi, Neumann, Roy-Chowdhury, Davis: Learning Temporal Regularity in Video "
        "Sequences, CVPR 2016",
        inputs="stacks of 10 grey frames",
        supervision="normal videos",
        checked="from the paper",
        evidence="errors, loss and gradients by hand; a square that turns and speeds up is found",
        deviations=(
            "frames of 96x96 pixels (backbone grey_10x96x96) unless grey_10x227x227, the paper's, "
            "is asked for",
            "a stack has one error, and a frame the mean over the stacks that it is in",
            "scores are on a scale that normal video sets, not min-max normalised a video "
            "(per_video: true does that)",
            "stacks of frames that follow each other only, none with frames left out",
            "pixels less the mean picture, over one deviation; tanh between layers, none at the "
            "end; rate, decay and number of steps are chosen by us; bags of the recipe are stacks",
        ),
    )
    Config = HasanConfig
    recipe = Recipe(
        optimiser="adagrad",
        lr=1e-2,
        weight_decay=5e-4,
        steps=3000,
        normal_bags=32,
        abnormal_bags=0,
        segments=1,
    )
    one_class = True
    trained_by_steps = True
    backbones = ("grey_10x96x96", "grey_10x227x227")

    def network(self, dim: int, config: HasanConfig) -> HasanNetwork:
        """A network that has seen nothing yet.

        Raises:
            UsageError: ``dim`` is not that of a stack of square frames.
        """
        return HasanNetwork(dim, config)

    def loss(self, output: HasanOutput, labels: Tensor, config: HasanConfig) -> Loss:  # noqa: ARG002
        """The mean error of the normal bags; abnormal ones teach nothing.

        The paper's penalty of the weights is the recipe's weight decay.
        """
        total = output.errors[labels == 0].mean()
        return Loss(total, {"rebuilt": total})
