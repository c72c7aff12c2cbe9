"""Global and local multi-head self-attention (GL-MHSA), UR-DMU's transformer (equations 1, 2).

The local mask exp(-|i - j| / e^tau) (equation 1) is computed as a band: beyond a certain distance
it is negligible in floating point. Time is cut into blocks of that length, and a block attends to
itself and its two neighbours, so memory grows linearly with T.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.urdmu.config import UrDmuConfig

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

    ``column``: the mask's columns sum to 1 (published code); ``row``: its rows (equation 1).
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
