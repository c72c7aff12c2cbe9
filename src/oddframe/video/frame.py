"""``FrameSource``, the base class of all video sources, which yield ``Frame``s with their times."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
ResamplingFilter = Literal["bicubic", "lanczos"]

# Frame rate of frames without time stamps: arrays, iterators, folders of pictures.
DEFAULT_FPS = 25.0


@dataclass(frozen=True)
class FrameTransform:
    """How a whole frame is transformed before crops are cut from it."""

    size: tuple[int, int] | None = None  # (width, height); None: that of the first frame.
    filter: ResamplingFilter = "bicubic"  # FFmpeg's swscale; ``lanczos`` is Pillow's.
    jpeg_quality: int = 0  # Of a JPEG round trip before resizing; 0: none.
    # Without a ``size``, larger frames are scaled down to this and keep their aspect ratio.
    max_pixels: int | None = None


class Frame:
    """One frame of a video, and when it is first shown, in seconds on the player's clock.

    The picture is computed at the first access of ``image``, so that a frame that no snippet uses
    is neither converted nor resized. ``after_gap``: a gap (``clock.GAP_S``) precedes the frame.
    """

    __slots__ = ("__weakref__", "_compute", "_image", "after_gap", "time_s")

    def __init__(
        self, image: Image | Callable[[], Image], time_s: float, after_gap: bool = False
    ) -> None:
        self.time_s = time_s
        self.after_gap = after_gap
        self._image: Image | None = None if callable(image) else image
        self._compute: Callable[[], Image] | None = image if callable(image) else None

    @property
    def image(self) -> Image:
        """(h, w, 3) RGB, uint8; read-only by convention."""
        if self._image is None:
            assert self._compute is not None
            self._image, self._compute = self._compute(), None
        return self._image


class FrameSource(ABC):
    """A video from any kind of storage."""

    name: str  # For messages: the path as the user wrote it.
    fps: float  # Average, as well as it is known before the video has been read.
    expected_frames: int | None = None
    audio_file: Path | None = None  # None if the video certainly has no audio.
    damaged_packets: int = 0  # Packets (in a folder: pictures) so far that gave no picture.
    mended_frames: int = 0  # Frames so far that were decoded with errors and are used anyway.

    @abstractmethod
    def read(self, transforms: Sequence[FrameTransform]) -> Iterator[tuple[Frame, ...]]:
        """Yield each frame, in display order, as a tuple of one ``Frame`` for each transform.

        All of them have the same ``time_s``, which strictly increases from tuple to tuple. A size
        of None is the size of the first frame (at most 8192 pixels wide and high); later frames of
        another size are resized to it. InputError if no picture can be read.
        """

    def frames(
        self,
        size: tuple[int, int] | None = None,
        filter: ResamplingFilter = "bicubic",
        jpeg_quality: int = 0,
    ) -> Iterator[Frame]:
        """Yield the frames under one transform; see ``read`` and ``FrameTransform``."""
        for (frame,) in self.read([FrameTransform(size, filter, jpeg_quality)]):
            yield frame

    def run(self, function: Callable[..., Any], *args: Any) -> Generator[Any, Any, Any]:
        """Run the generator function ``function(source, *args)`` in the process that decodes.

        ``function``, ``args``, the items and the result must be picklable.
        """
        generator: Generator[Any, Any, Any] = function(self, *args)
        return generator


class HeartbeatSource(FrameSource):
    """Wraps a source; ``heartbeat(frames so far, expected frames)`` is called for each frame."""

    def __init__(self, source: FrameSource, heartbeat: Callable[[int, int | None], object]) -> None:
        self.name, self.fps = source.name, source.fps
        self.expected_frames, self.audio_file = source.expected_frames, source.audio_file
        self._source, self._heartbeat, self._n_frames = source, heartbeat, 0

    @property
    def damaged_packets(self) -> int:  # type: ignore[override]
        return self._source.damaged_packets

    @property
    def mended_frames(self) -> int:  # type: ignore[override]
        return self._source.mended_frames

    def read(self, transforms: Sequence[FrameTransform]) -> Iterator[tuple[Frame, ...]]:
        for frames in self._source.read(transforms):
            self._n_frames += 1
            self.heartbeat()
            yield frames

    def heartbeat(self) -> None:
        """Report the progress so far."""
        self._heartbeat(self._n_frames, self.expected_frames)
