"""PyTorch, which scoring does not need: whether it is installed, and what to say if it is not."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from oddframe.errors import MissingPackageError

INSTALL_TORCH = "pip install 'oddframe[train]'"


def has_torch() -> bool:
    """Whether PyTorch is installed; does not import it."""
    if "torch" in sys.modules:
        return sys.modules["torch"] is not None
    return find_spec("torch") is not None


def torch_needed(what: str) -> MissingPackageError:
    """The error of ``what`` needs PyTorch, to be raised."""
    return MissingPackageError(f"{what} needs PyTorch: {INSTALL_TORCH}")
