"""The heat of a snippet: where in the picture something moves much and irregularly.

Heat is change times flow. Change alone is as high where a person walks past close to the camera, or
where a bright sign flickers, as in a fight; irregular flow alone is noise on plain surfaces.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from oddframe.video.frame import FrameTransform
from oddframe.video.snippets.motion import (
    LEAST_MOTION,
    NOISE_LEVELS,
    Changes,
    Floats,
    blur,
)

# Each half of a snippet has its own map: a fast object crosses the whole picture in one snippet.
HEAT_PARTS, HEAT_ROWS, HEAT_COLUMNS = 2, 18, 24
HEAT_SHAPE = HEAT_PARTS, HEAT_ROWS, HEAT_COLUMNS
# Whole frames for heat, where a backbone's frames are squashed or cropped; twice the grey ones.
HEAT_TRANSFORM = FrameTransform(None, "bicubic", 0, 256 * 256)
# Grey levels that count as much as any larger change: else contrast decides.
_LARGEST_CHANGE = 20.0
# Finest scale of the optical flow: half the size of the grey frames. The preset's quarter is too
# coarse for small objects; the full size takes three times as long.
_FINEST_SCALE = 1
# Sides (pixels) of grey frames for which flow can be computed.
_LEAST_SIDE = 32


def find_heat(changes: Changes) -> NDArray[np.uint8]:
    """(HEAT_PARTS, HEAT_ROWS, HEAT_COLUMNS) heat of both halves of a snippet.

    The highest value of each half is 255; all are 0 where nothing moves.
    """
    heat = np.zeros(HEAT_SHAPE, np.uint8)
    if not len(changes.moved):
        return heat
    # Shake is corrected in ``moved``, so that a sign drawn over a shaking picture moves there. It
    # does not move in the frames themselves.
    drawn = np.maximum(np.abs(np.diff(changes.grey, axis=0)) - NOISE_LEVELS, 0)
    moved = np.minimum(np.minimum(drawn, changes.moved), _LARGEST_CHANGE)
    if not moved.any():
        return heat
    flow = _relative_flow(changes.grey)
    parts = [part for part in np.array_split(np.arange(len(moved)), HEAT_PARTS) if len(part)]
    for number in range(HEAT_PARTS):
        part = slice(parts[number % len(parts)][0], parts[number % len(parts)][-1] + 1)
        motion = moved[part].mean(axis=0)
        if blur(motion).max() < LEAST_MOTION:
            continue
        # Speed, and how much it differs from frame to frame.
        speed = np.sqrt((flow[part] ** 2).sum(axis=-1)).mean(axis=0)
        hot = blur((speed + flow[part].std(axis=0).sum(axis=-1)) * motion)
        cells = cv2.resize(hot, (HEAT_COLUMNS, HEAT_ROWS), interpolation=cv2.INTER_AREA)
        if (highest := float(cells.max())) > 0:
            heat[number] = np.round(cells * (255 / highest))
    return heat


def _relative_flow(grey: Floats) -> Floats:
    """(T - 1, h, w, 2) flow in pixels a frame, relative to that of most of the picture."""
    if min(grey.shape[1:]) < _LEAST_SIDE:
        return np.ones((len(grey) - 1, *grey.shape[1:], 2), np.float32)
    # A new object for each snippet, because DIS starts from the last flow that it computed.
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    dis.setFinestScale(_FINEST_SCALE)
    empty = np.empty(0, np.float32)
    levels = grey.astype(np.uint8)
    flow = np.stack([np.asarray(dis.calc(*pair, empty), np.float32) for pair in pairwise(levels)])
    median = np.median(flow[:, ::2, ::2], axis=(1, 2), keepdims=True)
    return np.asarray(flow - median, np.float32)
