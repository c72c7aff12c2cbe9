"""BN-WVAD: the distance from the running mean of batch normalisation as anomaly criterion.

Most snippets of most batches are normal, so running means and variances describe normal snippets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import Loss, MethodInfo, Output, Recipe, WeaklySupervised
from oddframe.methods.config import (
    MAX_WIDTH,
    Depth,
    MethodConfig,
    NotNegative,
    Width,
    renamed_field,
)
from oddframe.methods.layers import NormalScaledNetwork
from oddframe.methods.losses import pair_up, split_by_label, top_k_indices
from oddframe.methods.mil.urdmu_network import UrDmuConfig, conv_embedding, transformer


class BnWvadConfig(MethodConfig):
    # Width of embedding and transformer; the head's widths are 1/16 and 1/32 of it.
    hidden: int = Field(default=512, ge=32, le=MAX_WIDTH)
    heads: Width = 4  # attention heads
    head_dim: Width = 128  # width of a head
    depth: Depth = 2  # transformer blocks
    # Share of an abnormal video's snippets that are selected as abnormal.
    video_share: float = renamed_field(0.2, name="video_share", old="of_video", ge=0, le=1)
    # Share of the snippets of all abnormal videos in a batch that are selected.
    batch_share: float = renamed_field(0.4, name="batch_share", old="of_batch", ge=0, le=1)
    margin: NotNegative = 1.0  # of the triplet loss
    first: NotNegative = 5.0  # weight of the triplet loss at the first batch normalisation
    second: NotNegative = 20.0  # weight at the second


@dataclass(frozen=True)
class BnWvadOutput(Output):
    head_scores: Tensor  # (B, T) in [0, 1]
    first: Tensor  # (B, T) distance from the running mean of the first batch normalisation
    second: Tensor  # (B, T) of the second


class BatchNormHead(nn.Module):
    """H -> H / 16 -> H / 32 -> 1, with batch normalisation and ReLU between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(width, width // 16, 1), nn.BatchNorm1d(width // 16)
        self.conv2, self.bn2 = nn.Conv1d(width // 16, width // 32, 1), nn.BatchNorm1d(width // 32)
        self.conv3 = nn.Conv1d(width // 32, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, H, T) -> logits and the distances at both batch normalisations, each (B, T)."""
        a = self.conv1(x)
        b = self.conv2(F.relu(self.bn1(a)))
        logits = self.conv3(F.relu(self.bn2(b))).squeeze(1)
        # In training the running statistics already include this batch.
        return logits, _mahalanobis(a, self.bn1), _mahalanobis(b, self.bn2)


def _mahalanobis(x: Tensor, norm: nn.BatchNorm1d) -> Tensor:
    """(B, H, T) -> (B, T) distance from the running mean, in running deviations (equation 3)."""
    if norm.running_mean is None or norm.running_var is None:
        raise TypeError("the batch normalisation has no running statistics")
    mean, variance = (s.detach().clone() for s in (norm.running_mean, norm.running_var))
    return ((x - mean[:, None]).square() / variance[:, None]).sum(1).sqrt()


class BnWvadNetwork(NormalScaledNetwork):
    """UR-DMU's embedding and transformer, and the head."""

    def __init__(self, dim: int, config: BnWvadConfig) -> None:
        super().__init__()
        sizes = config.model_dump(include={"hidden", "heads", "head_dim", "depth"})
        self.embedding = conv_embedding(dim, config.hidden)
        self.selfatt = transformer(UrDmuConfig(**sizes, dropout=0.0))
        self.normal_head = BatchNormHead(config.hidden)

    def score_bags(self, x: Tensor, labels: Tensor | None) -> Output:  # noqa: ARG002
        """Logits are ln r on the scale of normal snippets. r is the published criterion: the head
        score times the sum of both distances (equation 9)."""
        x = self.selfatt(self.embedding(x.mT).mT)
        head, first, second = self.normal_head(x.mT)
        logits = self.scale_log_measure(F.logsigmoid(head) + (first + second).log())
        return BnWvadOutput(logits.sigmoid(), logits, head.sigmoid(), first, second)


class BnWvad(WeaklySupervised[BnWvadConfig, BnWvadOutput]):
    name = "bn_wvad"
    title = "BN-WVAD"
    year = 2023
    info = MethodInfo(
        paper="Zhou, Qu, Xu, Yuan, Wang, Zhu: BatchNorm-based Weakly Supervised Video Anomaly "
        "Detection, 2023 (arXiv 2311.15367)",
        inputs="snippet features",
        checked="parity",
        evidence="criterion, intermediates, distances, selections, losses, gradients, running "
        "statistics and three Adam steps of the published code",
        deviations=(
            "the criterion r, which has no upper limit, is scaled to scores by the normal training "
            "videos: 1 % of their snippets score above 0.5; the order stays the same",
            "crops are scored separately and averaged, where the published code averages distances "
            "and head scores first",
        ),
    )
    Config = BnWvadConfig
    Network = BnWvadNetwork
    recipe = Recipe(lr=1e-4, weight_decay=5e-5, steps=1_000, clip_norm=1.0)

    def calibrate(self, network: nn.Module, normal: Iterable[Tensor]) -> None:
        assert isinstance(network, BnWvadNetwork)
        logits = torch.cat([network(video).logits.flatten() for video in normal])
        log_r = logits / network.slope + network.edge.log()
        network.calibrate(log_r.double().exp())

    def loss(self, output: BnWvadOutput, labels: Tensor, config: BnWvadConfig) -> Loss:
        """Equation 8. Terms: ``normal``, mean L2 norm of the head scores of normal videos;
        ``first`` and ``second``, triplet losses of the distances at both batch normalisations."""
        normal, abnormal = split_by_label(labels)
        norm = output.head_scores[normal].norm(dim=1).mean()  # eq. 7
        first = _triplet(output.first[normal], output.first[abnormal], config)
        second = _triplet(output.second[normal], output.second[abnormal], config)
        total = norm + config.first * first + config.second * second
        return Loss(total, {"normal": norm, "first": first, "second": second})


def select_abnormal(distance: Tensor, config: BnWvadConfig) -> Tensor:
    """(A, T) distances in abnormal videos -> (A, T) mask of abnormal snippets (equations 4 to 6).

    The farthest of each video and the farthest of the batch, at least one each.
    """
    selected = torch.zeros_like(distance, dtype=torch.bool)
    count = max(1, int(distance.shape[1] * config.video_share))
    selected.scatter_(1, top_k_indices(distance, count), True)
    row = distance.reshape(1, -1)
    farthest = top_k_indices(row, max(1, int(row.shape[1] * config.batch_share)))
    of_batch = torch.zeros_like(row, dtype=torch.bool).scatter_(1, farthest, True)
    return selected | of_batch.view_as(selected)


def _triplet(normal: Tensor, abnormal: Tensor, config: BnWvadConfig) -> Tensor:
    """Triplet loss; the anchor is the running mean, so only the distances from it are needed."""
    negative = abnormal[select_abnormal(abnormal, config)]
    # As many positives: the farthest snippet of every video, then the second farthest, and so on.
    each = len(negative) // len(normal) + 1
    positive = normal.gather(1, top_k_indices(normal, each)).T.flatten()[: len(negative)]
    positive, negative = pair_up(positive, negative)
    return F.relu(positive - negative + config.margin).mean()
