"""Where weights are: in the package, or in the user's own folder."""

from __future__ import annotations

import os
from pathlib import Path

from oddframe.errors import InputError

SHIPPED = Path(__file__).parent / "data"
_SUFFIXES = (".safetensors", ".pth", ".pt")


def weights_dir() -> Path:
    """Where a user's weights are: ``$ODDFRAME_WEIGHTS``, else in the user's data folder."""
    if own := os.environ.get("ODDFRAME_WEIGHTS"):
        return Path(own)
    data = os.environ.get("XDG_DATA_HOME")
    return Path(data or Path.home() / ".local" / "share") / "oddframe" / "weights"


def own_weights(name: str, source: str) -> Path:
    """The user's weights of a backbone: ``NAME.safetensors``, ``NAME.pth`` or ``NAME.pt``.

    Args:
        name: Of the backbone.
        source: Where they are to be had.

    Raises:
        InputError: they are not there; the line says what to do.
    """
    folder = weights_dir()
    for suffix in _SUFFIXES:
        if (path := folder / f"{name}{suffix}").is_file():
            return path
    raise InputError(
        f"{name}: its weights do not come with oddframe; get {source} and put the file at "
        f"{folder / name}.pt"
    )
