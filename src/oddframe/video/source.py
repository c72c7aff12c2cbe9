"""``open_source`` opens any video: a file, a folder of pictures, an array or an iterable."""

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
from oddframe.video.frame import DEFAULT_FPS, Frame, FrameSource, FrameTransform, Image


class ArraySource(FrameSource):
    """A ``FrameSource`` of an array (N, H, W, 3) or an iterable of arrays (H, W, 3), RGB uint8.

    Args:
        frames: The frames. An iterator can be read only once.
        fps: Frame rate; None: 25.

    Raises:
        UsageError: the array has another shape or type.
        InputError: the array is empty.
    """

    def __init__(
        self, frames: NDArray[np.uint8] | Iterable[NDArray[np.uint8]], fps: float | None = None
    ) -> None:
        self.name = "the array" if isinstance(frames, np.ndarray) else "the frames"
        self.fps = fps or DEFAULT_FPS
        if isinstance(frames, np.ndarray | list | tuple):
            self.expected_frames = len(frames)
        self._frames = frames
        if isinstance(frames, np.ndarray):
            if frames.ndim != 4:
                raise UsageError(f"a video array is (frames, height, width, 3), not {frames.shape}")
            if len(frames) == 0:
                raise InputError("the array holds no frames")
            _check_image(frames[0])

    def read(self, transforms: Sequence[FrameTransform]) -> Iterator[tuple[Frame, ...]]:
        """Yield the frames; see ``FrameSource.read``."""
        scalers = [Scaler(transform) for transform in transforms]
        number = -1
        for number, image in enumerate(self._frames):
            _check_image(image)
            time_s = number / self.fps
            yield tuple(Frame(partial(scaler.scale_rgb, image), time_s) for scaler in scalers)
        if number < 0:
            raise InputError(f"{self.name}: no frame in it (an iterator can be read only once)")


def _check_image(image: Image) -> None:
    shape, kind = getattr(image, "shape", None), getattr(image, "dtype", None)
    if shape is None or len(shape) != 3 or shape[2] != 3 or 0 in shape or kind != np.uint8:
        raise UsageError(f"a frame is (height, width, 3) RGB uint8, not {shape} {kind}")


def open_source(
    source: str | Path | NDArray[np.uint8] | Iterable[NDArray[np.uint8]],
    *,
    fps: float | None = None,
) -> FrameSource:
    """Open a video file, a folder of pictures, an array (N, H, W, 3) or an iterable of (H, W, 3).

    Files and folders are decoded in a child process, see ``decoding/isolated.py``.

    Args:
        source: Path, array or iterable; arrays are RGB, uint8.
        fps: Frame rate of pictures, arrays and iterables, which have no time stamps (default 25).

    Raises:
        InputError: the file does not exist or contains no video.
        UsageError: the array has another shape or type, ``fps`` is not positive, or it is given
            for a video file.
    """
    if fps is not None and not (np.isfinite(fps) and fps > 0):
        raise UsageError(f"a frame rate must be a positive number, not {fps}")
    if not isinstance(source, str | Path):
        return ArraySource(source, fps)
    opened = IsolatedVideo if is_supported() else open_in_process
    return opened(Path(source), fps)
