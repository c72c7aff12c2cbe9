"""Anything that holds a video -> frames with times."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oddframe.errors import UsageError
from oddframe.video.arrays import ArrayFrames
from oddframe.video.folder import FrameFolder
from oddframe.video.frame import Frame, FrameSource
from oddframe.video.reader import VideoFile

__all__ = ["Frame", "FrameSource", "open_source"]


def open_source(
    source: str | Path | NDArray[np.uint8] | Iterable[NDArray[np.uint8]],
    *,
    fps: float | None = None,
) -> FrameSource:
    """Open a video file, a folder of pictures, an array (N, H, W, 3) or an iterable of (H, W, 3).

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
    path = Path(source)
    if path.is_dir():
        return FrameFolder(path, fps)
    if fps is not None:
        raise UsageError(f"{source}: a video file has its own times, so fps cannot be set for it")
    return VideoFile(path)
