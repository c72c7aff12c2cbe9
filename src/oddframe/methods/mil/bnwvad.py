"""BN-WVAD: what is odd is what batch normalisation finds unusual.

Zhou, Qu, Xu, Yuan, Wang, Zhu, "BatchNorm-based Weakly Supervised Video Anomaly Detection", 2023
(arXiv 2311.15367, IEEE TCSVT). Most snippets of most batches are normal, so the running mean and
variance of a batch normalisation describe the normal; a snippet's distance from them tells how odd
it is. The network is UR-DMU's embedding and transformer under a head with two such norms.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import MAX_LAYERS, MAX_WIDTH, Loss, Method, MethodInfo, Output, Recipe
from oddframe.methods.shared.layers import mean_over_crops, merge_crops
from oddframe.methods.shared.mil import pair_up, split_by_label, top_k_indices
from oddframe.methods.shared.scores import NormalScaledNetwork
from oddframe.methods.urdmu.attention import conv_embedding, transformer
from oddframe.methods.urdmu.config import UrDmuConfig


class BnWvadConfig(BaseModel):
    """Settings of BN-WVAD.

    Attributes:
        hidden: Width of embedding and transformer; the head's are a 16th and a 32nd of it.
        heads: Attention heads.
        head_dim: Width of a head.
        depth: Transformer blocks.
        of_video: Share of an abnormal video's snippets that are taken for odd.
        of_batch: Share of all abnormal videos' snippets in a batch that are.
        margin: By which the odd shall lie farther from the running mean than the normal.
        first: Weight of the triplet loss at the first norm.
        second: At the second.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(default=512, ge=32, le=MAX_WIDTH)
    heads: int = Field(default=4, ge=1, le=MAX_WIDTH)
    head_dim: int = Field(default=128, ge=1, le=MAX_WIDTH)
    depth: int = Field(default=2, ge=1, le=MAX_LAYERS)
    of_video: float = Field(default=0.2, ge=0, le=1)
    of_batch: float = Field(default=0.4, ge=0, le=1)
    margin: float = Field(default=1.0, ge=0)
    first: float = Field(default=5.0, ge=0)
    second: float = Field(default=20.0, ge=0)


@dataclass(frozen=True)
class BnWvadOutput(Output):
    """What the loss reads."""

    head: Tensor  # (B, T) the head's own scores, in [0, 1]
    first: Tensor  # (B, T) distance from the running mean before the first norm
    second: Tensor  # (B, T) before the second


class Head(nn.Module):
    """H -> H / 16 -> H / 32 -> 1, batch normalisation and ReLU between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(width, width // 16, 1), nn.BatchNorm1d(width // 16)
        self.conv2, self.bn2 = nn.Conv1d(width // 16, width // 32, 1), nn.BatchNorm1d(width // 32)
        self.conv3 = nn.Conv1d(width // 32, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, H, T) -> logits and the distances at both norms, each (B, T)."""
        a = self.conv1(x)
        b = self.conv2(F.relu(self.bn1(a)))
        logits = self.conv3(F.relu(self.bn2(b))).squeeze(1)
        # After the norms' own step: in training this batch counts as much as in the next one.
        return logits, _mahalanobis(a, self.bn1), _mahalanobis(b, self.bn2)


def _mahalanobis(x: Tensor, norm: nn.BatchNorm1d) -> Tensor:
    """(B, H, T) -> (B, T) distance from the running mean in running deviations (equation 3)."""
    if norm.running_mean is None or norm.running_var is None:
        raise TypeError("a batch normalisation without running statistics")
    mean, variance = (s.detach().clone() for s in (norm.running_mean, norm.running_var))
    return ((x - mean[:, None]).square() / variance[:, None]).sum(1).sqrt()


class BnWvadNetwork(NormalScaledNetwork):
    """Embedding, transformer and head."""

    def __init__(self, dim: int, config: BnWvadConfig) -> None:
        super().__init__()
        width = UrDmuConfig(
            hidden=config.hidden,
            heads=config.heads,
            head_dim=config.head_dim,
            depth=config.depth,
            dropout=0.0,
        )
        self.embedding = conv_embedding(dim, config.hidden)
        self.selfatt = transformer(width)
        self.normal_head = Head(config.hidden)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Output:
        """(B, T, D) -> scores (B, T); (B, C, T, D): averaged over the C crops.

        The published criterion r, head score times the sum of both distances (equation 9), has no
        upper end: logits are those of ln r on the scale of normal snippets. With ``labels`` it is
        the ``BnWvadOutput`` of the loss.
        """
        x, crops = merge_crops(features, labels)
        x = self.selfatt(self.embedding(x.mT).mT)
        head, first, second = self.normal_head(x.mT)
        logits = self.scaled(F.logsigmoid(head) + (first + second).log())
        if labels is None:
            return mean_over_crops(logits, crops)
        return BnWvadOutput(logits.sigmoid(), logits, head.sigmoid(), first, second)


class BnWvad(Method[BnWvadConfig, BnWvadOutput]):
    """Batch normalisation as a criterion (Zhou et al.; 2023)."""

    name = "bn_wvad"
    title = "BN-WVAD"
    year = 2023
    info = MethodInfo(
        paper="Zhou, Qu, Xu, Yuan, Wang, Zhu: BatchNorm-based Weakly Supervised Video Anomaly "
        "Detection, 2023 (arXiv 2311.15367)",
        inputs="snippet features",
        supervision="video labels",
        checked="parity",
        evidence="criterion, intermediates, distances, selections, losses, gradients, running "
        "statistics and three Adam steps of the published code",
        deviations=(
            "the criterion r, which has no upper end, is brought to scores by training normals: "
            "one in a hundred scores above a half; the same order",
            "crops are scored one by one and averaged, where the published code averages distances "
            "and head scores first",
        ),
    )
    Config = BnWvadConfig
    recipe = Recipe(lr=1e-4, weight_decay=5e-5, steps=1_000, clip_norm=1.0)

    def network(self, dim: int, config: BnWvadConfig) -> BnWvadNetwork:
        """A fresh network for features of length ``dim``."""
        return BnWvadNetwork(dim, config)

    def calibrate(self, network: nn.Module, normal: Iterable[Tensor]) -> None:
        """Bring the criterion of ``normal`` videos to the scale of scores."""
        assert isinstance(network, BnWvadNetwork)
        logits = torch.cat([network(video).logits.flatten() for video in normal])
        log_r = logits / network.slope + network.edge.log()
        network.calibrate(log_r.double().exp())

    def loss(self, output: BnWvadOutput, labels: Tensor, config: BnWvadConfig) -> Loss:
        """Equation 8. Terms: ``normal``, mean length of normal videos' head scores; ``first`` and
        ``second``, triplet losses of the distances at both norms."""
        normal, abnormal = split_by_label(labels)
        calm = output.head[normal].norm(dim=1).mean()  # eq. 7
        first = _triplet(output.first[normal], output.first[abnormal], config)
        second = _triplet(output.second[normal], output.second[abnormal], config)
        total = calm + config.first * first + config.second * second
        terms = {"normal": calm, "first": first, "second": second}
        return Loss(total, terms)


def select_abnormal(distance: Tensor, config: BnWvadConfig) -> Tensor:
    """(A, T) distances in abnormal videos -> (A, T) which snippets are odd (equations 4 to 6).

    The farthest of each video, and the farthest of the batch; at least one of either.
    """
    odd = torch.zeros_like(distance, dtype=torch.bool)
    odd.scatter_(1, top_k_indices(distance, max(1, int(distance.shape[1] * config.of_video))), True)
    row = distance.reshape(1, -1)
    farthest = top_k_indices(row, max(1, int(row.shape[1] * config.of_batch)))
    return odd | torch.zeros_like(row, dtype=torch.bool).scatter_(1, farthest, True).view_as(odd)


def _triplet(normal: Tensor, abnormal: Tensor, config: BnWvadConfig) -> Tensor:
    """The anchor is the running mean, so that distances from it are all there is to know."""
    negative = abnormal[select_abnormal(abnormal, config)]
    # As many normal ones: the farthest of every video, then the second farthest, and so on.
    each = len(negative) // len(normal) + 1
    positive = normal.gather(1, top_k_indices(normal, each)).T.flatten()[: len(negative)]
    positive, negative = pair_up(positive, negative)
    return F.relu(positive - negative + config.margin).mean()
