"""The time of a camera: from its own clock while that goes, else from when pictures arrive."""

from __future__ import annotations

import math

from oddframe.video.decoding.clock import FrameClock

# A clock that has not moved for so long, while pictures came, has stopped (s).
STOPPED_S = 3.0
_MIN_STEP_S = 1e-3
_BUCKET_S = 300.0


class CameraClock:
    """When each picture of a connection is shown, in seconds of the camera's time.

    Args:
        fps: Pictures a second, about.
        base_s: Time of the first picture.
        after_s: Every time is later than this.
        has_stamps: Whether the camera sends times at all; else the arrival counts.
    """

    def __init__(
        self, fps: float, base_s: float, after_s: float = -math.inf, has_stamps: bool = True
    ) -> None:
        self.is_stopped = False
        self._fps, self._base_s, self._last_s = fps, base_s, after_s
        self._has_stamps = has_stamps
        self._clock = FrameClock(fps)
        self._stamp_s: float | None = None
        # Time and arrival of the latest picture whose stamp was another than that before it, and
        # of the latest whose stamp was not.
        self._moved: tuple[float, float] | None = None
        self._stood_s = -math.inf

    def __call__(self, stamp_s: float | None, arrived_s: float) -> float:
        """The time of the next picture by its stamp and by when it arrived, on any clock."""
        if self._moved is None:
            self._moved = self._base_s, arrived_s
        moves = stamp_s is not None and stamp_s != self._stamp_s
        self._stamp_s = stamp_s
        if not moves:
            self._stood_s = arrived_s
        if not self._has_stamps:
            return self._later(self._base_s + arrived_s - self._moved[1])
        if not self.is_stopped:
            self.is_stopped = arrived_s - self._moved[1] >= STOPPED_S and not moves
        elif arrived_s - self._stood_s >= STOPPED_S:
            self.is_stopped = False
            self._clock = FrameClock(self._fps)
            self._base_s = self._moved[0] + arrived_s - self._moved[1]
        if self.is_stopped:
            return self._later(self._moved[0] + arrived_s - self._moved[1])
        time_s = self._later(self._base_s + self._clock(stamp_s))
        if moves:
            self._moved = time_s, arrived_s
        return time_s

    def _later(self, time_s: float) -> float:
        self._last_s = max(time_s, self._last_s + _MIN_STEP_S)
        return self._last_s


class WallClock:
    """How far the machine's clock is ahead of the camera's time, by the pictures with least delay.

    The least delay of the last minutes counts, so that a camera whose clock is a little fast or
    slow stays right.
    """

    def __init__(self) -> None:
        self._least = self._before = math.inf
        self._since_s = -math.inf

    @property
    def offset_s(self) -> float:
        """Wall clock = camera's time + offset."""
        least = min(self._least, self._before)
        return least if math.isfinite(least) else 0.0

    def add(self, time_s: float, wall_s: float) -> None:
        """Add a picture that has just arrived."""
        if wall_s - self._since_s > _BUCKET_S:
            self._before, self._least, self._since_s = self._least, math.inf, wall_s
        self._least = min(self._least, wall_s - time_s)
