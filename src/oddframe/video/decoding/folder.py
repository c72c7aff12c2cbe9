"""A folder of pictures, one a frame."""

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
from oddframe.video.frame import ConstantRateSource, Frame, Image
from oddframe.video.snippets.transforms import FrameTransform

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm"})


def natural_sort_key(path: PurePath) -> list[tuple[int, int, str]]:
    """Sorting key by which ``frame2`` comes before ``frame10``."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(0, int(p), p) if p.isdecimal() else (1, 0, p.casefold()) for p in parts if p]


def pictures_in(folder: Path) -> list[Path]:
    """The pictures directly in a folder, in the order of their names, numbers by their value.

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


class FrameFolder(ConstantRateSource):
    """A folder of pictures as a ``FrameSource``; one that cannot be read counts as damaged.

    Raises:
        InputError: there is no picture in it.
    """

    def __init__(self, folder: Path, fps: float | None = None) -> None:
        super().__init__(str(folder), fps)
        self._files = pictures_in(folder)
        if not self._files:
            raise InputError(f"{folder}: neither a video nor a picture in this folder")

    @property
    def expected_frames(self) -> int | None:
        """Number of pictures."""
        return len(self._files)

    def read(self, read: Sequence[FrameTransform]) -> Iterator[tuple[Frame, ...]]:
        """The frames, see ``FrameSource.looks``; a damaged picture leaves its time free."""
        self.damaged_packets = 0
        scalers = [Scaler(look) for look in read]
        empty = True
        for number, file in enumerate(self._files):
            try:
                image = read_picture(file)
            except InputError:
                self.damaged_packets += 1
                continue
            if empty:
                first, empty = number, False
            time_s = (number - first) / self.fps
            yield tuple(Frame(partial(scaler.scale_rgb, image), time_s) for scaler in scalers)
        if empty:
            raise InputError(
                f"{self.name}: no picture could be read ({self.damaged_packets} damaged ones)"
            )


def read_picture(file: Path) -> Image:
    """A picture file -> (h, w, 3) RGB, uint8.

    Grey becomes RGB, 16 bits become 8, what is transparent becomes black, and a camera's
    orientation mark is honoured.

    Raises:
        InputError: it cannot be read.
    """
    with open_picture(file) as picture:
        picture.load()
        return _rgb(ImageOps.exif_transpose(picture))


@contextmanager
def open_picture(file: Path, purpose: str = "") -> Iterator[PillowImage.Image]:
    """Open a picture file; what fails in the block fails because of the picture.

    Args:
        file: The file.
        purpose: What it is read for, for the error: `` as a mask``.

    Raises:
        InputError: it cannot be read.
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


def _rgb(picture: PillowImage.Image) -> Image:
    if picture.mode.startswith(("I", "F")):
        deep = np.asarray(picture, dtype=np.float64)
        # Pillow keeps 16-bit grey as numbers up to 65,535; its own conversion cuts them at 255.
        grey = (np.clip(deep, 0, 65_535) / 257).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if picture.has_transparency_data:
        black = PillowImage.new("RGBA", picture.size, (0, 0, 0, 255))
        picture = PillowImage.alpha_composite(black, picture.convert("RGBA"))
    return np.asarray(picture.convert("RGB"))
