"""Settings for full float32 precision and deterministic results on CUDA.

By default, cuDNN computes float32 convolutions in TF32, with 10 bits of mantissa instead of 23, and
may choose algorithms that add in a different order each time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import Lock
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

_lock = Lock()
# cuDNN's global flags (allow_tf32, deterministic) as each user of ``deterministic`` found them.
_found_flags: list[tuple[bool, bool]] = []


@contextmanager
def deterministic() -> Iterator[None]:
    """Compute convolutions without TF32 and with deterministic algorithms, in any thread.

    Matrix products need no setting: PyTorch uses TF32 for them only on request.
    """
    # cuBLAS is deterministic only with a workspace of fixed size, and reads this only once.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    cudnn = torch.backends.cudnn
    with _lock:
        _found_flags.append((cudnn.allow_tf32, cudnn.deterministic))
        cudnn.allow_tf32, cudnn.deterministic = False, True
    try:
        yield
    finally:
        with _lock:
            before = _found_flags.pop()
            if not _found_flags:  # The first one's.
                cudnn.allow_tf32, cudnn.deterministic = before


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

    CUDA's fused kernels add gradients in any order, of which ``reproducible`` has PyTorch only
    warn. The math kernel stores T x T weights, which fit for bags, but not for whole videos.
    """
    with sdpa_kernel(SDPBackend.MATH) if device.type == "cuda" else nullcontext():
        yield
