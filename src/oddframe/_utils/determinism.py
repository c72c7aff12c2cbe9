"""Settings for full float32 precision and deterministic results on CUDA.

By default, cuDNN computes float32 convolutions in TF32, with 10 bits of mantissa instead of 23, and
may choose algorithms that add in a different order each time. ``reproducible`` also seeds the
random numbers of a training. On a CPU, the CUDA settings have no effect.
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
    """Sets cuDNN's global flags when the first thread enters; resets them when the last leaves."""

    def __init__(self) -> None:
        self.lock, self.n_users, self.before = Lock(), 0, (True, False)

    def enter(self) -> None:
        cudnn = torch.backends.cudnn
        with self.lock:
            if self.n_users == 0:
                self.before = cudnn.allow_tf32, cudnn.deterministic
                cudnn.allow_tf32, cudnn.deterministic = False, True
            self.n_users += 1

    def leave(self) -> None:
        cudnn = torch.backends.cudnn
        with self.lock:
            self.n_users -= 1
            if self.n_users == 0:
                cudnn.allow_tf32, cudnn.deterministic = self.before


_FLAGS = _CudnnFlags()


@contextmanager
def deterministic() -> Iterator[None]:
    """Compute convolutions without TF32 and with deterministic algorithms, in any thread.

    Matrix products need no setting: PyTorch uses TF32 for them only on request.
    """
    # cuBLAS is deterministic only with a workspace of fixed size, and reads this only once.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    _FLAGS.enter()
    try:
        yield
    finally:
        _FLAGS.leave()


@contextmanager
def reproducible(device: torch.device, seed: int) -> Iterator[None]:
    """Seed random numbers and use deterministic kernels in the block; restore both at its end."""
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
    """Compute attention in the block with deterministic gradients.

    CUDA's fused kernels add gradients in any order. ``reproducible`` cannot prevent that: it has
    PyTorch only warn, because some methods use operations without a deterministic form. The math
    kernel stores T x T weights, which fit for bags; whole videos are scored outside the block.
    """
    if device.type != "cuda":
        yield
        return
    with sdpa_kernel(SDPBackend.MATH):
        yield
