"""TensorFlow's SAME padding, and the grid of regions that features are averaged over."""

from __future__ import annotations


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Compute how many cells SAME padding adds before and behind an axis of ``size`` cells."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def overlapping_windows(size: int, n: int) -> list[slice]:
    """``n`` windows that overlap their neighbours by half and cover an axis of ``size`` cells."""
    width = -(-2 * size // (n + 1))
    starts = [round(i * (size - width) / max(1, n - 1)) for i in range(n)]
    return [slice(start, start + width) for start in starts]
