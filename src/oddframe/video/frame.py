"""What every source of frames gives: frames with times, and where they come from."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from oddframe.video.snippets.transforms import FrameTransform, ResamplingFilter

Image = NDArray[np.uint8]

# For frames that come without time stamps: arrays, iterators, folders of pictures.
DEFAULT_FPS = 25.0


class Frame:
    """One frame of a video: its picture and when it is first shown.

    The picture is made when it is first asked for, so that a frame that no snippet looks at costs
    no conversion and no resizing.

    Attributes:
        time_s: When it is first shown, in seconds as a player counts them.
        after_gap: Whether the video's clock leaps before it, see ``clock.GAP_S``.
    """

    __slots__ = ("__weakref__", "_image", "_make", "after_gap", "time_s")

    def __init__(
        self, image: Image | Callable[[], Image], time_s: float, after_gap: bool = False
    ) -> None:
        self.time_s = time_s
        self.after_gap = after_gap
        self._image: Image | None = None if callable(image) else image
        self._make: Callable[[], Image] | None = image if callable(image) else None

    @property
    def image(self) -> Image:
        """(h, w, 3) RGB, uint8; not to be written to."""
        if self._image is None:
            assert self._make is not None
            self._image, self._make = self._make(), None
        return self._image


class FrameSource(Protocol):
    """A video, whatever it is kept in.

    Attributes:
        name: What to call it in a message: the path as it was given.
        damaged_packets: Packets that gave no picture (pictures of a folder), so far.
        mended_frames: Frames that were decoded with errors and are used all the same, so far.
    """

    name: str
    damaged_packets: int
    mended_frames: int

    @property
    def fps(self) -> float:
        """Average frame rate, the best that is known before the video has been read."""

    @property
    def expected_frames(self) -> int | None:
        """About how many frames there will be; None where nothing says so."""

    @property
    def audio_file(self) -> Path | None:
        """The file that the video's sound is in, if there is any; None: surely none."""

    def read(self, read: Sequence[FrameTransform]) -> Iterator[tuple[Frame, ...]]:
        """The frames in the order of showing, each in every look: the video is decoded once.

        Args:
            read: What to do to each frame. A size of None is that of the first frame (at most 8192
                pixels wide and high), to which later frames of another size are brought.

        Yields:
            For each frame of the video one ``Frame`` a look, all of one ``time_s``, which strictly
            increases.

        Raises:
            InputError: there is not one picture, or what is there cannot be read.
        """

    def frames(
        self,
        size: tuple[int, int] | None = None,
        filter: ResamplingFilter = "bicubic",
        jpeg_quality: int = 0,
    ) -> Iterator[Frame]:
        """The frames in one look: see ``looks`` and ``Look``."""
        for (frame,) in self.read([FrameTransform(size, filter, jpeg_quality)]):
            yield frame

    def run(self, function: Callable[..., Any], *args: Any) -> Generator[Any, Any, Any]:
        """Run ``function(source, *args)``, a generator function, where the video is decoded.

        That is here, or in a child process: see ``video/supervised.py``. ``function``, ``args``,
        the items and the result must be picklable.
        """
        made: Generator[Any, Any, Any] = function(self, *args)
        return made


class HeartbeatSource(FrameSource):
    """A video that calls ``heartbeat`` with each frame that it gives.

    Args:
        source: The video.
        heartbeat: Called with (frames so far, frames expected or None).
    """

    def __init__(self, source: FrameSource, heartbeat: Callable[[int, int | None], object]) -> None:
        self.name = source.name
        self._source, self._heartbeat, self._frames = source, heartbeat, 0

    @property
    def damaged_packets(self) -> int:  # type: ignore[override]
        """Of the video."""
        return self._source.damaged_packets

    @property
    def mended_frames(self) -> int:  # type: ignore[override]
        """Of the video."""
        return self._source.mended_frames

    @property
    def fps(self) -> float:
        """Of the video."""
        return self._source.fps

    @property
    def expected_frames(self) -> int | None:
        """Of the video."""
        return self._source.expected_frames

    @property
    def audio_file(self) -> Path | None:
        """Of the video."""
        return self._source.audio_file

    def read(self, read: Sequence[FrameTransform]) -> Iterator[tuple[Frame, ...]]:
        """Those of the video, see ``FrameSource.looks``."""
        for frames in self._source.read(read):
            self._frames += 1
            self.heartbeat()
            yield frames

    def heartbeat(self) -> None:
        """Call ``heartbeat``."""
        self._heartbeat(self._frames, self._source.expected_frames)


class ConstantRateSource(FrameSource):
    """Frames that come without time stamps and without sound: so many a second.

    Args:
        name: See ``FrameSource``.
        fps: How many; None: 25.
    """

    def __init__(self, name: str, fps: float | None) -> None:
        self.name = name
        self.damaged_packets = self.mended_frames = 0
        self._fps = fps or DEFAULT_FPS

    @property
    def fps(self) -> float:
        """As it was given, else 25."""
        return self._fps

    @property
    def audio_file(self) -> None:
        """There is none."""
        return
