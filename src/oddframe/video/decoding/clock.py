"""A container's time stamps -> seconds on a player's clock that strictly increase."""

from __future__ import annotations

# Matroska and Flash keep milliseconds: a stamp and the origin are each half of one off at most.
_COARSE_S = 1.5e-3
# Frames closer than this have the same time, but for the rounding of floats.
_LEAST_S = 1e-6
# A step back by more than this is a clock that was set anew, not frames out of order.
_RESTART_S = 1.0
# The longest time (s) that one frame stands for. Slow surveillance cameras record a frame every
# five seconds or so, and one lost packet may cost all frames up to the next key frame, which is
# rarely ten seconds away; a longer step means that nothing was recorded. It is a gap in the time
# line, or a damaged stamp where it leads past the container's end.
GAP_S = 10.0
# The picture starts at most this long after the sound; if it is more, they have different clocks.
LONGEST_LEAD_S = 3600.0


class FrameClock:
    """Computes when each frame is shown, given the frames' time stamps one by one.

    The first frame is as far from 0 as its stamp is from ``origin_s``. A missing stamp: one frame
    interval after the last frame. A stamp that is not later than the last frame's: half an interval
    after it, unless it lies more than a second back: then the clock was set anew, the frame follows
    one interval after the last one, and so does the rest of the video. A leap of more than ten
    seconds past the end of the container counts as missing; a leap of more than ten seconds that
    stays inside is a gap in the time line. As long as all stamps are multiples of the frame
    interval but for the rounding of a coarse time base, that rounding is taken out.

    Args:
        fps: Average frame rate as the container states it.
        duration_s: Length of the picture as the container states it.
        origin_s: Second 0 of a player, as a time stamp; None: the first frame's.

    Attributes:
        after_gap: Whether there is a gap between the last two frames.
    """

    def __init__(
        self, fps: float, duration_s: float | None = None, origin_s: float | None = None
    ) -> None:
        self.after_gap = False
        self._fps = fps
        self._length_s = duration_s
        self._zero_s = origin_s
        self._start_s = 0.0
        # What follows counts from the first frame.
        self._origin: float | None = None
        self._last: float | None = None
        self._given = 0.0
        self._on_grid = True

    def __call__(self, stamp_s: float | None) -> float:
        """When the next frame in the order of showing is shown, in seconds."""
        interval = 1.0 / self._fps
        if self._last is None:
            self._origin = stamp_s
            self._last = 0.0
            self._start_s = self._lead(stamp_s)
            return self._start_s
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
        self.after_gap = time_s - self._last > GAP_S
        self._last, self._given = time_s, given_s
        return self._start_s + time_s

    def _lead(self, stamp_s: float | None) -> float:
        """Seconds from the player's 0 to the first frame."""
        if stamp_s is None or self._zero_s is None:
            return 0.0
        lead_s = stamp_s - self._zero_s
        return lead_s if _COARSE_S < lead_s <= LONGEST_LEAD_S else 0.0

    def _plausible(self, stamp_s: float | None, last: float, interval: float) -> float:
        if stamp_s is None:
            return last + interval
        if self._origin is None:
            self._origin = stamp_s - (last + interval)
        time_s = stamp_s - self._origin
        if time_s < last - _RESTART_S:
            self._origin = stamp_s - (last + interval)
            return last + interval
        past_end = self._length_s is not None and time_s > self._length_s + GAP_S
        if past_end and time_s > last + GAP_S:
            return last + interval
        return time_s
