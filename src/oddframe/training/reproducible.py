"""The same seed, the same weights: seeded chance and deterministic kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from oddframe.exact import exact


@contextmanager
def reproducible(device: torch.device, seed: int) -> Iterator[None]:
    """Chance seeded and kernels deterministic inside; both as they were outside."""
    cuda = [device] if device.type == "cuda" else []
    settings: Any = torch.utils.deterministic  # Its one setting is not in the type stubs.
    fill = settings.fill_uninitialized_memory
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    with exact(), torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True, warn_only=True)
        settings.fill_uninitialized_memory = False  # A debugging aid, and slow.
        try:
            yield
        finally:
            settings.fill_uninitialized_memory = fill
            torch.use_deterministic_algorithms(before, warn_only=warn_only)


@contextmanager
def repeatable_attention(device: torch.device) -> Iterator[None]:
    """Attention whose gradients are the same each time, where it is computed inside.

    CUDA's fused kernels add gradients up in any order, and where PyTorch may only warn of that
    (methods use operations that have no other form) it leaves them so. The plain one keeps T x T
    weights, which bags are short enough for; whole videos are scored outside.
    """
    if device.type != "cuda":
        yield
        return
    with sdpa_kernel(SDPBackend.MATH):
        yield
