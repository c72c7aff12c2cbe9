"""The backbones ``grey_...``: no network, but the grey pixels of a snippet's frames as its feature.

Methods that read frames instead of features use these (Hasan et al., CVPR 2016; Lu et al., ICCV
2013). The number and the size of the frames are fixed, and part of the name.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from oddframe.backbones.base import BackboneSpec, VisualEncoder
from oddframe.backbones.engines import Runtime
from oddframe.errors import UsageError
from oddframe.video.snippets.preprocessing import Preprocessing


class GreySpec(BackboneSpec):
    """The grey pixels of frames; by default snippets do not overlap."""

    weights_origin = "none"

    def __init__(self, frames: int, height: int, width: int):
        self.name = f"grey_{frames}x{height}x{width}"
        self.title = f"{frames} grey frames of {width}x{height} pixels"
        self.dim = frames * height * width
        size = (width, height)
        self.preprocessing = Preprocessing(
            resize=size,
            filter="bicubic",
            crop_size=size,
            crops=("full",),
            snippet_frames=frames,
            stride=frames,
        )

    def find_weights(self) -> Path:
        return Path(self.name)

    def hash_weights(self, weights: Path | None = None) -> str:  # noqa: ARG002
        return "none"

    def load(
        self,
        weights: Path,
        preprocessing: Preprocessing,
        runtime: Runtime,  # noqa: ARG002
    ) -> VisualEncoder:
        if weights != self.find_weights():
            raise UsageError(f"{self.name} has no weights; leave {weights} out")
        width, height = self.preprocessing.crop_size
        frames = self.preprocessing.snippet_frames
        given = preprocessing.crop_size
        if (given, preprocessing.snippet_frames) != ((width, height), frames):
            raise UsageError(
                f"{self.name} takes snippets of {frames} frames of {width}x{height}, not "
                f"{preprocessing.snippet_frames} of {given[0]}x{given[1]}; leave snippet_frames, "
                "resize and crop_size out"
            )
        return VisualEncoder(grey_pixels)


GREY_10X96X96 = GreySpec(10, 96, 96)
GREY_10X227X227 = GreySpec(10, 227, 227)
GREY_5X120X160 = GreySpec(5, 120, 160)


def grey_pixels(snippets: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, frames, height, width, 3) uint8, RGB -> (N, frames * height * width) grey in [0, 1]."""
    n, frames, height, width, _ = snippets.shape
    rows = np.ascontiguousarray(snippets).reshape(n, frames * height, width, 3)
    grey = np.stack([cv2.cvtColor(row, cv2.COLOR_RGB2GRAY) for row in rows])
    return grey.reshape(n, -1).astype(np.float32) / np.float32(255)
