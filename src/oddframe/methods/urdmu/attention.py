"""Global and local multi-head self-attention (GL-MHSA), UR-DMU's transformer (equations 1, 2)."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.urdmu.config import UrDmuConfig
from oddframe.methods.urdmu.local import local_attention


def named(name: str, *layers: nn.Module) -> nn.Sequential:
    """Layers under one more name, as the published checkpoints have them."""
    return nn.Sequential(OrderedDict({name: nn.Sequential(*layers)}))


class Attention(nn.Module):
    """Every snippet attends to all others, and to its neighbours."""

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


def embedding(dim: int, hidden: int, reach: int = 1) -> nn.Sequential:
    """(B, D, T) -> (B, H, T): a convolution over a snippet and ``reach`` on either side."""
    convolution = nn.Conv1d(dim, hidden, kernel_size=2 * reach + 1, padding=reach)
    return named("conv_1", convolution, nn.ReLU())


def transformer(config: UrDmuConfig) -> nn.Sequential:
    """``depth`` blocks of attention and a feed-forward network, (B, T, H) -> (B, T, H)."""
    h, dropout = config.hidden, config.dropout
    blocks = []
    for _ in range(config.depth):
        layers = nn.Linear(h, h), nn.GELU(), nn.Dropout(dropout), nn.Linear(h, h)
        feed_forward = named("net", *layers, nn.Dropout(dropout))
        block = [Residual(h, Attention(config)), Residual(h, feed_forward)]  # eq. 2
        norm = [nn.LayerNorm(h)] if config.block_norm == "pre_and_post" else []
        blocks.append(nn.Sequential(*block, *norm))
    return named("layers", *blocks)
