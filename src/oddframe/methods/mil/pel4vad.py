"""PEL4VAD, the visual branch: global and local attention, and a causal classifier.

Attributes have the names in the published code.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import BagNetwork, Loss, MethodInfo, Output, Recipe, WeaklySupervised
from oddframe.methods.config import Dropout, MethodConfig, Width
from oddframe.methods.layers import CausalConv1d, init_xavier
from oddframe.methods.losses import top_k_mean, top_k_size

Smoothing = Literal["none", "slide", "fixed"]
# Published settings for XD-Violence that differ from those for UCF-Crime.
XD_SETTINGS: dict[str, Any] = {
    "gamma": 0.06,
    "bias": 0.02,
    "power_norm": False,
    "kernel": 3,
    "smooth": "fixed",
    "smooth_width": 8,
}


class Pel4VadConfig(MethodConfig):
    # Published settings for UCF-Crime or XD-Violence, for all fields that are not given.
    setting: Literal["ucf", "xd"] = "ucf"
    width: Width = 128  # of queries, keys and values
    window: Width = 9  # width of the local attention, in snippets
    gamma: float = 0.6  # initial gamma of the distance prior (equation 5)
    bias: float = 0.2  # its initial bias
    # Whether the attention's output is replaced by its signed square root, and each dimension is
    # L2-normalised over the snippets.
    power_norm: bool = True
    out: Width = 300  # width of the encoder's output
    kernel: Width = 9  # of the causal classifier: a snippet and those before it
    dropout: Dropout = 0.1  # after both layers of the feed-forward network
    smooth: Smoothing = "slide"  # how scores are smoothed at test
    smooth_width: Width = 7  # width of the smoothing, in snippets

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("setting") == "xd":
            return XD_SETTINGS | data
        return data


class DistancePrior(nn.Module):
    """exp(-|gamma d^2 - bias|) of the distance d in snippets, both learnt (equation 5)."""

    def __init__(self, gamma: float, bias: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full((1,), gamma))
        self.b = nn.Parameter(torch.full((1,), bias))

    def forward(self, distance: Tensor) -> Tensor:
        """(T, T) distances -> (T, T)."""
        return torch.exp(-(self.w * distance.square() - self.b).abs())


class ContextAttention(nn.Module):
    """Single-head attention, global and local, mixed by a learnt share (equations 3 to 8)."""

    def __init__(self, dim: int, config: Pel4VadConfig) -> None:
        super().__init__()
        self.config = config
        self.alpha = nn.Parameter(torch.zeros(()))
        self.q = nn.Linear(dim, config.width)
        self.k = nn.Linear(dim, config.width)
        self.v = nn.Linear(dim, config.width)
        self.o = nn.Linear(config.width, dim)

    def forward(self, x: Tensor, prior: Tensor, window: Tensor) -> Tensor:
        """(B, T, D), prior (T, T) and mask of the local window (T, T) -> (B, T, D)."""
        weights = self.q(x) @ self.k(x).mT / self.config.width**0.5 + prior
        v = self.v(x)
        over_all = weights.softmax(-1) @ v
        over_window = weights.masked_fill(~window, -torch.inf).softmax(-1) @ v
        share = self.alpha.sigmoid()
        y = share * over_all + (1 - share) * over_window
        if self.config.power_norm:
            y = F.normalize(F.relu(y).sqrt() - F.relu(-y).sqrt(), dim=1)  # Over the snippets.
        z: Tensor = self.o(y)
        return z


class ContextEncoder(nn.Module):
    """TCA, residual, LayerNorm, and a feed-forward network down to ``out``."""

    def __init__(self, dim: int, config: Pel4VadConfig) -> None:
        super().__init__()
        self.radius = config.window // 2
        self.self_attn = ContextAttention(dim, config)
        self.linear1 = nn.Conv1d(dim, dim // 2, 1)
        self.linear2 = nn.Conv1d(dim // 2, config.out, 1)
        self.norm = nn.LayerNorm(dim)
        self.loc_adj = DistancePrior(config.gamma, config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, out, T)."""
        index = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)
        distance = (index[:, None] - index).abs()
        x = self.norm(x + self.self_attn(x, self.loc_adj(distance), distance <= self.radius))
        y = self.dropout(F.gelu(self.linear1(x.mT)))
        z: Tensor = self.dropout(F.gelu(self.linear2(y)))
        return z


class Pel4VadNetwork(BagNetwork):
    """The encoder and a causal classifier."""

    def __init__(self, dim: int, config: Pel4VadConfig) -> None:
        super().__init__()
        self.config = config
        self.self_attention = ContextEncoder(dim, config)
        self.classifier = CausalConv1d(config.out, 1, config.kernel)
        init_xavier(self, keep_biases=True)

    def score_bags(self, x: Tensor, labels: Tensor | None) -> Output:
        """Scores are smoothed, except in training (with ``labels``)."""
        logits = self.classifier(self.self_attention(x)).squeeze(1)
        if labels is None:
            logits = smooth_logits(logits, self.config.smooth, self.config.smooth_width)
        return Output.from_logits(logits)


def smooth_logits(logits: Tensor, how: Smoothing, width: int) -> Tensor:
    """Logits (B, T) of the smoothed probabilities.

    ``slide``: the mean of a snippet and the ``width - 1`` after it. ``fixed``: all snippets of a
    window of ``width`` get its mean. Both pad the end with scores of 0.
    """
    if how == "none":
        return logits
    length = logits.shape[1]
    if how == "slide":
        # Slices, because ``unfold`` cannot be exported for less than ``width`` snippets.
        padded = F.pad(logits, (0, width - 1), value=-torch.inf)
        windows = [padded[:, first : first + length] for first in range(width)]
        return _logit_of_mean(torch.stack(windows, dim=-1))
    count = length // width + 2  # At least 2: torch.export specialises a size of 1.
    padded = F.pad(logits, (0, width * count - length), value=-torch.inf)
    means = _logit_of_mean(padded.view(len(logits), count, width))
    return means[..., None].expand(-1, -1, width).flatten(1)[:, :length]


def _logit_of_mean(logits: Tensor) -> Tensor:
    """(..., k) -> (...) log(p / (1 - p)) of p, the mean of k probabilities."""
    return F.logsigmoid(logits).logsumexp(-1) - F.logsigmoid(-logits).logsumexp(-1)


class Pel4Vad(WeaklySupervised[Pel4VadConfig, Output]):
    name = "pel4vad"
    title = "PEL4VAD"
    year = 2023
    info = MethodInfo(
        paper="Pu, Wu, Yang, Wang: Learning Prompt-Enhanced Context Features for "
        "Weakly-Supervised Video Anomaly Detection, 2023 (IEEE TIP 2024)",
        inputs="snippet features",
        checked="parity",
        evidence="scores, intermediates, smoothing and the loss without prompts of the published "
        "code, in its settings for UCF-Crime and XD-Violence",
        deviations=(
            "the visual branch only: without prompts from a language model and the loss term that "
            "aligns features with them; the published results are with prompts",
            "bags are averaged to 200 segments, where the published loader pads short videos with "
            "zeros",
            "the learning rate is constant, where the published code has a cosine schedule",
        ),
    )
    Config = Pel4VadConfig
    Network = Pel4VadNetwork
    recipe = Recipe(lr=5e-4, steps=6_300, normal_bags=64, abnormal_bags=64, segments=200)

    def loss(self, output: Output, labels: Tensor, config: Pel4VadConfig) -> Loss:  # noqa: ARG002
        """Equation 12: of an abnormal video the top k scores count, of a normal one the highest."""
        top = top_k_mean(output.scores, top_k_size(output.scores.shape[1]))
        bags = torch.where(labels < 0.5, output.scores.amax(1), top)
        total = F.binary_cross_entropy(bags, labels.to(bags.dtype))
        return Loss(total, {"cls": total})
