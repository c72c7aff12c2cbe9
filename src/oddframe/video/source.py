"""Anything that holds a video -> frames with times.

Frames that are already in memory, or that come one by one from Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oddframe._utils.child_process import is_supported
from oddframe.errors import InputError, UsageError
from oddframe.video.decoding.isolated import IsolatedVideo, open_in_process
from oddframe.video.decoding.scale import Scaler
from oddframe.video.frame import ConstantRateSource, Frame, FrameSource, Image
from oddframe.video.snippets.transforms import FrameTransform


class ArraySource(ConstantRateSource):
    """An array (N, H, W, 3) or an iterable of (H, W, 3), RGB uint8, as a ``FrameSource``.

    Args:
        frames: The frames. An iterator can be read once only.
        fps: Their rate; None: 25.

    Raises:
        UsageError: the array is of another shape or type.
        InputError: there are no frames.
    """

    def __init__(
        self, frames: NDArray[np.uint8] | Iterable[NDArray[np.uint8]], fps: float | None = None
    ) -> None:
        super().__init__("the array" if isinstance(frames, np.ndarray) else "the frames", fps)
        self._frames = frames
        if isinstance(frames, np.ndarray):
            if frames.ndim != 4:
                raise UsageError(f"a video array is (frames, height, width, 3), not {frames.shape}")
            if len(frames) == 0:
                raise InputError("the array holds no frames")
            _check(frames[0])

    @property
    def expected_frames(self) -> int | None:
        """Number of frames; None for an iterator."""
        return len(self._frames) if isinstance(self._frames, np.ndarray | list | tuple) else None

    def read(self, read: Sequence[FrameTransform]) -> Iterator[tuple[Frame, ...]]:
        """The frames, see ``FrameSource.looks``."""
        scalers = [Scaler(look) for look in read]
        number = -1
        for number, image in enumerate(self._frames):
            _check(image)
            time_s = number / self.fps
            yield tuple(Frame(partial(scaler.scale_rgb, image), time_s) for scaler in scalers)
        if number < 0:
            raise InputError(f"{self.name}: there is not one (an iterator can be read only once)")


def _check(image: Image) -> None:
    shape, kind = getattr(image, "shape", None), getattr(image, "dtype", None)
    if shape is None or len(shape) != 3 or shape[2] != 3 or 0 in shape or kind != np.uint8:
        raise UsageError(f"a frame is (height, width, 3) RGB uint8, not {shape} {kind}")


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
        return ArraySource(source, fps)
    opened = IsolatedVideo if is_supported() else open_in_process
    return opened(Path(source), fps)
