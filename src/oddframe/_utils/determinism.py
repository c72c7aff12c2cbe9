"""CUDA settings with which float32 is float32, and the same input gives the same bytes.

Left to itself, cuDNN multiplies in TF32 where float32 was asked for, with 10 bits of mantissa in
place of 23, and may take algorithms that add up in another order each time. On a CPU nothing
of this is looked at.

The same seed, the same weights: seeded chance and deterministic kernels.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


class _CudnnFlags:
    """cuDNN's flags belong to the whole process: the first thread in sets them, the last resets."""

    def __init__(self) -> None:
        self.lock, self.inside, self.before = Lock(), 0, (True, False)

    def enter(self) -> None:
        cudnn = torch.backends.cudnn
        with self.lock:
            if self.inside == 0:
                self.before = cudnn.allow_tf32, cudnn.deterministic
                cudnn.allow_tf32, cudnn.deterministic = False, True
            self.inside += 1

    def leave(self) -> None:
        cudnn = torch.backends.cudnn
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                cudnn.allow_tf32, cudnn.deterministic = self.before


_FLAGS = _CudnnFlags()


@contextmanager
def deterministic() -> Iterator[None]:
    """Convolutions without TF32, by deterministic algorithms; threads may be inside together.

    Products of matrices are left alone: PyTorch takes TF32 for these only where it was told to.
    """
    # cuBLAS is deterministic only with a workspace of fixed size, and looks at this only once.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    _FLAGS.enter()
    try:
        yield
    finally:
        _FLAGS.leave()


@contextmanager
def reproducible(device: torch.device, seed: int) -> Iterator[None]:
    """Chance seeded and kernels deterministic inside; both as they were outside."""
    cuda = [device] if device.type == "cuda" else []
    settings: Any = torch.utils.deterministic  # Its one setting is not in the type stubs.
    fill = settings.fill_uninitialized_memory
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    with deterministic(), torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True, warn_only=True)
        settings.fill_uninitialized_memory = False  # A debugging aid, and slow.
        try:
            yield
        finally:
            settings.fill_uninitialized_memory = fill
            torch.use_deterministic_algorithms(before, warn_only=warn_only)


@contextmanager
def deterministic_attention(device: torch.device) -> Iterator[None]:
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
