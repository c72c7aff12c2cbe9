"""The background of a video as a vector, to distinguish places.

Histograms of gradients (Dalal and Triggs, CVPR 2005) of the median of a few pictures: where edges
are and which side of them is brighter, but not how bright, so that it survives changes of light and
people who pass by.
"""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from oddframe.errors import OddframeError
from oddframe.features.store import FeatureStore
from oddframe.files import write_bytes
from oddframe.video.sample import sample

Background = NDArray[np.float32]

_READ, _SIZE = (192, 144), (96, 72)  # Width and height, in pixels.
_CELL, _DIRECTIONS = 8, 8
LENGTH = (_SIZE[0] // _CELL) * (_SIZE[1] // _CELL) * _DIRECTIONS
# Grey levels: up to the first, bars beside the picture are black; edges well below the second count
# for little.
_BLACK, _FAINT = 24, 5.0
_VERSION = 1  # Of what is kept: another number for every other way of making it.


def background(path: Path) -> Background:
    """(LENGTH,) the background of a video: zero mean, unit length; all 0 where nothing is seen.

    Black bars are cut off: videos with the same bars would look alike.

    Raises:
        InputError: no picture of the video can be read.
    """
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in sample(path, _READ)]
    still = _without_bars(np.median(grey, axis=0).astype(np.uint8))
    small = cv2.resize(still, _SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)
    x, y = cv2.Sobel(small, cv2.CV_32F, 1, 0), cv2.Sobel(small, cv2.CV_32F, 0, 1)
    turn = np.arctan2(y, x) / (2 * np.pi) + 1
    direction = (turn * _DIRECTIONS).astype(int) % _DIRECTIONS
    cells = (_SIZE[0] // _CELL, _SIZE[1] // _CELL)
    seen = np.stack(
        [
            cv2.resize(np.hypot(x, y) * (direction == i), cells, interpolation=cv2.INTER_AREA)
            for i in range(_DIRECTIONS)
        ]
    )
    flat = (seen / (np.sqrt((seen**2).sum(axis=0)) + _FAINT)).ravel()
    flat -= flat.mean()
    return np.asarray(flat / max(float(np.linalg.norm(flat)), 1e-6), dtype=np.float32)


def kept_background(path: Path, sha256: str, store: FeatureStore) -> Background:
    """As ``background``, but a video that was looked at before is not decoded again.

    Args:
        path: The video.
        sha256: Of its content.
        store: In its folder it is kept, one small file a video.

    Raises:
        InputError: no picture of the video can be read.
    """
    file = store.root / sha256[:2] / f"{sha256}-background{_VERSION}.npy"
    with suppress(OSError, ValueError, EOFError):
        kept = np.load(file, allow_pickle=False).astype(np.float32)
        if kept.shape == (LENGTH,) and np.isfinite(kept).all():
            return np.asarray(kept, dtype=np.float32)
    found = background(path)
    data = io.BytesIO()
    np.save(data, found.astype(np.float16), allow_pickle=False)
    with suppress(OddframeError):  # It only saves time.
        write_bytes(file, data.getvalue())
    return found


def _without_bars(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    bright = picture > _BLACK
    rows, columns = (np.flatnonzero(bright.mean(axis=axis) > 0.02) for axis in (1, 0))
    # Half of the picture in the dark is night, not bars.
    if len(rows) < picture.shape[0] / 2 or len(columns) < picture.shape[1] / 2:
        return picture
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
