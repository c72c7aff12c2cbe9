"""Seconds as people read them, and round ticks for a time axis.

Where in the picture it is odd: in words, and as a rectangle in pixels.
"""

from __future__ import annotations

import numpy as np

from oddframe.timeline import Box, IntArray, ScoreTrack

# What a person would choose to count a time axis in, seconds.
_TICKS = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400),
)


def format_clock(seconds: float, decimals: int = 0, hours: bool = False) -> str:
    """``m:ss``, or ``h:mm:ss`` from an hour on; ``decimals`` digits of a second: ``1:02.5``.

    With ``format_hours``, hours are always there: ``0:01:02``.
    """
    units = 10**decimals
    total = round(max(0.0, seconds) * units)
    whole, part = divmod(total, units)
    minutes, second = divmod(whole, 60)
    hour, minute = divmod(minutes, 60)
    text = f"{hour}:{minute:02d}:{second:02d}" if hour or hours else f"{minute}:{second:02d}"
    return f"{text}.{part:0{decimals}d}" if decimals else text


def format_duration(seconds: float) -> str:
    """A duration for a sentence: ``0.04 s``, ``9.5 s``, ``48 s``, ``5:48 min``, ``1:02:03 h``."""
    if round(seconds) < 60:
        digits = 2 if seconds < 1 else 1 if seconds < 10 else 0
        return f"{seconds:.{digits}f} s"
    return f"{format_clock(seconds)} {'h' if round(seconds) >= 3600 else 'min'}"


def tick_step(duration_s: float, max_ticks: int) -> float:
    """The finest round step, in seconds, that puts at most ``most`` ticks on ``duration_s``."""
    for step in _TICKS:
        if duration_s / step <= max_ticks:
            return step
    return 86400.0 * -(-duration_s // (86400 * max_ticks))


_ACROSS, _DOWN = ("left", "centre", "right"), ("top", "middle", "bottom")


def describe_box(where: Box) -> str:
    """``top left``, ``bottom``, ``centre``; empty for the whole picture.

    A side is named where the rectangle lies mostly in that third of the picture, and is left out
    where the rectangle spans the picture in that direction.
    """
    left, top, right, bottom = where
    down = "" if bottom - top > 0.99 else _DOWN[min(2, int(1.5 * (top + bottom)))]
    across = "" if right - left > 0.99 else _ACROSS[min(2, int(1.5 * (left + right)))]
    if (down, across) == ("middle", "centre"):
        return "centre"
    if down and across == "centre" and down != "middle":
        return down
    return " ".join(word for word in (down, across) if word)


def box_in_pixels(where: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """The rectangle's left, top, right, bottom in a picture of that size."""
    left, top, right, bottom = where
    return round(left * width), round(top * height), round(right * width), round(bottom * height)


def top_tiles(track: ScoreTrack) -> IntArray:
    """(n_frames,) the oddest tile at each frame.

    Raises:
        ValueError: the model did not look at tiles.
    """
    if track.tiles is None:
        raise ValueError("these scores have no tiles")
    highest = np.full(track.timebase.n_frames, -np.inf)
    oddest = np.zeros(track.timebase.n_frames, dtype=np.int64)
    for number, scores in enumerate(track.tiles.scores):
        frames = track.timebase.to_frames(scores)
        oddest[frames > highest] = number
        highest = np.maximum(highest, frames)
    return oddest
