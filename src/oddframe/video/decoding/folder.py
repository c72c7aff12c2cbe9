"""Folders of pictures, one for each frame, and reading picture files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePath

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageOps

from oddframe._utils.files import is_file, open_regular_file
from oddframe.errors import InputError
from oddframe.video.decoding.scale import Scaler
from oddframe.video.frame import DEFAULT_FPS, Frame, FrameSource, FrameTransform, Image

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm"})


def natural_sort_key(path: PurePath) -> list[tuple[int, int, str]]:
    """Sort key that orders ``frame2`` before ``frame10``."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(0, int(p), p) if p.isdecimal() else (1, 0, p.casefold()) for p in parts if p]


def pictures_in(folder: Path) -> list[Path]:
    """The pictures directly in a folder, in natural order of their names.

    Raises:
        InputError: the folder cannot be listed.
    """
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror})") from None
    names = (p for p in entries if p.suffix.lower() in PICTURE_SUFFIXES)
    return sorted(
        (p for p in names if is_file(p) and not p.name.startswith(".")), key=natural_sort_key
    )


class FrameFolder(FrameSource):
    """A ``FrameSource`` of a folder of pictures; unreadable pictures count as damaged.

    Raises:
        InputError: the folder contains no picture.
    """

    def __init__(self, folder: Path, fps: float | None = None) -> None:
        self.name, self.fps = str(folder), fps or DEFAULT_FPS
        self._files = pictures_in(folder)
        self.expected_frames = len(self._files)
        if not self._files:
            raise InputError(f"{folder}: neither a video nor a picture in this folder")

    def read(self, transforms: Sequence[FrameTransform]) -> Iterator[tuple[Frame, ...]]:
        """Yield the frames, see ``FrameSource.read``; a damaged picture leaves its time empty."""
        self.damaged_packets = 0
        scalers = [Scaler(transform) for transform in transforms]
        first: int | None = None
        for number, file in enumerate(self._files):
            try:
                image = read_picture(file)
            except InputError:
                self.damaged_packets += 1
                continue
            first = number if first is None else first
            time_s = (number - first) / self.fps
            yield tuple(Frame(partial(scaler.scale_rgb, image), time_s) for scaler in scalers)
        if first is None:
            raise InputError(
                f"{self.name}: no picture could be read ({self.damaged_packets} damaged ones)"
            )


def read_picture(file: Path) -> Image:
    """Read a picture file as (h, w, 3) RGB, uint8.

    Grey is converted to RGB, 16 bits to 8, and transparent pixels to black; the picture is turned
    as its EXIF orientation says.

    Raises:
        InputError: the file cannot be read.
    """
    with open_picture(file) as picture:
        picture.load()
        return _to_rgb(ImageOps.exif_transpose(picture))


@contextmanager
def open_picture(file: Path, purpose: str = "") -> Iterator[PillowImage.Image]:
    """Open a picture file; exceptions in the block are reported as errors of the picture.

    Args:
        file: The file.
        purpose: For the error message: `` as a mask``.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with open_regular_file(file) as data, PillowImage.open(data) as picture:
            yield picture
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{file}: its picture needs more memory than there is for it") from None
    except Exception as error:  # Pillow's decoders raise errors of any type.
        raise InputError(f"{file}: not a picture that can be read{purpose} ({error})") from None


def _to_rgb(picture: PillowImage.Image) -> Image:
    if picture.mode.startswith(("I", "F")):
        deep = np.asarray(picture, dtype=np.float64)
        # Pillow stores 16-bit grey as numbers up to 65,535; its own conversion clips them at 255.
        grey = (np.clip(deep, 0, 65_535) / 257).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if picture.has_transparency_data:
        black = PillowImage.new("RGBA", picture.size, (0, 0, 0, 255))
        picture = PillowImage.alpha_composite(black, picture.convert("RGBA"))
    return np.asarray(picture.convert("RGB"))
