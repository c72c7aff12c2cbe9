"""The motion square: the smallest square of the picture that holds most of a snippet's motion.

An event is often small in the picture. In a square that is cut from the frames before they are
resized, the backbone sees it several times as large as in the whole picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import cv2
import numpy as np
from numpy.typing import NDArray

from oddframe.timeline import Box
from oddframe.video.frame import Image

# Sides of the squares to try, smallest first, as shares of the picture's short side.
SQUARE_SIDES = (0.35, 0.50, 0.65, 0.80, 1.00)
# Share of the motion that a square must hold.
_HELD_SHARE = 0.6
# Share of the motion that each of several small squares must hold; less is what blur left.
_LEAST_SHARE = 0.02
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)

# Short side (pixels) of the grey frames in which motion is found.
_ANALYSIS_SIDE = 96
# Standard deviation of the blur of the motion map, as a share of the short side.
_BLUR = 0.05
# Changes of less than this many grey levels, or this many times the median change, are noise.
NOISE_LEVELS, _NOISE_MEDIANS = 2.0, 3.0
# Grey levels that the blurred motion must reach somewhere; else nothing moves.
LEAST_MOTION = 0.3
# Camera shake: shifts of less than this many pixels are not corrected. Shifts of more than this
# share of the short side are not shake.
_LEAST_SHIFT, _LARGEST_SHIFT = 0.1, 0.1

Floats = NDArray[np.float32]


def max_motion_pixels(crop_side: int) -> int:
    """Largest number of pixels of a frame from which motion squares are cut.

    With so many, the smallest square of a frame up to twice as wide as high still has ``crop_side``
    pixels a side. Larger frames would take memory and add no detail.
    """
    return 2 * round(crop_side / SQUARE_SIDES[0]) ** 2


@dataclass(frozen=True)
class Changes:
    """What changes between the frames of a snippet, in small grey frames (T, h, w)."""

    grey: Floats
    # (T - 1, h, w) grey levels above the noise, without changes of the whole picture.
    moved: Floats

    def motion(self) -> Floats:
        """(h, w) mean change of each place, in grey levels, blurred."""
        if not len(self.moved):
            return np.zeros(self.grey.shape[1:], np.float32)
        return blur(self.moved.mean(axis=0))


def find_changes(frames: Sequence[Image]) -> Changes:
    """Find what changes between the frames of a snippet."""
    grey = np.stack([_small_grey(frame) for frame in frames])
    if len(grey) < 2:
        return Changes(grey, np.zeros((0, *grey.shape[1:]), np.float32))
    changes = np.abs(_residuals(grey[:-1], grey[1:]))
    noise = np.maximum(NOISE_LEVELS, _NOISE_MEDIANS * _medians(changes))
    return Changes(grey, np.maximum(changes - noise, 0))


def blur(motion: Floats) -> Floats:
    """Blur a map (h, w) at about the size of a small object."""
    return np.asarray(cv2.GaussianBlur(motion, (0, 0), _BLUR * min(motion.shape)), np.float32)


def find_motion(frames: Sequence[Image], changes: Changes | None = None) -> Box:
    """Find the smallest square that holds 60 % of the motion in the frames of a snippet.

    Motion is the change from frame to frame, after changes of the whole picture are removed:
    brightness, contrast and shifts (camera shake). The square is in shares of width and height:
    the whole picture if nothing moves, or if no square as large as the short side holds 60 %.
    ``changes``: of ``find_changes``, where they are known.
    """
    height, width = frames[0].shape[:2]
    motion = (changes or find_changes(frames)).motion()
    if motion.max(initial=0.0) < LEAST_MOTION:
        return WHOLE
    enough = _HELD_SHARE * motion.sum(dtype=np.float64)
    for share in SQUARE_SIDES:
        box, _, held = _best_square(motion, share, height, width)
        if held >= enough:
            return box
    return WHOLE


def find_squares(frames: Sequence[Image], count: int, changes: Changes | None = None) -> list[Box]:
    """Find ``count`` small squares with the most motion, one after the other.

    Their side is 35 % of the picture's short side. Each is where most of the motion is that the
    squares before it do not cover. Where less moves, squares are repeated; where nothing moves, all
    are the whole picture.
    """
    height, width = frames[0].shape[:2]
    motion = (changes or find_changes(frames)).motion()
    enough = _LEAST_SHARE * motion.sum(dtype=np.float64)
    found: list[Box] = []
    while len(found) < count and motion.max(initial=0.0) >= LEAST_MOTION:
        box, place, held = _best_square(motion, SQUARE_SIDES[0], height, width)
        if held < enough:
            break
        found.append(box)
        motion[place] = 0
    return list(islice(cycle(found or [WHOLE]), count))


def _best_square(
    motion: Floats, share: float, height: int, width: int
) -> tuple[Box, tuple[slice, slice], float]:
    """The square of a picture with the most motion, its place in the map ``motion``, and how much.

    Its side is a share of the short side of the picture, (height, width) in pixels.
    """
    rows, columns = motion.shape
    # Sizes in pixels of the map, from those of the frames: the square is square in the frames.
    side = max(1, round(share * min(height, width)))
    h, w = max(1, round(side * rows / height)), max(1, round(side * columns / width))
    sums = cv2.integral(motion, sdepth=cv2.CV_64F)
    held = sums[h:, w:] - sums[:-h, w:] - sums[h:, :-w] + sums[:-h, :-w]
    top, left = (int(i) for i in np.unravel_index(int(held.argmax()), held.shape))
    y = min(round(top * height / rows), height - side)
    x = min(round(left * width / columns), width - side)
    box = x / width, y / height, (x + side) / width, (y + side) / height
    place = slice(top, top + h), slice(left, left + w)
    return box, place, float(held[top, left])


def cut_box(frames: Sequence[Image], box: Box, crop_size: tuple[int, int]) -> Image:
    """Cut a box from each frame and scale it to ``crop_size`` (width, height): (T, h, w, 3)."""
    rows, columns = frames[0].shape[:2]
    left, top, right, bottom = (
        round(share * side) for share, side in zip(box, (columns, rows) * 2, strict=True)
    )
    shrinks = right - left >= crop_size[0] and bottom - top >= crop_size[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    parts = (np.ascontiguousarray(frame[top:bottom, left:right]) for frame in frames)
    return np.stack([cv2.resize(part, crop_size, interpolation=how) for part in parts])


def _small_grey(frame: Image) -> Floats:
    height, width = frame.shape[:2]
    scale = min(1.0, _ANALYSIS_SIDE / min(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))


def _residuals(before: Floats, after: Floats) -> Floats:
    """(N, h, w) change from each frame to the next, without changes of the whole picture.

    Contrast and shift are corrected only if that makes the mean change smaller, because a large
    object near the camera may be mistaken for the scene.
    """
    best = _without_median(after - before)
    spread, spread_after = before.std(axis=(1, 2)), after.std(axis=(1, 2))
    gain = np.where(spread_after > 0, spread / np.maximum(spread_after, 1e-6), 1.0)
    gain = np.clip(gain, 0.5, 2.0).astype(np.float32)[:, None, None]
    best = _smaller(best, _without_median(after * gain - before))
    return _smaller(best, _without_median(_shifted_back(before, after) * gain - before))


def _shifted_back(before: Floats, after: Floats) -> Floats:
    """``after``, each frame shifted so that the scene is where it is in ``before``.

    Pixels that come from outside the frame are those of ``before``.
    """
    height, width = before.shape[1:]
    moved = after.copy()
    if min(height, width) < 2:
        return moved
    window = cv2.createHanningWindow((width, height), cv2.CV_32F)
    largest = _LARGEST_SHIFT * min(height, width)
    for number, (one, other) in enumerate(zip(before, after, strict=True)):
        # Copies: frames of some sizes are multiplied by the window, in place.
        (dx, dy), _ = cv2.phaseCorrelate(one.copy(), other.copy(), window)
        if not _LEAST_SHIFT <= max(abs(dx), abs(dy)) <= largest:
            continue
        back = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
        flags, border = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_TRANSPARENT
        moved[number] = cv2.warpAffine(other, back, (width, height), one.copy(), flags, border)
    return moved


def _without_median(changes: Floats) -> Floats:
    return changes - _medians(changes)


def _medians(changes: Floats) -> Floats:
    """(N, 1, 1) median of every second pixel in both directions."""
    return np.median(changes[:, ::2, ::2], axis=(1, 2), keepdims=True).astype(np.float32)


def _smaller(one: Floats, other: Floats) -> Floats:
    """For each frame the change that is smaller on average."""
    is_less = np.abs(other).mean(axis=(1, 2)) < np.abs(one).mean(axis=(1, 2))
    return np.where(is_less[:, None, None], other, one)
