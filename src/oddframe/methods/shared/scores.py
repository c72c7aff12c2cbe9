"""Scaling of scores that are not probabilities, by normal snippets; smoothing over time."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Scores of the median and of the 99th percentile of normal snippets.
_MEDIAN_SCORE, _EDGE_SCORE = 0.1, 0.5
# Limits of ``NormalScaledNetwork.slope``.
_SLOPE_RANGE = (1.0, 12.0)
# The logarithm has no value at 0.
_MIN_MEASURE = 1e-6


class NormalScaledNetwork(nn.Module):
    """A network whose anomaly measure is at least 0 and has no upper limit.

    Its scores are the sigmoid of ``slope`` ln(measure / edge). They increase with the measure, so
    the order of snippets, AUC and AP stay the same, and they are 0.5 at ``edge``. Before
    ``calibrate`` both buffers are 1.
    """

    edge: Tensor  # () measure whose score is 0.5
    slope: Tensor  # ()

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("edge", torch.ones(()))
        self.register_buffer("slope", torch.ones(()))

    def scale_log_measure(self, log_measure: Tensor) -> Tensor:
        """Logits of ln(measure), of any shape."""
        return self.slope * (log_measure - self.edge.log())

    def calibrate(self, measures: Tensor) -> None:
        """Set the scale by ``measures`` (N,) of normal snippets, N at least 1.

        1 % of them score above 0.5 and half of them above 0.1.
        """
        points = torch.tensor([0.5, 0.99], dtype=torch.float64, device=measures.device)
        median, edge = torch.quantile(measures.double(), points).clamp(min=_MIN_MEASURE).tolist()
        rise = math.log(_EDGE_SCORE / (1 - _EDGE_SCORE)) - math.log(
            _MEDIAN_SCORE / (1 - _MEDIAN_SCORE)
        )
        width = math.log(edge / median)
        low, high = _SLOPE_RANGE
        self.edge.fill_(edge)
        self.slope.fill_(high if width * high <= rise else max(low, rise / width))


Smoothing = Literal["none", "slide", "fixed"]


class SmoothingNetwork(nn.Module):
    """A network that smooths its scores over a fixed length of time.

    Its ``forward(features, labels=None, spacing=1.0)`` gets the step between snippets, divided by
    that of the profile ``best``, so that the smoothing lasts as long in every profile.
    """


def smooth_logits(logits: Tensor, how: Smoothing, width: int) -> Tensor:
    """Logits (B, T) of the smoothed probabilities.

    ``slide``: the mean of a snippet and the ``width - 1`` after it. ``fixed``: all snippets of a
    window of ``width`` get its mean. Both pad the end with scores of 0.
    """
    if how == "none":
        return logits
    length = logits.shape[1]
    padding = width - 1 if how == "slide" else -length % width
    padded = F.pad(logits, (0, padding), value=-torch.inf)
    if how == "slide":
        return _logit_of_mean(padded.unfold(1, width, 1))
    means = _logit_of_mean(padded.view(len(logits), -1, width))
    return means.repeat_interleave(width, dim=1)[:, :length]


def _logit_of_mean(logits: Tensor) -> Tensor:
    """(..., k) -> (...) log(p / (1 - p)) of p, the mean of k probabilities."""
    return F.logsigmoid(logits).logsumexp(-1) - F.logsigmoid(-logits).logsumexp(-1)


def gaussian_blur(logits: Tensor, deviation: float) -> Tensor:
    """Logits (B, T) smoothed by a Gaussian with a standard deviation of ``deviation`` snippets.

    At both ends the weights are normalised over the snippets that exist.
    """
    if not deviation:
        return logits
    radius = math.ceil(4 * deviation)
    offset = torch.arange(-radius, radius + 1, dtype=logits.dtype, device=logits.device)
    kernel = torch.exp(-0.5 * (offset / deviation) ** 2)[None, None]
    summed = F.conv1d(logits[:, None], kernel, padding=radius)
    weight = F.conv1d(torch.ones_like(logits[:1, None]), kernel, padding=radius)
    return (summed / weight)[:, 0]
