"""Anything that holds a video -> frames with times."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oddframe.child_process import is_supported
from oddframe.errors import UsageError
from oddframe.video.arrays import ArrayFrames
from oddframe.video.frame import Frame, FrameSource
from oddframe.video.supervised import SupervisedVideo, open_here

__all__ = ["Frame", "FrameSource", "open_source"]


def open_source(
    source: str | Path | NDArray[np.uint8] | Iterable[NDArray[np.uint8]],
    *,
    fps: float | None = None,
) -> FrameSource:
    """Open a video file, a folder of pictures, an array (N, H, W, 3) or an iterable of (H, W, 3).

    Files and folders are decoded in a child process, see ``video/supervised.py``.

    Args:
        source: Path, array or iterable; arrays are RGB, uint8.
        fps: Rate of frames that have no time stamps of their own: pictures, arrays, iterables
            (default 25). A video file has its own.

    Raises:
        InputError: there is no such file, or no video in it.
        UsageError: the array is of another shape or type, or ``fps`` does not fit.
    """
    if fps is not None and not (np.isfinite(fps) and fps > 0):
        raise UsageError(f"a frame rate must be a positive number, not {fps}")
    if not isinstance(source, str | Path):
        return ArrayFrames(source, fps)
    opened = SupervisedVideo if is_supported() else open_here
    return opened(Path(source), fps)
