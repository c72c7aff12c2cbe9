"""UR-DMU: features of snippets in, one anomaly score a snippet out.

Zhou, Yu, Yang, "Dual Memory Units with Uncertainty Regulation for Weakly Supervised Video Anomaly
Detection", AAAI 2023. Attributes carry the names of the published checkpoints, so that these load
as they are. B videos of T snippets, D features in, H hidden, M memory slots.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.errors import UsageError
from oddframe.methods.base import Output
from oddframe.methods.urdmu.config import UrDmuConfig
from oddframe.methods.urdmu.local import local_attention


@dataclass(frozen=True)
class TrainingOutput(Output):
    """What the loss reads. Fields named ``normal_z...`` hold the normal videos alone, in order."""

    hidden: Tensor  # (B, T, H) X, the transformer's output
    anomaly_score: Tensor  # (B, T) S_A, how well the anomaly memory knows a snippet
    normal_score: Tensor  # (B, T) S_N, how well the normal memory does
    anomaly_mu: Tensor  # (B, T, H) mean of the latent of the anomaly memory's read-out
    normal_z_mu: Tensor  # (normal videos, T, H) latent of the normal memory's read-out: mean,
    normal_z_logvar: Tensor  # log-variance,
    normal_z: Tensor  # and a sample


def _named(name: str, *layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict({name: nn.Sequential(*layers)}))


class Attention(nn.Module):
    """Global and local multi-head self-attention (GL-MHSA)."""

    def __init__(self, config: UrDmuConfig) -> None:
        super().__init__()
        self.config = config
        inner = config.heads * config.head_dim
        self.to_qkv = nn.Linear(config.hidden, 4 * inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(2 * inner, config.hidden), nn.Dropout(config.dropout))

    def forward(self, x: Tensor) -> Tensor:
        heads = (*x.shape[:2], self.config.heads, self.config.head_dim)
        q, k, v_global, v_local = self.to_qkv(x).chunk(4, dim=-1)
        q, k, v = (t.view(heads).transpose(1, 2) for t in (q, k, v_global))
        far = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)  # eq. 2, over sqrt(head_dim)
        near = local_attention(v_local, self.config.tau, self.config.local_norm)  # eq. 1
        y: Tensor = self.to_out(torch.cat([far, near.view(heads)], dim=-1).flatten(-2))
        return y


class Residual(nn.Module):
    """x + fn(LayerNorm(x))."""

    def __init__(self, width: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fn(self.norm(x))  # type: ignore[no-any-return]


class Reading(NamedTuple):
    """What a memory says of every snippet."""

    weights: Tensor  # (B, T, M) in (0, 1), how much each slot answers
    score: Tensor  # (B, T) mean of the largest weights
    value: Tensor  # (B, T, H) the slots, weighted and summed


class Memory(nn.Module):
    """M slots, learnt, that a snippet is compared with."""

    def __init__(self, slots: int, width: int) -> None:
        super().__init__()
        self.memory_block = nn.Parameter(torch.empty(slots, width))
        nn.init.uniform_(self.memory_block, -(width**-0.5), width**-0.5)

    def forward(self, x: Tensor) -> Reading:
        slots, width = self.memory_block.shape
        weights = torch.sigmoid(x @ self.memory_block.T / width**0.5)  # S
        score = weights.topk(slots // 16 + 1, dim=-1).values.mean(-1)  # K = M // 16 + 1
        return Reading(weights, score, weights @ self.memory_block)  # S M


class UrDmuNetwork(nn.Module):
    """Embedding, GL-MHSA, dual memory, normality uncertainty, classifier."""

    def __init__(self, dim: int, config: UrDmuConfig) -> None:
        super().__init__()
        h, m, dropout = config.hidden, config.classifier_hidden, config.dropout
        self.embedding = _named("conv_1", nn.Conv1d(dim, h, kernel_size=3, padding=1), nn.ReLU())
        self.cls_head = _named("mlp", nn.Linear(2 * h, m), nn.ReLU(), nn.Linear(m, 1))
        self.Amemory = Memory(config.anomaly_slots, h)
        self.Nmemory = Memory(config.normal_slots, h)
        blocks = []
        for _ in range(config.depth):
            layers = nn.Linear(h, h), nn.GELU(), nn.Dropout(dropout), nn.Linear(h, h)
            feed_forward = _named("net", *layers, nn.Dropout(dropout))
            block = [Residual(h, Attention(config)), Residual(h, feed_forward)]
            norm = [nn.LayerNorm(h)] if config.block_norm == "pre_and_post" else []
            blocks.append(nn.Sequential(*block, *norm))
        self.selfatt = _named("layers", *blocks)
        self.encoder_mu = nn.Sequential(nn.Linear(h, h))
        self.encoder_var = nn.Sequential(nn.Linear(h, h))

    def noise(self, like: Tensor) -> Tensor:
        """Standard normal noise, from torch's generator."""
        return torch.randn_like(like)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Output:
        """(B, T, D) -> scores (B, T); (B, C, T, D): averaged over the C crops.

        With ``labels`` (B,), 0 normal and 1 abnormal, it is the ``TrainingOutput`` of the loss.
        """
        if labels is not None and features.ndim == 4:
            raise UsageError("train on one crop at a time: features (B, T, D), not (B, C, T, D)")
        crops = features.shape[1] if features.ndim == 4 else 1
        x = features.flatten(0, -3).transpose(1, 2)
        x = self.selfatt(self.embedding(x).transpose(1, 2))
        anomaly, normal = self.Amemory(x), self.Nmemory(x)
        anomaly_mu, normal_mu = self.encoder_mu(anomaly.value), self.encoder_mu(normal.value)
        if labels is None:
            logits = self.classify(x, anomaly_mu + normal_mu)
            logits = logits.view(-1, crops, logits.shape[1])
            return Output(logits.sigmoid().mean(1), logits.mean(1))

        known = labels < 0.5
        mu, logvar = normal_mu[known], self.encoder_var(normal.value[known])
        z = mu + self.noise(logvar) * torch.exp(logvar / 2)  # reparameterisation
        logits = self.classify(x, anomaly_mu + normal_mu.index_put((known,), z))
        memories = anomaly.score, normal.score, anomaly_mu, mu, logvar, z
        return TrainingOutput(logits.sigmoid(), logits, x, *memories)

    def classify(self, x: Tensor, fused: Tensor) -> Tensor:
        """X and the fused latents, both (B, T, H) -> logits (B, T)."""
        logits: Tensor = self.cls_head(torch.cat([x, fused], dim=-1)).squeeze(-1)
        return logits
