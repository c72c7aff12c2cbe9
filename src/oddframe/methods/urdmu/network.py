"""UR-DMU's network.

Zhou, Yu, Yang, "Dual Memory Units with Uncertainty Regulation for Weakly Supervised Video Anomaly
Detection", AAAI 2023. Attributes have the names in the published checkpoints, so these load
unchanged. B is the batch, T the snippets, D the length of a feature, H the hidden width and M the
slots of a memory.

For the ablations (tables 3 and 6) the config removes one memory, both, or the uncertainty; removed
parts are None. How they were removed is our reading: neither paper nor published code says it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor, nn

from oddframe.methods.base import Output
from oddframe.methods.shared.layers import mean_over_crops, merge_crops
from oddframe.methods.urdmu.attention import conv_embedding, named_sequential, transformer
from oddframe.methods.urdmu.config import UrDmuConfig


@dataclass(frozen=True)
class UrDmuOutput(Output):
    """What the loss reads. Fields named ``normal_z...`` are of the normal videos only, in order."""

    hidden: Tensor  # (B, T, H) X, the transformer's output
    anomaly_score: Tensor | None  # (B, T) S_A, how well a snippet matches the anomaly memory
    normal_score: Tensor | None  # (B, T) S_N, the same for the normal memory
    anomaly_mu: Tensor | None  # (B, T, H) mean of the latent of the anomaly memory's read-out
    normal_z_mu: Tensor | None  # (normals, T, H) latent of the normal memory's read-out: mean,
    normal_z_logvar: Tensor | None  # log-variance,
    normal_z: Tensor | None  # and a sample


class MemoryReadout(NamedTuple):
    """A memory's read-out for every snippet."""

    weights: Tensor  # (B, T, M) in (0, 1), one for each slot
    score: Tensor  # (B, T) mean of the largest weights
    value: Tensor  # (B, T, H) weighted sum of the slots


class Memory(nn.Module):
    """M learnt slots that a snippet is compared with."""

    def __init__(self, slots: int, width: int) -> None:
        super().__init__()
        self.memory_block = nn.Parameter(torch.empty(slots, width))
        nn.init.uniform_(self.memory_block, -(width**-0.5), width**-0.5)

    def forward(self, x: Tensor) -> MemoryReadout:
        slots, width = self.memory_block.shape
        weights = torch.sigmoid(x @ self.memory_block.T / width**0.5)  # S
        score = weights.topk(slots // 16 + 1, dim=-1).values.mean(-1)  # K = M // 16 + 1
        return MemoryReadout(weights, score, weights @ self.memory_block)  # S M


class UrDmuNetwork(nn.Module):
    """Embedding, GL-MHSA, dual memory (DMU), normality uncertainty (NUL), classifier."""

    def __init__(self, dim: int, config: UrDmuConfig) -> None:
        super().__init__()
        h, m = config.hidden, config.classifier_hidden
        anomaly, normal = config.memory in ("dual", "anomaly"), config.memory in ("dual", "normal")
        self.embedding = conv_embedding(dim, h)
        reads = 2 * h if anomaly or normal or config.uncertainty else h  # [x | fused], or x alone
        self.cls_head = named_sequential("mlp", nn.Linear(reads, m), nn.ReLU(), nn.Linear(m, 1))
        self.Amemory = Memory(config.anomaly_slots, h) if anomaly else None
        self.Nmemory = Memory(config.normal_slots, h) if normal else None
        self.selfatt = transformer(config)
        self.encoder_mu = nn.Sequential(nn.Linear(h, h)) if config.uncertainty else None
        # Only the normal memory's latent has a variance.
        uncertain = config.uncertainty and config.memory != "anomaly"
        self.encoder_var = nn.Sequential(nn.Linear(h, h)) if uncertain else None

    def noise(self, like: Tensor) -> Tensor:
        """Standard normal noise shaped ``like``; parity tests replace it."""
        return torch.randn_like(like)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Output:
        """(B, T, D) -> scores (B, T); (B, C, T, D): averaged over the C crops.

        With ``labels`` (B,), 0 normal and 1 abnormal, it returns the ``UrDmuOutput`` of the loss.
        """
        x, crops = merge_crops(features, labels)
        x = self.selfatt(self.embedding(x.transpose(1, 2)).transpose(1, 2))
        anomaly = None if self.Amemory is None else self.Amemory(x)
        normal = None if self.Nmemory is None else self.Nmemory(x)
        values = [readout.value for readout in (anomaly, normal) if readout is not None]
        latents = values
        if self.encoder_mu is not None:
            values = values or [x]  # NUL without DMU: the encoders read X.
            latents = [self.encoder_mu(value) for value in values]
        if labels is None:
            return mean_over_crops(self.classify(x, latents), crops)

        is_normal = labels < 0.5
        normal_only = self.Amemory is None and self.Nmemory is not None
        anomaly_mu = None if self.encoder_mu is None or normal_only else latents[0]
        mu = logvar = z = None
        if self.encoder_var is not None:  # Of the normal memory's read-out, which is the last.
            mu, logvar = latents[-1][is_normal], self.encoder_var(values[-1][is_normal])
            z = mu + self.noise(logvar) * torch.exp(logvar / 2)  # reparameterisation
            latents = [*latents[:-1], latents[-1].index_put((is_normal,), z)]
        logits = self.classify(x, latents)
        return UrDmuOutput(
            logits.sigmoid(),
            logits,
            hidden=x,
            anomaly_score=None if anomaly is None else anomaly.score,
            normal_score=None if normal is None else normal.score,
            anomaly_mu=anomaly_mu,
            normal_z_mu=mu,
            normal_z_logvar=logvar,
            normal_z=z,
        )

    def classify(self, x: Tensor, latents: list[Tensor]) -> Tensor:
        """X and the latents, whose sum is concatenated with it, all (B, T, H) -> logits (B, T)."""
        fused = [reduce(torch.add, latents)] if latents else []
        logits: Tensor = self.cls_head(torch.cat([x, *fused], dim=-1)).squeeze(-1)
        return logits


class UrDmuWithShortcut(nn.Module):
    """UR-DMU plus a linear score of the features, for small data sets (ours; off by default).

    On some thirty recordings a linear score of the features generalises better than a deep one. The
    logits are the sum of both, and UR-DMU's last layer starts at zero: training starts as the
    linear baseline. In scoring only the ``share`` of UR-DMU's logits is added, because on so few
    recordings they are overconfident.
    """

    def __init__(self, dim: int, base: UrDmuNetwork, share: float = 1.0) -> None:
        super().__init__()
        self.base, self.share = base, share
        self.shortcut = nn.Linear(dim, 1)
        last = base.cls_head.get_submodule("mlp.2")
        with torch.no_grad():
            for parameter in (*self.shortcut.parameters(), *last.parameters()):
                parameter.zero_()

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Output:
        """As ``UrDmuNetwork.forward``."""
        if labels is None and features.ndim == 4:
            each = [self(features[:, crop]) for crop in range(features.shape[1])]
            scores = torch.stack([output.scores for output in each]).mean(0)
            return Output(scores, torch.stack([output.logits for output in each]).mean(0))
        output: Output = self.base(features, labels)
        share = self.share if labels is None else 1.0
        logits = share * output.logits + self.shortcut(features).squeeze(-1)
        return replace(output, scores=logits.sigmoid(), logits=logits)
