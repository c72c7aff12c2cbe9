"""Converts decoded pictures to RGB arrays of a given size."""

from __future__ import annotations

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from PIL import Image as PillowImage

from oddframe.errors import OddframeError
from oddframe.video.frame import FrameTransform, Image

# Planar 4:2:0, the format of nearly every camera. Scaling its planes and then converting the small
# picture takes a third of the time of doing both in one step, and is closer to scaling in RGB.
_PLANAR = frozenset({"yuv420p", "yuvj420p"})
# By default, swscale halves the chroma resolution when it scales RGB.
_FULL_COLOUR = (
    Interpolation.BICUBIC
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.ACCURATE_RND
)


# Longest side (pixels) of a picture whose size is not given: a damaged file may claim any size.
_MAX_SIDE = 8192


class Scaler:
    """Scales pictures to one size and reuses swscale's contexts from picture to picture."""

    def __init__(self, transform: FrameTransform) -> None:
        self._size = transform.size
        self._filter = transform.filter
        self._jpeg_quality = transform.jpeg_quality
        self._max_pixels = transform.max_pixels
        self._resize, self._convert = VideoReformatter(), VideoReformatter()

    def scale_decoded(self, picture: av.VideoFrame) -> Image:
        """Convert a decoded frame to (h, w, 3) RGB, turned as its rotation says."""
        turns = quarter_turns(picture)
        width, height = picture.width, picture.height
        upright = (height, width) if turns % 2 else (width, height)
        if self._size is None:
            self._size = _limit_size(*upright, self._max_pixels)
        if self._size != upright and (self._filter == "lanczos" or self._jpeg_quality):
            return self.scale_rgb(_rotate(self._to_rgb(picture), turns))
        if self._size != upright:
            width, height = self._size[::-1] if turns % 2 else self._size
            if picture.format.name in _PLANAR:
                picture = self._resize.reformat(
                    picture, width, height, interpolation=Interpolation.BICUBIC, threads=1
                )
        image = self._to_rgb(picture, width, height)
        return self._jpeg_round_trip(_rotate(image, turns))

    def scale_rgb(self, image: Image) -> Image:
        """Scale an RGB picture (h, w, 3)."""
        height, width = image.shape[:2]
        if self._size is None:
            self._size = _limit_size(width, height, self._max_pixels)
        image = self._jpeg_round_trip(image)
        if self._size == (width, height):
            return image
        if self._filter == "lanczos":
            picture = PillowImage.fromarray(image)
            return np.asarray(picture.resize(self._size, PillowImage.Resampling.LANCZOS))
        source = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        resized = self._resize.reformat(source, *self._size, interpolation=_FULL_COLOUR, threads=1)
        return np.asarray(resized.to_ndarray(), dtype=np.uint8)

    def _to_rgb(
        self, picture: av.VideoFrame, width: int | None = None, height: int | None = None
    ) -> Image:
        converted = self._convert.reformat(
            picture, width, height, "rgb24", interpolation=Interpolation.BICUBIC, threads=1
        )
        return np.asarray(converted.to_ndarray(), dtype=np.uint8)

    def _jpeg_round_trip(self, image: Image) -> Image:
        if not self._jpeg_quality:
            return image
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, self._jpeg_quality])
        if not done:
            raise OddframeError(f"OpenCV could not write a picture of {image.shape} as JPEG")
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), dtype=np.uint8)


def _limit_size(width: int, height: int, max_pixels: int | None) -> tuple[int, int]:
    scale = min(1.0, _MAX_SIDE / max(width, height))
    if max_pixels is not None:
        scale = min(scale, (max_pixels / (width * height)) ** 0.5)
    return max(1, round(width * scale)), max(1, round(height * scale))


def quarter_turns(picture: av.VideoFrame) -> int:
    """By how many right angles anticlockwise a decoded frame is turned to be shown, 0 to 3."""
    return round(picture.rotation / 90) % 4


def _rotate(image: Image, turns: int) -> Image:
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
