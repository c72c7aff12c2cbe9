"""Single frames of a video, caught as it passes by."""

from __future__ import annotations

from collections.abc import Iterable

from oddframe.outputs.picture import Picture, even_size, fit
from oddframe.video.frame import Frame


class KeyFrames:
    """Catches the frame that is on the screen at each of some instants.

    Frames are fed in order of time with ``add``; ``images`` then has a small copy for each instant.

    Args:
        seconds: The instants. Before the first frame: the first; after the last: the last.
        longest: Longest side of the copies, pixels.
    """

    def __init__(self, seconds: Iterable[float], longest: int) -> None:
        self.images: dict[float, Picture] = {}
        self._waiting = sorted(set(seconds), reverse=True)
        self._longest = longest
        self._shown: Frame | None = None

    @property
    def done(self) -> bool:
        """Whether no later frame can change anything."""
        return not self._waiting

    def add(self, frame: Frame) -> None:
        """Take the next frame; its picture is only made if it is caught."""
        # Time stamps are rounded: a frame that comes a moment after the instant is meant by it.
        while self._waiting and self._waiting[-1] < frame.time_s - 1e-6:
            self._catch(self._shown or frame)
        self._shown = frame

    def close(self, whole: bool = True) -> None:
        """The video is over: instants after it get its last frame."""
        while whole and self._waiting and self._shown is not None:
            self._catch(self._shown)

    def _catch(self, frame: Frame) -> None:
        image = frame.image
        size = even_size(image.shape[1], image.shape[0], self._longest)
        # A copy: the frame itself may be large, and is not ours to keep.
        self.images[self._waiting.pop()] = fit(image, *size).copy()
