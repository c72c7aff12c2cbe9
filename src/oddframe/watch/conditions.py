"""Notices what is wrong with a camera's pictures: frozen, a clock that stands, another size."""

from __future__ import annotations

import math

import av
import numpy as np

from oddframe.video.decoding.scale import Scaler
from oddframe.video.frame import FrameTransform, Image
from oddframe.watch.reader_protocol import Condition

# A picture is compared with the one before in so many points; sensors are never so still.
_POINTS = (32, 24)
_FROZEN_DIFFERENCE = 0.02  # Mean difference of grey values, of 255.
RESOLUTION_CHANGED = "resolution changed"


class ConditionMonitor:
    """Says once when a condition begins, and once when it is over.

    Args:
        frozen_s: A picture that has not changed for so long is frozen.
    """

    def __init__(self, frozen_s: float) -> None:
        self._still = _StillPicture(frozen_s)
        self._lasting: set[str] = set()
        self._size: tuple[int, int] | None = None

    def check(
        self, picture: av.VideoFrame, time_s: float, is_clock_stopped: bool
    ) -> list[Condition]:
        """What has changed with the next picture, which is shown at ``time_s``."""
        changes = []
        size, before = (picture.width, picture.height), self._size
        self._size = size
        if before is not None and size != before:
            text = f"{before[0]}x{before[1]} before, now {size[0]}x{size[1]}"
            changes.append(Condition(RESOLUTION_CHANGED, text))
        still_s = self._still.add(picture, time_s)
        frozen = f"the same picture for {still_s:.0f} s" if still_s is not None else ""
        changes += self._set("frozen", frozen, "the picture moves again")
        stopped = "its time stamps stand still; times are those of the arrival"
        stopped *= is_clock_stopped
        return changes + self._set("clock stopped", stopped, "its clock goes again")

    def _set(self, name: str, text: str, over: str) -> list[Condition]:
        if bool(text) == (name in self._lasting):
            return []
        self._lasting ^= {name}
        return [Condition(name, text) if text else Condition("online", over)]


class _StillPicture:
    """Notices that a picture does not change any more."""

    def __init__(self, frozen_s: float) -> None:
        self._frozen_s = frozen_s
        self._scaler = Scaler(FrameTransform(size=_POINTS))
        self._last: Image | None = None
        self._changed_s = self._looked_s = -math.inf

    def add(self, picture: av.VideoFrame, time_s: float) -> float | None:
        """For how long the picture has been still, if that is too long."""
        if time_s - self._looked_s >= min(1.0, self._frozen_s / 4):
            self._looked_s = time_s
            image = self._scaler.scale_decoded(picture)
            last, self._last = self._last, image
            if last is None or np.abs(image.astype(np.int16) - last).mean() > _FROZEN_DIFFERENCE:
                self._changed_s = time_s
        still_s = time_s - self._changed_s
        return still_s if still_s >= self._frozen_s else None
