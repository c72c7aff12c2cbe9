"""Masks: parts of the picture to ignore, such as a clock in the corner or a tree in the wind."""

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
from oddframe.video.decoding.pictures import PICTURE_SUFFIXES, open_picture
from oddframe.video.frame import Image

_DARK = 128
_MAX_PIXELS = 40_000_000  # A mask of 7680x4320 has 33 million.
_GREY = 128  # About zero once a backbone has scaled pixels to [-1, 1].


@dataclass(frozen=True)
class Mask:
    """The ignored pixels, (h, w) booleans; a mask is scaled to the frame that it is applied to."""

    ignored: NDArray[np.bool_]

    def __post_init__(self) -> None:
        object.__setattr__(self, "_scaled", lru_cache(maxsize=4)(self._scale))

    def __reduce__(self) -> tuple[type[Mask], tuple[NDArray[np.bool_]]]:
        return Mask, (self.ignored,)  # The cache cannot be pickled.

    @cached_property
    def digest(self) -> str:
        """Sixteen hex digits that identify shape and ignored pixels; "" if nothing is ignored."""
        if not self.ignored.any():
            return ""
        text = repr(self.ignored.shape).encode() + np.packbits(self.ignored).tobytes()
        return hashlib.sha256(text).hexdigest()[:16]

    def apply(self, image: Image) -> Image:
        """A copy of an RGB picture (h, w, 3) in which the ignored parts are mid-grey."""
        painted = image.copy()
        painted[self._scaled(*image.shape[:2])] = _GREY  # type: ignore[attr-defined]
        return painted

    def _scale(self, height: int, width: int) -> NDArray[np.bool_]:
        rows = ((np.arange(height) + 0.5) * self.ignored.shape[0] / height).astype(int)
        columns = ((np.arange(width) + 0.5) * self.ignored.shape[1] / width).astype(int)
        return self.ignored[np.ix_(rows, columns)]


@dataclass(frozen=True)
class Masks:
    """The masks of several videos: one for all of them, or one for each camera."""

    common: Mask | None = None  # For cameras without a mask of their own.
    by_camera: Mapping[str, Mask] = field(default_factory=dict)

    def for_video(self, video: Path) -> Mask | None:
        """The mask of the video at this path, or None."""
        return self.by_camera.get(camera_name(video), self.common)

    def digest_of(self, video: Path) -> str:
        """The digest of the video's mask; "" if nothing is ignored."""
        return mask_digest(self.for_video(video))


def mask_digest(mask: Mask | None) -> str:
    """The digest of a mask; "" for None."""
    return "" if mask is None else mask.digest


def read_masks(path: Path | None) -> Masks:
    """Read one mask for all videos, or a folder with a picture ``CAMERA.png`` for each camera."""
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
    """Read a picture whose dark (below 128) or fully transparent parts are to be ignored.

    It has the orientation and aspect ratio of the video as shown, and any size.

    Raises:
        InputError: the file is not a picture, or it ignores the whole video.
    """
    path = Path(path)
    if not exists(path):
        raise InputError(f"{path}: no such mask")
    with open_picture(path, " as a mask") as picture:
        if picture.width * picture.height > _MAX_PIXELS:
            raise ValueError(f"more than {_MAX_PIXELS:,} pixels")
        deep = picture.mode.startswith(("I", "F"))
        grey = np.asarray(picture) / 257 if deep else np.asarray(picture.convert("L"))
        alpha = np.asarray(picture.convert("RGBA"))[..., 3]
    ignored = (grey < _DARK) | (alpha == 0)
    if ignored.all():
        raise InputError(
            f"{path}: this mask ignores the whole picture; paint the parts to keep white"
        )
    return Mask(ignored)
