"""The same seed, the same weights: seeded chance and deterministic kernels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def reproducible(device: torch.device, seed: int) -> Iterator[None]:
    """Chance seeded and kernels deterministic inside; both as they were outside."""
    cuda = [device] if device.type == "cuda" else []
    if cuda:  # cuBLAS is deterministic only with a workspace of fixed size.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    settings: Any = torch.utils.deterministic  # Its one setting is not in the type stubs.
    fill = settings.fill_uninitialized_memory
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True, warn_only=True)
        settings.fill_uninitialized_memory = False  # A debugging aid, and slow.
        try:
            yield
        finally:
            settings.fill_uninitialized_memory = fill
            torch.use_deterministic_algorithms(before, warn_only=warn_only)
