"""Converts a container's time stamps to strictly increasing seconds on a player's clock."""

from __future__ import annotations

# Matroska and Flash store milliseconds: a stamp and the origin are each off by at most 0.5 ms.
_COARSE_S = 1.5e-3
# Frames closer than this have the same time, up to rounding.
_SAME_TIME_S = 1e-6
# A step back by more than this means that the clock was reset, not that frames are out of order.
_RESTART_S = 1.0
# The longest time (s) that one frame is shown. Slow surveillance cameras record a frame about every
# five seconds, and one lost packet may cost all frames up to the next key frame, which is rarely
# ten seconds away; in a longer step nothing was recorded. Such a step is a gap in the time line,
# or a damaged stamp if it leads past the end of the container.
GAP_S = 10.0
# If the picture starts later than this (s) after the audio, their clocks differ.
MAX_AUDIO_LEAD_S = 3600.0


class FrameClock:
    """Computes when each frame is shown, given the frames' time stamps one by one.

    - The first frame is shown at its stamp minus ``origin_s``.
    - A frame without a stamp follows one frame interval after the previous frame.
    - A frame whose stamp is not later than the previous one follows half an interval after it. If
      the stamp is more than a second earlier, the clock was reset: the frame follows one interval
      after the previous one, and later stamps are shifted by the same amount.
    - A step of more than ten seconds is a gap in the time line. If it leads past the end of the
      container, the stamp counts as missing.
    - As long as all stamps are multiples of the frame interval, up to the rounding of a coarse time
      base, the exact multiples are used.

    ``origin_s`` is the time stamp of the player's second 0 (None: the first frame's). ``after_gap``
    tells whether a gap precedes the latest frame.
    """

    def __init__(
        self, fps: float, duration_s: float | None = None, origin_s: float | None = None
    ) -> None:
        self.after_gap = False
        self._fps, self._duration_s, self._origin_s = fps, duration_s, origin_s
        self._start_s = 0.0  # When the first frame is shown.
        self._first_stamp_s: float | None = None  # It is shifted when the clock is reset.
        # Times of the latest frame since the first one: as computed, and by its stamp.
        self._last_s: float | None = None
        self._last_stamp_s = 0.0
        self._on_grid = True

    def __call__(self, stamp_s: float | None) -> float:
        """Return when the next frame in display order is shown, in seconds."""
        interval_s = 1.0 / self._fps
        if self._last_s is None:
            self._first_stamp_s = stamp_s
            self._last_s = 0.0
            self._start_s = self._lead_s(stamp_s)
            return self._start_s
        stamp_time_s = time_s = self._since_first(stamp_s, self._last_s, interval_s)
        grid_s = round(time_s * self._fps) / self._fps
        if abs(time_s - grid_s) > min(_COARSE_S, interval_s / 8) or grid_s <= self._last_s:
            self._on_grid = False
        if self._on_grid:
            time_s = grid_s
        elif time_s < self._last_s + _SAME_TIME_S:
            # If the previous time was rounded up, the step between the stamps is still right.
            step_s = stamp_time_s - self._last_stamp_s
            is_valid = _SAME_TIME_S <= step_s < interval_s / 2
            time_s = self._last_s + (step_s if is_valid else interval_s / 2)
        self.after_gap = time_s - self._last_s > GAP_S
        self._last_s, self._last_stamp_s = time_s, stamp_time_s
        return self._start_s + time_s

    def _lead_s(self, stamp_s: float | None) -> float:
        """Seconds from the player's 0 to the first frame."""
        if stamp_s is None or self._origin_s is None:
            return 0.0
        lead_s = stamp_s - self._origin_s
        return lead_s if _COARSE_S < lead_s <= MAX_AUDIO_LEAD_S else 0.0

    def _since_first(self, stamp_s: float | None, last_s: float, interval_s: float) -> float:
        """Seconds from the first frame to a stamp; missing and damaged stamps are replaced."""
        if stamp_s is None:
            return last_s + interval_s
        if self._first_stamp_s is None:
            self._first_stamp_s = stamp_s - (last_s + interval_s)
        time_s = stamp_s - self._first_stamp_s
        if time_s < last_s - _RESTART_S:
            self._first_stamp_s = stamp_s - (last_s + interval_s)
            return last_s + interval_s
        past_end = self._duration_s is not None and time_s > self._duration_s + GAP_S
        if past_end and time_s > last_s + GAP_S:
            return last_s + interval_s
        return time_s
