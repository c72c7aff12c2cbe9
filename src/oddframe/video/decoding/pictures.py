"""Videos without time stamps: folders of pictures and arrays of frames; reading picture files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageOps

from oddframe._utils.files import is_file, open_regular_file
from oddframe.errors import InputError, UsageError
from oddframe.video.decoding.scale import Scaler
from oddframe.video.frame import DEFAULT_FPS, Frame, FrameSource, FrameTransform, Image

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm"})


def natural_sort_key(path: PurePath) -> list[tuple[int, int, str]]:
    """Sort key that orders ``frame2`` before ``frame10``."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(0, int(p), p) if p.isdecimal() else (1, 0, p.casefold()) for p in parts if p]


def pictures_in(folder: Path) -> list[Path]:
    """The pictures directly in a folder, in natural order of their names."""
    try:
        entries = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror})") from None
    named = (path for path in entries if path.suffix.lower() in PICTURE_SUFFIXES)
    return sorted(filter(is_file, named), key=natural_sort_key)


class FrameFolder(FrameSource):
    """A folder of pictures; an unreadable picture counts as damaged and leaves its time empty."""

    def __init__(self, folder: Path, fps: float | None = None) -> None:
        self.name, self.fps = str(folder), fps or DEFAULT_FPS
        self._files = pictures_in(folder)
        self.expected_frames = len(self._files)
        if not self._files:
            raise InputError(f"{folder}: neither a video nor a picture in this folder")

    def read(self, transforms: Sequence[FrameTransform]) -> Iterator[tuple[Frame, ...]]:
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


class ArraySource(FrameSource):
    """An array (N, H, W, 3) or an iterable of arrays (H, W, 3); an iterator is read only once."""

    def __init__(
        self, frames: NDArray[np.uint8] | Iterable[NDArray[np.uint8]], fps: float | None = None
    ) -> None:
        self.name = "the array" if isinstance(frames, np.ndarray) else "the frames"
        self.fps = fps or DEFAULT_FPS
        if isinstance(frames, np.ndarray | list | tuple):
            self.expected_frames = len(frames)
        self._frames = frames
        if isinstance(frames, np.ndarray):
            if frames.ndim != 4:
                raise UsageError(f"a video array is (frames, height, width, 3), not {frames.shape}")
            if len(frames) == 0:
                raise InputError("the array holds no frames")
            check_image(frames[0])

    def read(self, transforms: Sequence[FrameTransform]) -> Iterator[tuple[Frame, ...]]:
        scalers = [Scaler(transform) for transform in transforms]
        number = -1
        for number, image in enumerate(self._frames):
            check_image(image)
            time_s = number / self.fps
            yield tuple(Frame(partial(scaler.scale_rgb, image), time_s) for scaler in scalers)
        if number < 0:
            raise InputError(f"{self.name}: no frame in it (an iterator can be read only once)")


def check_image(image: Image) -> None:
    """UsageError if an array is not a picture (height, width, 3) RGB uint8."""
    shape, kind = getattr(image, "shape", None), getattr(image, "dtype", None)
    if shape is None or len(shape) != 3 or shape[2] != 3 or 0 in shape or kind != np.uint8:
        raise UsageError(f"a frame is (height, width, 3) RGB uint8, not {shape} {kind}")


def read_picture(file: Path) -> Image:
    """Read a picture file as (h, w, 3), turned as its EXIF orientation says.

    16 bits become 8, and transparent pixels black.
    """
    with open_picture(file) as picture:
        picture.load()
        return _to_rgb(ImageOps.exif_transpose(picture))


@contextmanager
def open_picture(file: Path, purpose: str = "") -> Iterator[PillowImage.Image]:
    """Open a picture file; exceptions in the block become InputErrors of the file.

    ``purpose`` is for the message: `` as a mask``.
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
