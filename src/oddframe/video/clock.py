"""A container's time stamps -> seconds from the first frame that strictly increase."""

from __future__ import annotations

# Matroska and Flash keep milliseconds: a stamp and the origin are each half of one off at most.
_COARSE_S = 1.5e-3
# Frames closer than this have the same time, but for the rounding of floats.
_LEAST_S = 1e-6
# A step back by more than this is a clock that was set anew, not frames out of order.
_RESTART_S = 1.0
# A step forward by more than this is a damaged stamp where it leads past the container's end.
_LEAP_S = 10.0


class FrameClock:
    """Says when each frame is shown, given the frames' time stamps one by one.

    The first frame is at 0. A missing stamp: one frame interval after the last frame. A stamp that
    is not later than the last frame's: half an interval after it, unless it lies more than a second
    back: then the clock was set anew, the frame follows one interval after the last one, and so
    does the rest of the video. A leap of more than ten seconds past the end of the container counts
    as missing. As long as all stamps are multiples of the frame interval but for the rounding of a
    coarse time base, that rounding is taken out.
    """

    def __init__(self, fps: float, duration_s: float | None = None) -> None:
        self._fps = fps
        self._end_s = duration_s
        self._origin: float | None = None
        self._last: float | None = None
        self._given = 0.0
        self._on_grid = True

    def __call__(self, stamp_s: float | None) -> float:
        """Seconds since the first frame, for the next frame in the order of showing."""
        interval = 1.0 / self._fps
        if self._last is None:
            self._origin = stamp_s
            self._last = 0.0
            return 0.0
        given_s = time_s = self._plausible(stamp_s, self._last, interval)
        grid_s = round(time_s * self._fps) / self._fps
        if abs(time_s - grid_s) > min(_COARSE_S, interval / 8) or grid_s <= self._last:
            self._on_grid = False
        if self._on_grid:
            time_s = grid_s
        elif time_s < self._last + _LEAST_S:
            # Where the last time was rounded up, the step between the stamps themselves is good.
            step_s = given_s - self._given
            good = _LEAST_S <= step_s < interval / 2
            time_s = self._last + (step_s if good else interval / 2)
        self._last, self._given = time_s, given_s
        return time_s

    def _plausible(self, stamp_s: float | None, last: float, interval: float) -> float:
        if stamp_s is None:
            return last + interval
        if self._origin is None:
            self._origin = stamp_s - (last + interval)
        time_s = stamp_s - self._origin
        if time_s < last - _RESTART_S:
            self._origin = stamp_s - (last + interval)
            return last + interval
        past_end = self._end_s is not None and time_s > self._end_s + _LEAP_S
        if past_end and time_s > last + _LEAP_S:
            return last + interval
        return time_s
