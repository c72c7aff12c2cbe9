"""CUDA settings with which float32 is float32, and the same input gives the same bytes.

Left to itself, cuDNN multiplies in TF32 where float32 was asked for, with 10 bits of mantissa in
place of 23, and may take algorithms that add up in another order each time. On a CPU nothing
of this is looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import torch


class _Flags:
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


_FLAGS = _Flags()


@contextmanager
def exact() -> Iterator[None]:
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
