"""What the networks of several methods are made of."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import BagNetwork, Output
from oddframe.methods.config import MIN_DISTANCE_RATIO


def score_mlp(dim: int, hidden: int, bottleneck: int, dropout: float) -> nn.Sequential:
    """(..., D) -> (..., 1): the three layers of Sultani et al. 2018, which many methods reuse."""
    return nn.Sequential(
        nn.Linear(dim, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, bottleneck),
        nn.Dropout(dropout),
        nn.Linear(bottleneck, 1),
    )


def embedding_layer(dim: int, hidden: int, dropout: float) -> nn.Sequential:
    """(..., D) -> (..., H), all values at least 0."""
    return nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Dropout(dropout))


class CausalConv1d(nn.Conv1d):
    """A convolution over a snippet and those before it: (B, D, T) -> (B, D', T)."""

    def __init__(self, channels: int, out: int, kernel: int, dilation: int = 1) -> None:
        super().__init__(channels, out, kernel, dilation=dilation)
        self.left_padding = (kernel - 1) * dilation

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (self.left_padding, 0)))


def distance_adjacency(length: int, like: Tensor, scale: float = math.e) -> Tensor:
    """(T, T) exp(-|i - j| / scale), with dtype and device of ``like``."""
    index = torch.arange(length, device=like.device, dtype=like.dtype)
    return torch.exp(-(index[:, None] - index).abs() / scale)


def cosine_adjacency(x: Tensor) -> Tensor:
    """(B, T, D) -> (B, T, T) cosine similarity of every two snippets; 0 for snippets of zeros."""
    norms = x.norm(dim=-1, keepdim=True)
    cosine: Tensor = (x @ x.mT) / (norms @ norms.mT + 1e-20)
    return cosine


def init_xavier(network: nn.Module, *, normal: bool = False, keep_biases: bool = False) -> None:
    """Draw Glorot's uniform (or ``normal``) weights in all linear layers and convolutions; set
    biases to zero, unless ``keep_biases``."""
    fill = nn.init.xavier_normal_ if normal else nn.init.xavier_uniform_
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d):
            fill(module.weight)
            if module.bias is not None and not keep_biases:
                nn.init.zeros_(module.bias)


# Score of the median normal snippet; that of the 99th percentile is 0.5.
_MEDIAN_SCORE = 0.1
# Limits of ``NormalScaledNetwork.slope``.
_SLOPE_RANGE = (1.0, 12.0)
# The logarithm has no value at 0.
_MIN_MEASURE = 1e-6


class NormalScaledNetwork(BagNetwork):
    """A network whose anomaly measure is at least 0 and has no upper limit.

    Its scores are the sigmoid of ``slope`` ln(measure / edge), so the order of snippets stays the
    same. Before ``calibrate`` both buffers are 1.
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
        """Set the scale by ``measures`` (N,) of normal snippets, N at least 1: 1 % of them score
        above 0.5 and half of them above 0.1."""
        points = torch.tensor([0.5, 0.99], dtype=torch.float64, device=measures.device)
        median, edge = torch.quantile(measures.double(), points).clamp(min=_MIN_MEASURE).tolist()
        rise = -math.log(_MEDIAN_SCORE / (1 - _MEDIAN_SCORE))
        width = math.log(edge / median)
        low, high = _SLOPE_RANGE
        self.edge.fill_(edge)
        self.slope.fill_(high if width * high <= rise else max(low, rise / width))


class OneClassNetwork(NormalScaledNetwork):
    """Scores of snippets by their distance from the normal ones."""

    def score_bags(self, x: Tensor, labels: Tensor | None) -> Output:  # noqa: ARG002
        return Output.from_logits(self.logits(self.distance(x)))

    @abstractmethod
    def distance(self, features: Tensor) -> Tensor:
        """(..., D) -> (...) distance of each snippet from the normal ones, at least 0."""

    @abstractmethod
    def fit_snippets(self, snippets: Tensor) -> None:
        """Fit to normal ``snippets`` (N, D), N at least 1. The result is deterministic."""

    def logits(self, distances: Tensor) -> Tensor:
        """Logits of distances: they increase with the distance, and are 0 at the edge."""
        return self.scale_log_measure(distances.clamp(min=MIN_DISTANCE_RATIO * self.edge).log())


class SmoothingNetwork(nn.Module):
    """A network that smooths its scores over a fixed length of time.

    Its ``forward(features, labels=None, spacing=1.0)`` gets the step between snippets, divided by
    that of the profile ``best``, so that the smoothing lasts as long in every profile.

    Attributes:
        blur: Standard deviation, in snippets of the profile ``best``, of the Gaussian over the
            logits; with 0 they are not smoothed. Model files hold it beside the graph.
    """

    blur: float
