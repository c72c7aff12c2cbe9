"""RTFM: ranking by feature magnitude, which is larger for abnormal snippets.

The k features of largest L2 norm represent a video: the loss increases their norm in abnormal
videos and decreases it in normal ones. Attributes have the names in the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import Loss, MethodInfo, Output, Recipe, WeaklySupervised
from oddframe.methods.config import MAX_WIDTH, Dropout, MethodConfig, NotNegative, Width
from oddframe.methods.layers import init_xavier
from oddframe.methods.losses import mean_at, pair_up, smoothness, split_by_label, top_k_indices


class RtfmConfig(MethodConfig):
    hidden: int = Field(default=512, ge=2, le=MAX_WIDTH)  # width of each of the four branches
    # Before the head and inside it; in training also the share of snippets that cannot be selected.
    dropout: Dropout = 0.7
    k: Width = 3  # snippets selected from a video
    # Target norm of the selected features of abnormal videos (m of equation 3).
    margin: NotNegative = 100.0
    magnitude: NotNegative = 1e-4  # weight of the feature magnitude loss
    smooth: NotNegative = 8e-4  # weight of the smoothness term
    sparse: NotNegative = 8e-3  # weight of the sparsity term


@dataclass(frozen=True)
class RtfmOutput(Output):
    features: Tensor  # (B, C, T, D) X, the temporal network's output for each crop
    magnitude: Tensor  # (B, T) L2 norm of X, mean over crops
    choice: Tensor  # (B, T) the same, 0 for snippets that cannot be selected


class NonLocalBlock(nn.Module):
    """Attention over all snippets by dot products divided by T, without a softmax."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = width // 2
        self.g = nn.Conv1d(width, inner, 1)
        norm = nn.BatchNorm1d(width)
        nn.init.zeros_(norm.weight)  # The block starts as the identity.
        self.W = nn.Sequential(nn.Conv1d(inner, width, 1), norm)
        self.theta = nn.Conv1d(width, inner, 1)
        self.phi = nn.Conv1d(width, inner, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, T) -> the same shape."""
        weights = self.theta(x).transpose(1, 2) @ self.phi(x) / x.shape[2]  # (B, T, T)
        y: Tensor = self.W((weights @ self.g(x).transpose(1, 2)).transpose(1, 2))
        return x + y


class MultiScaleTemporalNetwork(nn.Module):
    """The multi-scale temporal network (section 3.2): dilated convolutions and attention."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()

        def pyramid(dilation: int) -> nn.Sequential:  # eq. 5
            conv = nn.Conv1d(dim, hidden, 3, padding=dilation, dilation=dilation)
            return nn.Sequential(conv, nn.ReLU(), nn.BatchNorm1d(hidden))

        self.conv_1, self.conv_2, self.conv_3 = pyramid(1), pyramid(2), pyramid(4)
        self.conv_4 = nn.Sequential(nn.Conv1d(dim, hidden, 1, bias=False), nn.ReLU())
        last = nn.Conv1d(4 * hidden, dim, 3, padding=1, bias=False)
        self.conv_5 = nn.Sequential(last, nn.ReLU(), nn.BatchNorm1d(dim))
        self.non_local = NonLocalBlock(hidden)

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, D) -> the same shape."""
        x = features.transpose(1, 2)
        local = [self.conv_1(x), self.conv_2(x), self.conv_3(x)]
        y: Tensor = self.conv_5(torch.cat([*local, self.non_local(self.conv_4(x))], dim=1))
        return (y + x).transpose(1, 2)


class RtfmNetwork(nn.Module):
    """The multi-scale temporal network and a head of three layers."""

    def __init__(self, dim: int, config: RtfmConfig) -> None:
        super().__init__()
        self.Aggregate = MultiScaleTemporalNetwork(dim, config.hidden)
        self.fc1 = nn.Linear(dim, 512)
        self.fc2 = nn.Linear(512, 128)
        self.fc3 = nn.Linear(128, 1)
        self.dropout = nn.Dropout(config.dropout)
        init_xavier(self)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Output:
        """As ``BagNetwork.forward``, but it takes several crops in training, too."""
        crops = features.unsqueeze(1) if features.ndim == 3 else features
        x = self.dropout(self.Aggregate(crops.flatten(0, 1)))
        y = self.dropout(F.relu(self.fc1(x)))
        y = self.dropout(F.relu(self.fc2(y)))
        logits = self.fc3(y).view(crops.shape[:3])
        scores, mean = logits.sigmoid().mean(1), logits.mean(1)
        if labels is None:
            return Output(scores, mean)
        x = x.view(crops.shape)
        magnitude = x.norm(dim=-1).mean(1)
        choice = magnitude * self.dropout(torch.ones_like(magnitude))
        return RtfmOutput(scores, mean, x, magnitude, choice)


class Rtfm(WeaklySupervised[RtfmConfig, RtfmOutput]):
    name = "rtfm"
    title = "RTFM"
    year = 2021
    info = MethodInfo(
        paper="Tian, Pang, Chen, Singh, Verjans, Carneiro: Weakly-supervised Video Anomaly "
        "Detection with Robust Temporal Feature Magnitude Learning, ICCV 2021",
        inputs="snippet features, of any length (2048 in the published code)",
        checked="parity",
        evidence="scores, intermediates, selections, losses, gradients and an Adam step of the "
        "published code",
        deviations=(
            "a training item is one crop, where the published code averages the norms of ten crops "
            "of a video before it selects",
        ),
    )
    Config = RtfmConfig
    Network = RtfmNetwork
    recipe = Recipe(
        lr=1e-3, weight_decay=5e-3, steps=15_000, normal_bags=32, abnormal_bags=32, segments=32
    )

    def loss(self, output: RtfmOutput, labels: Tensor, config: RtfmConfig) -> Loss:
        """Equations 2 to 4 and 9. The i-th normal video is paired with the i-th abnormal one."""
        normal, abnormal = split_by_label(labels)
        selected = top_k_indices(output.choice, config.k)
        top = mean_at(output.scores, selected)  # eq. 4
        cls = F.binary_cross_entropy(top, labels.to(top.dtype))

        crops = output.features.shape[1]
        features = output.features.flatten(0, 1)
        mean = mean_at(features, selected.repeat_interleave(crops, dim=0))  # eq. 2
        norms = mean.norm(dim=-1).view(-1, crops)
        small, large = pair_up(norms[normal], norms[abnormal])
        magnitude = ((config.margin - large).abs() + small).square().mean()  # eq. 3

        row = output.scores[abnormal].flatten()  # One sequence, as in the published code.
        smooth, sparse = smoothness(row), row.norm()  # eq. 9
        total = cls + config.magnitude * magnitude
        total = total + config.smooth * smooth + config.sparse * sparse
        return Loss(total, {"cls": cls, "magnitude": magnitude, "smooth": smooth, "sparse": sparse})

    def config_from_checkpoint(self, state: Mapping[str, Tensor]) -> tuple[int, RtfmConfig] | None:
        first = state.get("Aggregate.conv_1.0.weight")
        if first is None or first.ndim != 3:
            return None
        return first.shape[1], RtfmConfig(hidden=first.shape[0])
