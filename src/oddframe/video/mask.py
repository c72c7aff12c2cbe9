"""Parts of the picture to ignore: a clock in the corner, a tree in the wind, the street outside."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oddframe._utils.files import exists, is_dir
from oddframe.cameras import camera_name
from oddframe.errors import InputError
from oddframe.video.decoding.folder import PICTURE_SUFFIXES, open_picture
from oddframe.video.frame import Image

_DARK = 128
_MOST_PIXELS = 40_000_000  # A mask of 7680x4320 has 33 million.
_GREY = 128  # The middle of what a backbone sees: zero, once pixels are scaled to [-1, 1].


@dataclass(frozen=True)
class Mask:
    """Which pixels are ignored: (h, w) booleans, scaled to the frame that they are applied to."""

    ignored: NDArray[np.bool_]

    def __post_init__(self) -> None:
        object.__setattr__(self, "_scaled", lru_cache(maxsize=4)(self._scale))

    def __reduce__(self) -> tuple[type[Mask], tuple[NDArray[np.bool_]]]:
        return Mask, (self.ignored,)  # Without the cache, which cannot be pickled.

    @cached_property
    def digest(self) -> str:
        """Sixteen hex digits of the ignored pixels and the mask's size; "": it ignores nothing."""
        if not self.ignored.any():
            return ""
        text = repr(self.ignored.shape).encode() + np.packbits(self.ignored).tobytes()
        return hashlib.sha256(text).hexdigest()[:16]

    def apply(self, image: Image) -> Image:
        """A copy of an RGB picture (h, w, 3) with the ignored parts painted mid-grey."""
        painted = image.copy()
        painted[self._scaled(*image.shape[:2])] = _GREY  # type: ignore[attr-defined]
        return painted

    def _scale(self, height: int, width: int) -> NDArray[np.bool_]:
        mine = self.ignored
        rows = ((np.arange(height) + 0.5) * mine.shape[0] / height).astype(int)
        columns = ((np.arange(width) + 0.5) * mine.shape[1] / width).astype(int)
        return mine[np.ix_(rows, columns)]


@dataclass(frozen=True)
class Masks:
    """The mask of each video: one for all of them, or one for each camera.

    Attributes:
        common: Of every video whose camera has none of its own; None: none.
        by_camera: By the name of the folder that a camera's videos lie in.
    """

    common: Mask | None = None
    by_camera: Mapping[str, Mask] = field(default_factory=dict)

    def of(self, video: Path) -> Mask | None:
        """The mask of the video at this path, or None."""
        return self.by_camera.get(camera_name(video), self.common)

    def digest_of(self, video: Path) -> str:
        """The digest of that mask; "": nothing of the video is ignored."""
        return mask_digest(self.of(video))


def mask_digest(mask: Mask | None) -> str:
    """The digest of a mask; "" for none."""
    return "" if mask is None else mask.digest


def read_masks(path: Path | None) -> Masks:
    """Read one mask for all videos, or a folder ``CAMERA.png`` ... with one for each camera.

    Args:
        path: A picture, or a folder of pictures; None: no masks.

    Raises:
        InputError: a mask cannot be read, there is none in the folder, or a camera has two.
    """
    if path is None:
        return Masks()
    if not is_dir(path):
        return Masks(read_mask(path))
    masks: dict[str, Mask] = {}
    for file in sorted(path.iterdir()):
        if file.suffix.lower() not in PICTURE_SUFFIXES or file.name.startswith("."):
            continue
        if file.stem in masks:
            raise InputError(f"{path}: two masks of the camera {file.stem}; keep one of them")
        masks[file.stem] = read_mask(file)
    if not masks:
        raise InputError(f"{path}: no masks in it; it takes one picture a camera, CAMERA.png")
    return Masks(by_camera=masks)


def read_mask(path: str | Path) -> Mask:
    """Read a picture whose black (below 128) or fully transparent parts are to be ignored.

    Its orientation and shape are those of the video as it is shown; any size does.

    Raises:
        InputError: it is not a picture, or it ignores all of the video.
    """
    path = Path(path)
    if not exists(path):
        raise InputError(f"{path}: no such mask")
    with open_picture(path, " as a mask") as picture:
        if picture.width * picture.height > _MOST_PIXELS:
            raise ValueError(f"more than {_MOST_PIXELS:,} pixels")
        deep = picture.mode.startswith(("I", "F"))
        grey = np.asarray(picture) / 257 if deep else np.asarray(picture.convert("L"))
        alpha = np.asarray(picture.convert("RGBA"))[..., 3]
    ignored = (grey < _DARK) | (alpha == 0)
    if ignored.all():
        raise InputError(
            f"{path}: this mask ignores the whole picture; paint white what to look at"
        )
    return Mask(ignored)
