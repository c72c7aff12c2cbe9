"""Where in the picture it is odd: in words, and as a rectangle in pixels."""

from __future__ import annotations

import numpy as np

from oddframe.timeline import Box, IntArray, ScoreTrack

_ACROSS, _DOWN = ("left", "centre", "right"), ("top", "middle", "bottom")


def in_words(where: Box) -> str:
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


def in_pixels(where: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """The rectangle's left, top, right, bottom in a picture of that size."""
    left, top, right, bottom = where
    return round(left * width), round(top * height), round(right * width), round(bottom * height)


def oddest_tiles(track: ScoreTrack) -> IntArray:
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
