"""A decoded picture -> an RGB array of the wished size."""

from __future__ import annotations

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from PIL import Image as PillowImage

from oddframe.errors import OddframeError
from oddframe.video.frame import Image
from oddframe.video.snippets.transforms import FrameTransform

# Planar 4:2:0, what nearly every camera writes. Scaling its planes and then converting the small
# picture takes a third of the time of doing both in one step, and comes closer to scaling in RGB.
_PLANAR = frozenset({"yuv420p", "yuvj420p"})
# swscale halves the colour's resolution on the way from RGB to RGB unless told not to.
_FULL_COLOUR = (
    Interpolation.BICUBIC
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.ACCURATE_RND
)


# Longest side (pixels) of a picture of no wished size: no video is larger, but a file may claim so.
_LONGEST_SIDE = 8192


class Scaler:
    """Brings pictures to one size; keeps swscale's contexts from picture to picture.

    Without a wished size that is the first picture's, but at most 8192 pixels wide and high.

    ``bicubic`` is swscale's, ``lanczos`` Pillow's on the full RGB picture.
    """

    def __init__(self, transform: FrameTransform) -> None:
        self._size = transform.size
        self._filter = transform.filter
        self._jpeg_quality = transform.jpeg_quality
        self._resize, self._convert = VideoReformatter(), VideoReformatter()

    def scale_decoded(self, picture: av.VideoFrame, quarter_turns: int = 0) -> Image:
        """A decoder's frame, turned anticlockwise by ``turns`` right angles -> (h, w, 3) RGB."""
        width, height = picture.width, picture.height
        upright = (height, width) if quarter_turns % 2 else (width, height)
        if self._size is None:
            self._size = _bounded(*upright)
        if self._size != upright and (self._filter == "lanczos" or self._jpeg_quality):
            return self.scale_rgb(_turned(self._to_rgb(picture), quarter_turns))
        if self._size != upright:
            width, height = self._size[::-1] if quarter_turns % 2 else self._size
            if picture.format.name in _PLANAR:
                picture = self._resize.reformat(
                    picture, width, height, interpolation=Interpolation.BICUBIC, threads=1
                )
        image = self._to_rgb(picture, width, height)
        return self._through_jpeg(_turned(image, quarter_turns))

    def scale_rgb(self, image: Image) -> Image:
        """An RGB picture (h, w, 3) -> the same at the wished size."""
        height, width = image.shape[:2]
        if self._size is None:
            self._size = _bounded(width, height)
        image = self._through_jpeg(image)
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

    def _through_jpeg(self, image: Image) -> Image:
        if not self._jpeg_quality:
            return image
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, self._jpeg_quality])
        if not done:
            raise OddframeError(f"OpenCV could not write a picture of {image.shape} as JPEG")
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), dtype=np.uint8)


def _bounded(width: int, height: int) -> tuple[int, int]:
    share = min(1.0, _LONGEST_SIDE / max(width, height))
    return max(1, round(width * share)), max(1, round(height * share))


def _turned(image: Image, quarter_turns: int) -> Image:
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns % 4 else image
