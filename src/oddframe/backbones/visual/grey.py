"""The backbones ``grey_...``: no network, the grey frames of a snippet themselves.

Methods that look at frames and not at features (Hasan et al. 2016, Lu et al. 2013) read these. A
snippet's feature is its pixels in [0, 1], frame after frame, row after row, so that one kind has
one size of frame and number of frames: both are in its name.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from oddframe.backbones.base import BackboneSpec, VisualEncoder
from oddframe.backbones.engines import Runtime
from oddframe.errors import UsageError
from oddframe.video.snippets.transforms import Preprocessing


class GreySpec(BackboneSpec):
    """Grey frames as they are.

    Args:
        frames: Of a snippet, which follow each other without overlap unless the stride is changed.
        height: Of a frame, pixels.
        width: Of a frame, pixels.
    """

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

    def weights(self) -> Path:
        """There are none; this stands for them."""
        return Path(self.name)

    def sha256(self, weights: Path) -> str:  # noqa: ARG002
        """``none``: there are no weights that pixels could depend on."""
        return "none"

    def load(self, weights: Path, preprocessing: Preprocessing, runtime: Runtime) -> VisualEncoder:  # noqa: ARG002
        """See ``Kind.load``.

        Raises:
            UsageError: weights are given, or snippets of another length or size are asked for.
        """
        if weights != self.weights():
            raise UsageError(f"{self.name} has no weights; leave {weights} out")
        if (preprocessing.crop_size, preprocessing.snippet_frames) != (
            self.preprocessing.crop_size,
            self.preprocessing.snippet_frames,
        ):
            width, height = self.preprocessing.crop_size
            other = "x".join(map(str, preprocessing.crop_size))
            raise UsageError(
                f"{self.name} takes snippets of {self.preprocessing.snippet_frames} frames of "
                f"{width}x{height}, not {preprocessing.snippet_frames} of {other}; "
                "leave snippet_frames, resize and crop_size out"
            )
        return VisualEncoder(grey_pixels)


def grey_pixels(snippets: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, frames, height, width, 3) uint8, RGB -> (N, frames * height * width) grey in [0, 1]."""
    n, frames, height, width, _ = snippets.shape
    rows = np.ascontiguousarray(snippets).reshape(n, frames * height, width, 3)
    grey = np.stack([cv2.cvtColor(row, cv2.COLOR_RGB2GRAY) for row in rows])
    return grey.reshape(n, -1).astype(np.float32) / np.float32(255)
