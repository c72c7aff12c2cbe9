"""HL-Net: three graphs over the snippets of a video, and a causal on-line head.

Graphs connect snippets with similar features (holistic), close in time (localised) and with similar
on-line scores. Attributes have the names in the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import BagNetwork, Loss, MethodInfo, Output, Recipe, WeaklySupervised
from oddframe.methods.config import (
    AboveZero,
    Dropout,
    MethodConfig,
    NotNegative,
    Width,
    renamed_field,
)
from oddframe.methods.layers import CausalConv1d, cosine_adjacency, distance_adjacency, init_xavier
from oddframe.methods.losses import top_k_mean, top_k_size


class HlNetConfig(MethodConfig):
    hidden: Width = 512  # width of the first layer
    fused: Width = 128  # width of the second, which the graphs and the on-line head read
    graph: Width = 32  # width of the graph layers
    dropout: Dropout = 0.6  # after every layer, except in the on-line head
    # Smallest cosine that is an edge of the holistic graph (tau of equation 4).
    min_cosine: float = renamed_field(0.7, name="min_cosine", old="alike", ge=-1, le=1)
    # Weight of the distillation of the graphs into the on-line head (lambda of equation 12).
    distillation: NotNegative = 5.0
    online_lr: AboveZero = 5e-5  # learning rate of the on-line head; the recipe's does not apply


@dataclass(frozen=True)
class HlNetOutput(Output):
    """What the loss reads. ``scores`` and ``logits`` are the graphs'."""

    online: Tensor  # (B, T) logits of the on-line head
    valid: Tensor  # (B, T) False for padding at the end


class GraphConvolution(nn.Module):
    """A (x W) + residual (equation 3), before the activation."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, out))
        nn.init.xavier_uniform_(self.weight)
        self.residual: nn.Module = nn.Identity()
        if width != out:
            self.residual = nn.Conv1d(width, out, kernel_size=5, padding=2)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """(B, T, width) and (B, T, T) or (T, T) -> (B, T, out)."""
        residual: Tensor = self.residual(x.transpose(1, 2)).transpose(1, 2)
        return adjacency @ (x @ self.weight) + residual


class HlNetNetwork(BagNetwork):
    """Fusion layers, three graph branches of two layers with a classifier, the on-line head."""

    def __init__(self, dim: int, config: HlNetConfig) -> None:
        super().__init__()
        self.config = config
        fused, graph = config.fused, config.graph
        self.conv1d1 = nn.Conv1d(dim, config.hidden, 1)
        self.conv1d2 = nn.Conv1d(config.hidden, fused, 1)
        # These two, simAdj and disAdj are in the published checkpoints, but not used.
        self.conv1d3 = nn.Conv1d(fused, graph, 5, padding=2)
        self.conv1d4 = nn.Conv1d(graph, graph, 5, padding=2)
        self.gc1, self.gc2 = GraphConvolution(fused, graph), GraphConvolution(graph, graph)
        self.gc3, self.gc4 = GraphConvolution(fused, graph), GraphConvolution(graph, graph)
        self.gc5, self.gc6 = GraphConvolution(fused, graph), GraphConvolution(graph, graph)
        weights = {f"weight{i}": nn.init.xavier_uniform_(torch.empty(dim, graph)) for i in (0, 1)}
        self.simAdj = nn.ParameterDict(weights)
        self.disAdj = nn.ParameterDict({"sigma": torch.full((1,), 0.1)})
        self.classifier = nn.Linear(3 * graph, 1)
        self.approximator = nn.Sequential(
            nn.Conv1d(fused, 64, 1), nn.ReLU(), nn.Conv1d(64, 32, 1), nn.ReLU()
        )
        self.conv1d_approximator = CausalConv1d(32, 1, 5)
        self.dropout = nn.Dropout(config.dropout)
        init_xavier(self, keep_biases=True)

    def score_bags(self, x: Tensor, labels: Tensor | None) -> Output:
        """With ``labels``, snippets of zeros at the end of a bag are padding."""
        valid = torch.ones_like(x[..., 0], dtype=torch.bool)
        if labels is not None:
            valid = (x != 0).any(-1).flip(1).cummax(1).values.flip(1)
        y = self.dropout(F.relu(self.conv1d1(x.transpose(1, 2))))
        y = self.dropout(F.relu(self.conv1d2(y)))
        online = self.conv1d_approximator(self.approximator(y)).squeeze(1)
        y = y.transpose(1, 2)
        graphs = self.holistic(x, valid), self.localised(x), self.by_score(online.detach(), valid)
        layers = (self.gc1, self.gc2), (self.gc3, self.gc4), (self.gc5, self.gc6)
        branches = []
        for graph, (first, second) in zip(graphs, layers, strict=True):
            h = self.dropout(F.relu(first(y, graph)))
            branches.append(self.dropout(F.relu(second(h, graph))))
        logits = self.classifier(torch.cat(branches, dim=-1)).squeeze(-1)
        if labels is None:
            return Output.from_logits(logits)
        return HlNetOutput(logits.sigmoid(), logits, online, valid)

    def holistic(self, x: Tensor, valid: Tensor) -> Tensor:
        """(B, T, T) adjacency of the input features (equations 4 and 5)."""
        cosine = cosine_adjacency(x)
        return masked_softmax(cosine.where(cosine > self.config.min_cosine, 0.0), valid)

    def localised(self, x: Tensor) -> Tensor:
        """(T, T) equation 6; as in the published code it is not normalised, nor padding masked."""
        return distance_adjacency(x.shape[1], x)

    def by_score(self, online: Tensor, valid: Tensor) -> Tensor:
        """(B, T, T) equations 7 and 8: 1 - |s_i - s_j|, sharpened by a sigmoid at 0.5."""
        scores = online.sigmoid()
        closeness = 1 - (scores[:, :, None] - scores[:, None, :]).abs()
        return masked_softmax(((closeness - 0.5) / 0.1).sigmoid(), valid)


def masked_softmax(weights: Tensor, valid: Tensor) -> Tensor:
    """Softmax over the rows of ``weights`` (B, T, T), for and over ``valid`` (B, T) snippets; the
    weights of all others are 0."""
    masked = weights.masked_fill(~valid[:, None, :], -torch.inf)
    return torch.where(valid[:, :, None], masked.softmax(-1), 0.0)


class HlNet(WeaklySupervised[HlNetConfig, HlNetOutput]):
    name = "hl_net"
    title = "HL-Net"
    year = 2020
    info = MethodInfo(
        paper="Wu, Liu, Shi, Sun, Shao, Wu, Yang: Not only Look, but also Listen: Learning "
        "Multimodal Violence Detection under Weak Supervision, ECCV 2020",
        inputs="snippet features, with audio features where clips have sound",
        checked="parity",
        evidence="scores of both heads, graphs, intermediates, losses, gradients and three Adam "
        "steps of the published code, at D = 1152 and 1024; scores are the graphs'",
        deviations=(
            "bags are averaged to 200 segments, where the published loader pads short videos with "
            "zeros",
            "the learning rate is constant, where the published code divides it by 10 after 10 of "
            "50 epochs",
        ),
    )
    Config = HlNetConfig
    Network = HlNetNetwork
    recipe = Recipe(lr=1e-4, steps=7_700, normal_bags=64, abnormal_bags=64, segments=200)

    def loss(self, output: HlNetOutput, labels: Tensor, config: HlNetConfig) -> Loss:
        """Equation 12. Terms: ``cls``, top-k cross-entropy of the graphs' logits; ``online``, of
        the on-line head's; ``distil``, the on-line scores against the graphs' (equation 11)."""
        lengths = output.valid.sum(1).tolist()
        bags = list(zip(output.logits, output.online, lengths, strict=True))
        cls = _bag_bce([logits[:n] for logits, _, n in bags], labels)
        online = _bag_bce([logits[:n] for _, logits, n in bags], labels)
        # As published: - s log(s'), without the term (1 - s) log(1 - s').
        distil = torch.stack(
            [-(a[:n].detach().sigmoid() * F.logsigmoid(b[:n])).mean() for a, b, n in bags]
        ).mean()
        total = cls + online + config.distillation * distil
        return Loss(total, {"cls": cls, "online": online, "distil": distil})

    def parameter_groups(self, network: nn.Module, config: HlNetConfig) -> list[dict[str, Any]]:
        online = [p for n, p in network.named_parameters() if "approximator" in n]
        rest = [p for n, p in network.named_parameters() if "approximator" not in n]
        return [{"params": rest}, {"params": online, "lr": config.online_lr}]

    def config_from_checkpoint(self, state: Mapping[str, Tensor]) -> tuple[int, HlNetConfig] | None:
        first, graph = state.get("conv1d1.weight"), state.get("gc1.weight")
        if first is None or graph is None or first.ndim != 3 or graph.ndim != 2:
            return None
        fused, out = graph.shape
        return first.shape[1], HlNetConfig(hidden=first.shape[0], fused=fused, graph=out)


def _bag_bce(bags: list[Tensor], labels: Tensor) -> Tensor:
    """Cross-entropy of the mean of each bag's top k = n // 16 + 1 logits (equation 9)."""
    top = torch.cat([top_k_mean(bag[None], top_k_size(len(bag))) for bag in bags])
    return F.binary_cross_entropy_with_logits(top, labels.to(top.dtype))
