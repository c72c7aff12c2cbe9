"""``Preprocessing``: how snippets are cut from a video, and the crops that it names.

A crop is the part of a frame that the backbone sees. All values have limits: files contain them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import Annotated, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from oddframe._utils.parsing import format_validation_error
from oddframe.errors import UsageError
from oddframe.timeline import Timebase
from oddframe.video.frame import FrameTransform, Image, ResamplingFilter
from oddframe.video.snippets.motion import max_motion_pixels

# Limits for configurations, command lines, models and feature files.
MAX_FEATURE_DIM = 1_000_000
MAX_SNIPPET_FRAMES = 1024
_MAX_SIDE = 16_384
_MAX_PIXELS = 2**23  # A little more than 3840x2160.
MAX_SNIPPET_PIXELS = 2**28  # Three bytes each.
_MAX_CROPS = 99 * 99


def _check_area(size: tuple[int, int]) -> tuple[int, int]:
    if size[0] * size[1] > _MAX_PIXELS:
        raise ValueError(f"{size[0]}x{size[1]} are more than {_MAX_PIXELS:,} pixels")
    return size


_Side = Annotated[int, Field(ge=0, le=_MAX_SIDE)]
Size = Annotated[tuple[_Side, _Side], AfterValidator(_check_area)]
JpegQuality = Annotated[int, Field(ge=0, le=100)]
CropNames = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[a-z0-9_]+$", max_length=64)], ...],
    Field(min_length=1, max_length=_MAX_CROPS),
]
SnippetFrames = Annotated[int, Field(ge=1, le=MAX_SNIPPET_FRAMES)]
Stride = Annotated[int, Field(ge=1, le=1_000_000)]
SamplingRate = Annotated[float, Field(ge=0.001, le=1000, allow_inf_nan=False)]


class PreprocessingFields(BaseModel):
    """The fields of ``Preprocessing`` with their limits, for validation."""

    model_config = ConfigDict(extra="forbid")

    resize: Size
    filter: ResamplingFilter
    jpeg_quality: JpegQuality
    crop_size: Size
    crops: CropNames
    snippet_frames: SnippetFrames
    stride: Stride
    rate: SamplingRate | None

    @model_validator(mode="after")
    def _check_snippet(self) -> PreprocessingFields:
        width, height = self.resize
        if self.snippet_frames * width * height > MAX_SNIPPET_PIXELS:
            raise ValueError(
                f"a snippet of {self.snippet_frames} frames of {width}x{height} has more than "
                f"{MAX_SNIPPET_PIXELS:,} pixels"
            )
        return self


# Value of ``crops`` for features of the audio alone: no picture is decoded.
AUDIO_ONLY = ("sound",)


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How snippets are cut from a video.

    Attributes:
        resize: (width, height) in pixels to which each frame is resized first.
        filter: Resampling filter: ``bicubic`` (FFmpeg's swscale, antialiased, fast) or ``lanczos``
            (Pillow's, as in the published extractor).
        jpeg_quality: Quality of a JPEG round trip before resizing, as in the published extractor;
            0: none.
        crop_size: (width, height) of the backbone's input.
        crops: Names of the crops, in order: ``full``, ``center``, ``top_left`` ..., the mirrored
            ones, ``full_mirrored`` ...; ``motion``, the motion square (see ``motion.py``); or the
            tiles or regions of a grid; ``AUDIO_ONLY`` for features of the audio alone.
        snippet_frames: Number of frames (ticks) in a snippet.
        stride: Number of frames (ticks) from one snippet's start to the next one's.
        rate: Sampling rate in frames a second; None: the frame rate of each video.
    """

    resize: tuple[int, int] = (340, 256)
    filter: ResamplingFilter = "lanczos"
    jpeg_quality: int = 0
    crop_size: tuple[int, int] = (224, 224)
    crops: tuple[str, ...] = ("center",)
    snippet_frames: int = 16
    stride: int = 16
    rate: float | None = None

    @property
    def transforms(self) -> tuple[FrameTransform, ...]:
        """The transforms of a frame: one for crops, one that keeps the aspect ratio for motion."""
        found: tuple[FrameTransform, ...] = ()
        if not all(map(is_motion, self.crops)):
            found += (FrameTransform(self.resize, self.filter, self.jpeg_quality),)
        if has_motion(self.crops):
            pixels = max_motion_pixels(max(self.crop_size))
            found += (FrameTransform(None, self.filter, self.jpeg_quality, pixels),)
        return found

    @property
    def has_picture(self) -> bool:
        """Whether snippets contain pictures; False for audio alone."""
        return self.crops != AUDIO_ONLY

    def check(self) -> None:
        """Check all values against their limits; a UsageError names field, limit and value."""
        values = {f.name: getattr(self, f.name) for f in fields(Preprocessing)}
        try:
            PreprocessingFields.model_validate(values)
        except ValidationError as error:
            raise UsageError(
                format_validation_error(error, PreprocessingFields, (), "preprocessing")
            ) from None

    def step_s(self, fps: float) -> float:
        """Seconds from one snippet to the next in a video of ``fps`` frames a second."""
        return self.stride / (self.rate or fps)

    def without_picture(self) -> Preprocessing:
        """The preprocessing of the same snippets for audio alone, without picture settings."""
        return Preprocessing(
            resize=(0, 0),
            filter="bicubic",
            crop_size=(0, 0),
            crops=AUDIO_ONLY,
            snippet_frames=self.snippet_frames,
            stride=self.stride,
            rate=self.rate,
        )

    def timebase(
        self,
        fps: float,
        n_frames: int,
        pts: NDArray[np.float64] | None = None,
        start_s: float = 0.0,
        gaps: tuple[int, ...] = (),
    ) -> Timebase:
        """The timebase of a video of ``n_frames`` frames under this preprocessing."""
        sampling = self.snippet_frames, self.stride, self.rate
        return Timebase(fps, n_frames, *sampling, pts, start_s, gaps)


_PreprocessingT = TypeVar("_PreprocessingT", bound=Preprocessing)

# Position of a crop (x, y): 0 at the left or top edge, 1 at the right or bottom edge.
_POSITIONS = {
    "center": (0.5, 0.5),
    "top_left": (0.0, 0.0),
    "top_right": (1.0, 0.0),
    "bottom_left": (0.0, 1.0),
    "bottom_right": (1.0, 1.0),
}
_FULL = "full"
_MOTION = "motion"
_MIRRORED = "_mirrored"
# Largest number of rows or columns of a grid: the names of tiles have two digits for each.
MAX_GRID_LINES = 99
_CELL = re.compile(r"(?:tile|region)_([0-9]{1,2})_([0-9]{1,2})_of_([1-9][0-9]?)x([1-9][0-9]?)")
_SQUARE = re.compile(r"square_([1-9])_of_([1-9])")
MAX_SQUARES = 9
_GRID = re.compile(r"([1-9]\d?)x([1-9]\d?)")
_ORDERS = {
    "published": ("center", "top_left", "top_right", "bottom_left", "bottom_right"),
    "extractor": ("top_left", "top_right", "center", "bottom_left", "bottom_right"),
}


def crop_names(
    views: Literal[1, 5, 10], order: Literal["published", "extractor"] = "published"
) -> tuple[str, ...]:
    """Names of one crop (the centre), five (with the corners) or ten (also mirrored).

    Two orders are in use: the ``published`` feature files of UCF-Crime and XD-Violence have the
    centre first; the authors' ``extractor`` writes it third.
    """
    if views not in (1, 5, 10) or order not in _ORDERS:
        raise UsageError(
            f"views are 1, 5 or 10, in order published or extractor: not {views} {order}"
        )
    if views == 1:
        return ("center",)
    names = _ORDERS[order]
    return names if views == 5 else names + tuple(name + _MIRRORED for name in names)


def reorder_crops(
    crops: tuple[str, ...], order: Literal["published", "extractor"]
) -> tuple[str, ...]:
    """Bring the five or ten crops into another order; other crops have only one."""
    for views in (5, 10):
        if set(crops) == set(crop_names(views)):
            return crop_names(views, order)
    raise UsageError(f"an order is for the five or ten crops, not for {', '.join(crops)}")


def with_views(preprocessing: _PreprocessingT, views: Literal[1, 5, 10]) -> _PreprocessingT:
    """The same preprocessing with one, five or ten crops, in the order of the published files.

    If the single crop is the full frame, five or ten crops are cut from a frame that is resized to
    8/7 of the crop's size.
    """
    if has_motion(preprocessing.crops):
        raise UsageError("views are crops of the whole picture; the crop motion has no views")
    if preprocessing.crops[0] == _FULL and views == 1:
        return replace(preprocessing, resize=preprocessing.crop_size, crops=(_FULL,))
    larger = (round(preprocessing.crop_size[0] * 8 / 7), round(preprocessing.crop_size[1] * 8 / 7))
    resize = larger if preprocessing.resize == preprocessing.crop_size else preprocessing.resize
    return replace(preprocessing, resize=resize, crops=crop_names(views))


def with_tiles(preprocessing: _PreprocessingT, rows: int, columns: int) -> _PreprocessingT:
    """Cut the picture into ``rows`` x ``columns`` tiles, each as large as the backbone's input.

    A small object is ``columns`` times as wide in its tile as in the whole picture.
    """
    width, height = preprocessing.crop_size
    names = _grid_crops("tile", rows, columns)
    return replace(preprocessing, resize=(columns * width, rows * height), crops=names)


def with_regions(preprocessing: _PreprocessingT, rows: int, columns: int) -> _PreprocessingT:
    """Use the whole picture; the backbone cuts its feature map into ``rows`` x ``columns`` regions.

    All regions together take no longer to compute than the whole picture.
    """
    names = _grid_crops("region", rows, columns)
    return replace(preprocessing, resize=preprocessing.crop_size, crops=names)


def with_crops(preprocessing: _PreprocessingT, names: str) -> _PreprocessingT:
    """The same preprocessing with crops by name, separated by commas: ``full,motion``.

    If all are ``full``, ``motion`` or their mirror images, frames are resized to the crop's size.
    """
    crops = tuple(name.strip() for name in names.split(","))
    uncut = {name.removesuffix(_MIRRORED) for name in crops} <= {_FULL, _MOTION}
    resize = preprocessing.crop_size if uncut else preprocessing.resize
    changed = replace(preprocessing, crops=crops, resize=resize)
    check_crops(changed)
    return changed


def with_squares(preprocessing: _PreprocessingT, count: int) -> _PreprocessingT:
    """Cut ``count`` small motion squares from the picture (see ``find_squares``)."""
    return replace(preprocessing, resize=preprocessing.crop_size, crops=_square_crops(count))


def is_motion(name: str) -> bool:
    """Whether a crop is a motion square (see ``motion.py``) or its mirror image."""
    return name.removesuffix(_MIRRORED) == _MOTION or _SQUARE.fullmatch(name) is not None


def has_motion(crops: tuple[str, ...]) -> bool:
    """Whether one of the crops is a motion square."""
    return any(map(is_motion, crops))


def count_squares(crops: tuple[str, ...]) -> int:
    """How many small motion squares the crops are; 0 if they are others."""
    found = _SQUARE.fullmatch(crops[0])
    return 0 if found is None else int(found[2])


def boxes_shape(crops: tuple[str, ...], snippets: int = -1) -> tuple[int, ...]:
    """Shape of the boxes of motion squares: (snippets, 4), or (snippets, K, 4) for K small ones."""
    count = count_squares(crops)
    return (snippets, count, 4) if count else (snippets, 4)


def _square_crops(count: int) -> tuple[str, ...]:
    if not 1 <= count <= MAX_SQUARES:
        raise UsageError(f"motion squares are 1 to {MAX_SQUARES}, not {count}")
    return tuple(f"square_{i}_of_{count}" for i in range(1, count + 1))


def _grid_crops(what: str, rows: int, columns: int) -> tuple[str, ...]:
    if not (1 <= rows <= MAX_GRID_LINES and 1 <= columns <= MAX_GRID_LINES):
        raise UsageError(
            f"{what}s are rows x columns from 1x1 to {MAX_GRID_LINES}x{MAX_GRID_LINES}, "
            f"not {rows}x{columns}"
        )
    cells = ((r, c) for r in range(rows) for c in range(columns))
    return tuple(f"{what}_{r}_{c}_of_{rows}x{columns}" for r, c in cells)


def parse_grid(text: str) -> tuple[int, int]:
    """Parse ``2x3`` as (rows, columns) of tiles or regions."""
    found = _GRID.fullmatch(text.strip().lower())
    if found is None:
        raise UsageError(f"tiles and regions are rows x columns such as 2x3, not '{text}'")
    return int(found[1]), int(found[2])


def tile_grid(crops: tuple[str, ...]) -> tuple[int, int] | None:
    """(rows, columns) if ``crops`` are tiles or regions, row by row; else None.

    Small motion squares are one row.
    """
    if count := count_squares(crops):
        return 1, count
    found = _CELL.fullmatch(crops[0])
    return None if found is None else (int(found[3]), int(found[4]))


def region_grid(crops: tuple[str, ...]) -> tuple[int, int] | None:
    """(rows, columns) if ``crops`` are regions, row by row; else None."""
    return tile_grid(crops) if crops[0].startswith("region") else None


def crops_to_cut(crops: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the crops that are cut from a frame; regions need the full frame only."""
    return crops if region_grid(crops) is None else (_FULL,)


def _position(name: str) -> tuple[float, float] | None:
    """(x, y) of a crop, from 0 (left, top) to 1 (right, bottom); None: no such crop."""
    name = name.removesuffix(_MIRRORED)
    found = _CELL.fullmatch(name)
    if found is None or name.startswith("region"):
        return _POSITIONS.get(name)
    row, column, rows, columns = (int(part) for part in found.groups())
    if row >= rows or column >= columns:
        return None
    return column / max(1, columns - 1), row / max(1, rows - 1)


def check_crops(preprocessing: Preprocessing) -> None:
    """Check that all crops can be cut; UsageError if not."""
    crops, resize, crop_size = preprocessing.crops, preprocessing.resize, preprocessing.crop_size
    if not crops:
        raise UsageError("there must be at least one crop")
    preprocessing.check()
    if not preprocessing.has_picture:
        return
    if (grid := region_grid(crops)) and crops != _grid_crops("region", *grid):
        raise UsageError(f"regions must be complete and row by row, not {', '.join(crops)}")
    if (count := count_squares(crops)) and crops != _square_crops(count):
        raise UsageError(f"motion squares must be complete and in order, not {', '.join(crops)}")
    if has_motion(crops):
        _check_motion(preprocessing)
    for name in crops_to_cut(crops):
        full = name.removesuffix(_MIRRORED) == _FULL or is_motion(name)
        if not full and _position(name) is None:
            known = ", ".join((_FULL, _MOTION, *_POSITIONS, "tile_0_0_of_2x3"))
            raise UsageError(f"no crop is called {name}; known are {known} ...")
        if full and resize != crop_size:
            raise UsageError(
                f"the full frame is {resize}, but the crop size is "
                f"{crop_size}: make them equal, or crop the center"
            )
    if crop_size[0] > resize[0] or crop_size[1] > resize[1]:
        raise UsageError(f"crops of {crop_size} do not fit into frames of {resize}")


def _check_motion(preprocessing: Preprocessing) -> None:
    width, height = preprocessing.crop_size
    if width != height:
        raise UsageError(f"the crop {_MOTION} is a square, but the crop size is {width}x{height}")
    pixels = preprocessing.snippet_frames * max_motion_pixels(width)
    if pixels > MAX_SNIPPET_PIXELS:
        raise UsageError(
            f"a snippet of {preprocessing.snippet_frames} frames from which squares of {width} "
            f"pixels are cut has {pixels:,} pixels, more than {MAX_SNIPPET_PIXELS:,}"
        )


def cut_crop(frames: Image, name: str, crop_size: tuple[int, int]) -> Image:
    """Cut the crop ``name`` from frames (T, h, w, 3): a view (T, crop height, crop width, 3).

    ``top_left_mirrored`` is the top left of the mirrored frame, as in the authors' extractor.
    """
    if name.endswith(_MIRRORED):
        frames = frames[:, :, ::-1]
    position = _position(name)
    if position is None:
        return frames
    width, height = crop_size
    left = int((frames.shape[2] - width) * position[0])
    top = int((frames.shape[1] - height) * position[1])
    return frames[:, top : top + height, left : left + width]
