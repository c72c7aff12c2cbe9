"""The local branch of GL-MHSA (equation 1): a fixed mask over time, as the band that it is.

The mask exp(-|i - j| / e^tau) falls so fast that beyond a certain distance it is nothing beside
the smallest step of a float. So time is cut into blocks of that length, and a block sees itself and
its two neighbours: memory grows with T, not with its square.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

# Everything that a block leaves out weighs less than this, relative to its nearest snippet.
_NEGLIGIBLE = 1e-12


def _precise(like: Tensor) -> torch.dtype:
    return torch.promote_types(like.dtype, torch.float32)  # Halves cannot count to 50,000.


def mask_sums(length: int, tau: float, like: Tensor) -> Tensor:
    """(T,) the sums of the mask's rows, and, as it is symmetric, of its columns.

    A row is a geometric series to either side, so the sum has a closed form.
    """
    scale = math.exp(tau)
    before = torch.arange(1, length + 1, dtype=_precise(like), device=like.device)
    after = length + 1 - before
    # 1 + r + ... + r^(n-1) = (1 - r^n) / (1 - r), once to each side; the centre counts once.
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

    here = torch.arange(size, dtype=_precise(x), device=x.device)
    there = torch.arange(-size, 2 * size, dtype=_precise(x), device=x.device)
    band = torch.exp(-(here[:, None] - there).abs() / math.exp(tau)).to(x.dtype)
    earlier, same, later = band.chunk(3, dim=1)

    count = length // size + 2  # Never 1, which an exporter would take for a length of its own.
    padded = F.pad(x, (0, 0, size, (count + 1) * size - length))
    blocks = padded.view(x.shape[0], count + 2, size, x.shape[2])
    y = earlier @ blocks[:, :-2] + same @ blocks[:, 1:-1] + later @ blocks[:, 2:]
    y = y.flatten(1, 2)[:, :length]
    return y / sums if norm == "row" else y
