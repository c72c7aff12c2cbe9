"""Single frames of a video, caught as it passes by."""

from __future__ import annotations

from collections.abc import Iterable

from oddframe.outputs.picture import Picture, even_size, fit


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
        self._shown: Picture | None = None

    @property
    def done(self) -> bool:
        """Whether no later frame can change anything."""
        return not self._waiting

    def add(self, image: Picture, time_s: float) -> None:
        """Take the next frame (h, w, 3) RGB, first shown at ``time_s``."""
        # Time stamps are rounded: a frame that comes a moment after the instant is meant by it.
        while self._waiting and self._waiting[-1] < time_s - 1e-6:
            self._catch(image if self._shown is None else self._shown)
        self._shown = image

    def close(self, whole: bool = True) -> None:
        """The video is over: instants after it get its last frame."""
        while whole and self._waiting and self._shown is not None:
            self._catch(self._shown)

    def _catch(self, image: Picture) -> None:
        height, width = image.shape[:2]
        size = even_size(width, height, self._longest)
        self.images[self._waiting.pop()] = fit(image, *size).copy()
