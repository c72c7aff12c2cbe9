"""The scale of scores that are no probabilities: where normal snippets lie on them.

Smoothing of scores along time, after the network: on probabilities, given and returned as
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Scores of the median and of the 99th of a hundred normal snippets.
_MEDIAN_SCORE, _EDGE_SCORE = 0.1, 0.5
# The score rises with this power of the measure, whatever the normal snippets say.
_SLOPE_RANGE = (1.0, 12.0)
# Where a measure is nothing, there is no logarithm.
_MIN_MEASURE = 1e-6


class NormalScaledNetwork(nn.Module):
    """A network whose own measure of oddness, at least 0, has no upper end.

    Its scores are the sigmoid of ``slope`` ln(measure / edge): they rise with the measure, so that
    the order of snippets, AUC and AP stay, and are a half at the edge of what is normal. Until it
    is calibrated the measure is compared with 1.
    """

    edge: Tensor  # () measure whose score is a half
    slope: Tensor  # ()

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("edge", torch.ones(()))
        self.register_buffer("slope", torch.ones(()))

    def scaled(self, log_measure: Tensor) -> Tensor:
        """Logits of ln(measure), of any shape."""
        return self.slope * (log_measure - self.edge.log())

    def calibrate(self, measures: Tensor) -> None:
        """Set the scale by ``measures`` (N,) of normal snippets, N at least 1.

        One in a hundred of them scores above a half, half of them above a tenth. Beyond, the score
        goes on rising with the measure.
        """
        points = torch.tensor([0.5, 0.99], dtype=torch.float64, device=measures.device)
        usual, edge = torch.quantile(measures.double(), points).clamp(min=_MIN_MEASURE).tolist()
        rise = math.log(_EDGE_SCORE / (1 - _EDGE_SCORE)) - math.log(
            _MEDIAN_SCORE / (1 - _MEDIAN_SCORE)
        )
        width = math.log(edge / usual)
        low, high = _SLOPE_RANGE
        self.edge.fill_(edge)
        self.slope.fill_(high if width * high <= rise else max(low, rise / width))


Smoothing = Literal["none", "slide", "fixed"]


class SmoothingNetwork(nn.Module):
    """A network that smooths over a length of time, however densely a video is looked at.

    Its ``forward(features, labels=None, spacing=1.0)`` is told in scoring how many times as long
    the step from snippet to snippet is as in the profile ``best``: 5, and what it counts in
    snippets of ``best`` is a fifth as many.
    """


def smooth_logits(logits: Tensor, how: Smoothing, width: int) -> Tensor:
    """Logits (B, T) of the smoothed probabilities.

    ``slide``: the mean of a snippet and the ``width - 1`` after it. ``fixed``: every ``width``
    snippets get their mean. Either way there are scores of 0 beyond the end.
    """
    if how == "none":
        return logits
    length = logits.shape[1]
    beyond = width - 1 if how == "slide" else -length % width
    padded = F.pad(logits, (0, beyond), value=-torch.inf)
    if how == "slide":
        return _logit_of_mean(padded.unfold(1, width, 1))
    means = _logit_of_mean(padded.view(len(logits), -1, width))
    return means.repeat_interleave(width, dim=1)[:, :length]


def _logit_of_mean(logits: Tensor) -> Tensor:
    """(..., k) -> (...) log(p / (1 - p)) of p, the mean of k probabilities."""
    return F.logsigmoid(logits).logsumexp(-1) - F.logsigmoid(-logits).logsumexp(-1)


def gaussian_blur(logits: Tensor, deviation: float) -> Tensor:
    """Logits (B, T), each the mean of its neighbours by a Gaussian of ``deviation`` snippets.

    At either end over what is there.
    """
    if not deviation:
        return logits
    reach = math.ceil(4 * deviation)
    apart = torch.arange(-reach, reach + 1, dtype=logits.dtype, device=logits.device)
    kernel = torch.exp(-0.5 * (apart / deviation) ** 2)[None, None]
    summed = F.conv1d(logits[:, None], kernel, padding=reach)
    weight = F.conv1d(torch.ones_like(logits[:1, None]), kernel, padding=reach)
    return (summed / weight)[:, 0]
