"""Scaling, framing, lettering: what several pictures share."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFont

Picture = NDArray[np.uint8]

# One set of colours for figure, page and video (RGB).
BLUE = (47, 111, 222)
RED = (214, 48, 49)
GREEN = (32, 148, 88)
PINK = (250, 200, 211)


def even_size(width: int, height: int, most: int, least: int = 2) -> tuple[int, int]:
    """A size of the same shape that fits into ``most`` x ``most``, both sides even.

    Pictures narrower than ``least`` grow to it, as far as ``most`` lets them.
    """
    scale = min(1.0, most / width, most / height)
    if width * scale < least:
        scale = min(least / width, most / height)
    return (max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2))


def fit(image: Picture, width: int, height: int) -> Picture:
    """``image`` (h, w, 3) scaled into (height, width, 3), black bars where its shape differs."""
    h, w = image.shape[:2]
    if (h, w) == (height, width):
        return image
    scale = min(width / w, height / h)
    inner = (max(1, round(w * scale)), max(1, round(h * scale)))
    # Even sizes are a pixel off the true shape: that is no reason for a bar.
    if abs(h * width / w - height) <= 1 or abs(w * height / h - width) <= 1:
        inner = (width, height)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(image, inner, interpolation=how), dtype=np.uint8)
    if inner == (width, height):
        return small
    canvas = np.zeros((height, width, 3), dtype=np.uint8)
    x, y = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas[y : y + inner[1], x : x + inner[0]] = small
    return canvas


def jpeg(image: Picture, quality: int = 82) -> bytes:
    """An RGB picture as a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


@lru_cache(maxsize=16)
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib: the same letters on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)
