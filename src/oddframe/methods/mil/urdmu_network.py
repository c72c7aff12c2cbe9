"""UR-DMU's settings and network.

Attributes have the names in the published checkpoints. B is the batch, T the snippets, H the hidden
width and M the slots of a memory. For the ablations (tables 3 and 6) the config removes one memory,
both, or the uncertainty; how they were removed is our reading: paper and code do not say it.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Literal, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import BagNetwork, Output
from oddframe.methods.config import MAX_LAYERS, AboveZero, Dropout, MethodConfig, NotNegative, Width

# Where the paper's equations differ from the code that its authors published.
PAPER_SETTINGS: dict[str, str] = {
    "local_norm": "row",
    "block_norm": "pre_and_post",
    "top_k": "memory",
    "dm_last": "score",
    "kl_over_time": "mean",
    "distance_norm": "squared",
}


class LossWeights(MethodConfig):
    """Weight of each loss term; 0: the term is left out."""

    cls: NotNegative = 1.0
    dm: NotNegative = 0.1
    trip: NotNegative = 0.1
    kl: NotNegative = 0.001
    dis: NotNegative = 0.0001

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if not any(weight for _, weight in self):
            raise ValueError("at least one loss term needs a weight above 0")
        return self


def _is_zero(value: float) -> bool:
    return value == 0


class UrDmuConfig(MethodConfig):
    # ``official`` (the code of the published results and checkpoints) or ``paper``, which sets
    # PAPER_SETTINGS, except those that are given.
    variant: Literal["official", "paper"] = "official"
    # Whether the ``column`` or the ``row`` sums of the local mask are 1 (equation 1).
    local_norm: Literal["column", "row"] = "column"
    # LayerNorm ``pre``: before attention and before the feed-forward network; ``pre_and_post``:
    # also after each block (our reading of equation 2).
    block_norm: Literal["pre", "pre_and_post"] = "pre"
    # How many snippets represent a video: ``time``: T // 16 + 1; ``memory``: M // 16 + 1 of the M
    # slots of the memory that selects them (section 4.2; if scores select them, of the anomaly
    # memory). Never more than T.
    top_k: Literal["time", "memory"] = "time"
    # Last term of L_dm, whose target is 1: top-k mean of ``one_minus_score`` or of ``score``, with
    # the normal memory's scores in abnormal videos.
    dm_last: Literal["one_minus_score", "score"] = "one_minus_score"
    # L_kl is the ``sum`` or the ``mean`` over the T snippets.
    kl_over_time: Literal["sum", "mean"] = "sum"
    # Norms of latents in L_dis, ``plain`` or ``squared``.
    distance_norm: Literal["plain", "squared"] = "plain"
    # Width of the local mask, exp(-|i - j| / e^tau) (equation 1).
    tau: float = Field(default=1.0, ge=-4, le=4)
    hidden: Width = 512  # width of all layers after the embedding
    heads: Width = 4  # attention heads
    head_dim: Width = 128  # width of a head
    # Transformer blocks; 0: only the embedding sees neighbouring snippets.
    depth: int = Field(default=2, ge=0, le=MAX_LAYERS)
    anomaly_slots: Width = 60  # slots of the anomaly memory
    normal_slots: Width = 60  # slots of the normal memory
    classifier_hidden: Width = 128  # hidden width of the classifier
    dropout: Dropout = 0.5  # in attention's output and in the feed-forward network
    triplet_margin: NotNegative = 1.0  # margin of the triplet loss
    distance_margin: NotNegative = 100.0  # margin of the distance loss
    # Which memories exist: one of them or both (table 3), or ``none`` (table 6).
    memory: Literal["dual", "anomaly", "normal", "none"] = "dual"
    # Normality uncertainty learning (NUL, table 6): the classifier reads latents of the memory
    # read-outs (of X without memories); without NUL the read-outs themselves.
    uncertainty: bool = True
    loss_weights: LossWeights = LossWeights()  # weight of each loss term
    # Weights of two contrastive terms (ours, see ``urdmu.py``): between snippets and both
    # memories, and between the likeliest snippets of abnormal and of normal videos. They need
    # memory ``dual``.
    contrast_memory: NotNegative = Field(default=0.0, exclude_if=_is_zero)
    contrast_snippets: NotNegative = Field(default=0.0, exclude_if=_is_zero)
    # What cosines are divided by in both.
    contrast_temperature: AboveZero = Field(default=0.1, exclude_if=lambda value: value == 0.1)
    shortcut: bool = False  # whether to add a linear score, see ``UrDmuWithShortcut`` (ours)
    shortcut_lr: AboveZero = 2e-3  # learning rate of that linear score; the recipe's does not apply
    shortcut_weight_decay: NotNegative = 1e-2  # its weight decay
    # Share of UR-DMU's logits that is added to it when scoring; in training all.
    deep_share: float = Field(default=1.0, ge=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("variant") == "paper":
            return PAPER_SETTINGS | data
        return data

    @model_validator(mode="after")
    def _check_share(self) -> Self:
        if self.deep_share < 1 and not self.shortcut:
            raise ValueError("deep_share needs a shortcut: set shortcut: true")
        return self

    @model_validator(mode="after")
    def _check_contrast(self) -> Self:
        if (self.contrast_memory or self.contrast_snippets) and self.memory != "dual":
            raise ValueError("contrastive terms need both memories: set memory: dual")
        return self

    @model_validator(mode="after")
    def _check_terms(self) -> Self:
        if not any(weight and name in self.terms for name, weight in self.loss_weights):
            terms = ", ".join(self.terms)
            raise ValueError(f"the loss terms of these parts are {terms}, and all weights are 0")
        return self

    def top_k_sizes(self, length: int) -> tuple[int, int]:
        """How many of T snippets the anomaly and the normal memory select to represent a video."""
        if self.top_k == "memory":  # Section 4.2
            return self.anomaly_slots // 16 + 1, self.normal_slots // 16 + 1
        return length // 16 + 1, length // 16 + 1

    @property
    def terms(self) -> tuple[str, ...]:
        """The loss terms that the existing parts have the inputs for."""
        dual, none = self.memory == "dual", self.memory == "none"
        available = {
            "cls": True,
            "dm": not none,
            "trip": dual,
            "kl": self.uncertainty and self.memory != "anomaly",
            "dis": self.uncertainty and (dual or none),
        }
        return tuple(name for name, exists in available.items() if exists)


# Weights that are left out are smaller than this share of the weight of the nearest snippet.
_NEGLIGIBLE = 1e-12


def _at_least_float32(like: Tensor) -> torch.dtype:
    return torch.promote_types(like.dtype, torch.float32)  # Indices need more than float16.


def mask_sums(length: int, tau: float, like: Tensor) -> Tensor:
    """(T,) sums of the rows of the symmetric mask: geometric series on both sides."""
    scale = math.exp(tau)
    before = torch.arange(1, length + 1, dtype=_at_least_float32(like), device=like.device)
    after = length + 1 - before
    # 1 + r + ... + r^(n-1) = (1 - r^n) / (1 - r) on each side; the centre counts only once.
    sides = torch.expm1(-before / scale) + torch.expm1(-after / scale)
    return (sides / math.expm1(-1 / scale) - 1).to(like.dtype)


def local_attention(x: Tensor, tau: float, norm: Literal["column", "row"]) -> Tensor:
    """Local mask times values, (B, T, D) -> (B, T, D), equal to the dense T x T product.

    The mask is a band: time is cut into blocks beyond whose neighbours it is negligible, so memory
    grows linearly with T.
    """
    length = x.shape[1]
    sums = mask_sums(length, tau, x).unsqueeze(-1)
    if norm == "column":
        x = x / sums
    size = math.ceil(-math.log(_NEGLIGIBLE) * math.exp(tau))  # of a block

    rows = torch.arange(size, dtype=_at_least_float32(x), device=x.device)
    columns = torch.arange(-size, 2 * size, dtype=_at_least_float32(x), device=x.device)
    band = torch.exp(-(rows[:, None] - columns).abs() / math.exp(tau)).to(x.dtype)
    earlier, same, later = band.chunk(3, dim=1)

    count = length // size + 2  # At least 2: torch.export specialises a size of 1.
    padded = F.pad(x, (0, 0, size, (count + 1) * size - length))
    blocks = padded.view(x.shape[0], count + 2, size, x.shape[2])
    y = earlier @ blocks[:, :-2] + same @ blocks[:, 1:-1] + later @ blocks[:, 2:]
    y = y.flatten(1, 2)[:, :length]
    return y / sums if norm == "row" else y


def named_sequential(name: str, *layers: nn.Module) -> nn.Sequential:
    """Layers under an additional name, as in the published checkpoints."""
    return nn.Sequential(OrderedDict({name: nn.Sequential(*layers)}))


class GlobalLocalAttention(nn.Module):
    """Multi-head attention: each head has a global and a local branch."""

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
        # Equation 2, scaled by the root of head_dim.
        global_ = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        local = local_attention(v_local, self.config.tau, self.config.local_norm)  # eq. 1
        y: Tensor = self.to_out(torch.cat([global_, local.view(heads)], dim=-1).flatten(-2))
        return y


class Residual(nn.Module):
    """x + fn(LayerNorm(x))."""

    def __init__(self, width: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fn(self.norm(x))  # type: ignore[no-any-return]


def conv_embedding(dim: int, hidden: int, reach: int = 1) -> nn.Sequential:
    """(B, D, T) -> (B, H, T): a convolution over a snippet and ``reach`` on each side."""
    convolution = nn.Conv1d(dim, hidden, kernel_size=2 * reach + 1, padding=reach)
    return named_sequential("conv_1", convolution, nn.ReLU())


def transformer(config: UrDmuConfig) -> nn.Sequential:
    """``depth`` blocks of attention and a feed-forward network, (B, T, H) -> (B, T, H)."""
    h, dropout = config.hidden, config.dropout
    blocks = []
    for _ in range(config.depth):
        layers = nn.Linear(h, h), nn.GELU(), nn.Dropout(dropout), nn.Linear(h, h)
        feed_forward = named_sequential("net", *layers, nn.Dropout(dropout))
        block = [Residual(h, GlobalLocalAttention(config)), Residual(h, feed_forward)]  # eq. 2
        norm = [nn.LayerNorm(h)] if config.block_norm == "pre_and_post" else []
        blocks.append(nn.Sequential(*block, *norm))
    return named_sequential("layers", *blocks)


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
    # (M, H) slots of the anomaly and of the normal memory; None: not both exist.
    slots: tuple[Tensor, Tensor] | None = None


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


class UrDmuNetwork(BagNetwork):
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

    def hidden(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, H) X, the transformer's output."""
        hidden: Tensor = self.selfatt(self.embedding(x.transpose(1, 2)).transpose(1, 2))
        return hidden

    def memory_weights(self, x: Tensor) -> tuple[Tensor, Tensor] | None:
        """(B, T, D) -> weights of the slots of the anomaly and the normal memory, (B, T, M) each;
        None without both memories."""
        if self.Amemory is None or self.Nmemory is None:
            return None
        hidden = self.hidden(x)
        return self.Amemory(hidden).weights, self.Nmemory(hidden).weights

    def score_bags(self, x: Tensor, labels: Tensor | None) -> Output:
        x = self.hidden(x)
        anomaly = None if self.Amemory is None else self.Amemory(x)
        normal = None if self.Nmemory is None else self.Nmemory(x)
        values = [readout.value for readout in (anomaly, normal) if readout is not None]
        latents = values
        if self.encoder_mu is not None:
            values = values or [x]  # NUL without DMU: the encoders read X.
            latents = [self.encoder_mu(value) for value in values]
        if labels is None:
            return Output.from_logits(self.classify(x, latents))

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
            slots=self.slots,
        )

    @property
    def slots(self) -> tuple[Tensor, Tensor] | None:
        """(M, H) slots of the anomaly and of the normal memory; None: not both exist."""
        if self.Amemory is None or self.Nmemory is None:
            return None
        return self.Amemory.memory_block, self.Nmemory.memory_block

    def classify(self, x: Tensor, latents: list[Tensor]) -> Tensor:
        """X and the latents, whose sum is concatenated with it, all (B, T, H) -> logits (B, T)."""
        fused = [reduce(torch.add, latents)] if latents else []
        logits: Tensor = self.cls_head(torch.cat([x, *fused], dim=-1)).squeeze(-1)
        return logits


class UrDmuWithShortcut(nn.Module):
    """UR-DMU plus a linear score of the features, which generalises better on few recordings.

    UR-DMU's last layer starts at zero: training starts as the linear baseline. In scoring only the
    ``share`` of UR-DMU's logits is added, because on few recordings they are overconfident.
    """

    def __init__(self, dim: int, base: UrDmuNetwork, share: float = 1.0) -> None:
        super().__init__()
        self.base, self.share = base, share
        self.shortcut = nn.Linear(dim, 1)
        last = base.cls_head.get_submodule("mlp.2")
        with torch.no_grad():
            for parameter in (*self.shortcut.parameters(), *last.parameters()):
                parameter.zero_()

    def memory_weights(self, x: Tensor) -> tuple[Tensor, Tensor] | None:
        """See ``UrDmuNetwork``."""
        return self.base.memory_weights(x)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Output:
        if labels is None and features.ndim == 4:
            each = [self(features[:, crop]) for crop in range(features.shape[1])]
            scores = torch.stack([output.scores for output in each]).mean(0)
            return Output(scores, torch.stack([output.logits for output in each]).mean(0))
        output: Output = self.base(features, labels)
        share = self.share if labels is None else 1.0
        logits = share * output.logits + self.shortcut(features).squeeze(-1)
        return replace(output, scores=logits.sigmoid(), logits=logits)
