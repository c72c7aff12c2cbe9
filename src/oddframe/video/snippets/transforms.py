"""How a video becomes snippets: size, filter, crops, snippet length, stride and rate."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from oddframe._utils.yaml_files import format_validation_error
from oddframe.errors import UsageError
from oddframe.timeline import Timebase

ResamplingFilter = Literal["bicubic", "lanczos"]

# Limits of what a configuration, a command, a model or a feature file may ask for.
MAX_FEATURE_DIM = 1_000_000  # Numbers of a feature.
MAX_SNIPPET_FRAMES = 1024
_MOST_SIDE = 16_384
_MOST_PIXELS = 2**23  # A little more than 3840x2160.
_MOST_SNIPPET_PIXELS = 2**28  # Three bytes each.
_MOST_CROPS = 99 * 99


def _check_area(size: tuple[int, int]) -> tuple[int, int]:
    if size[0] * size[1] > _MOST_PIXELS:
        raise ValueError(f"{size[0]}x{size[1]} are more than {_MOST_PIXELS:,} pixels")
    return size


_Side = Annotated[int, Field(ge=0, le=_MOST_SIDE)]
Size = Annotated[tuple[_Side, _Side], AfterValidator(_check_area)]
JpegQuality = Annotated[int, Field(ge=0, le=100)]
CropNames = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[a-z0-9_]+$", max_length=64)], ...],
    Field(min_length=1, max_length=_MOST_CROPS),
]
SnippetFrames = Annotated[int, Field(ge=1, le=MAX_SNIPPET_FRAMES)]
Stride = Annotated[int, Field(ge=1, le=1_000_000)]
SamplingRate = Annotated[float, Field(ge=0.001, le=1000, allow_inf_nan=False)]


class PreprocessingFields(BaseModel):
    """The fields of ``Preprocessing`` with their limits, to check values against."""

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
        if self.snippet_frames * width * height > _MOST_SNIPPET_PIXELS:
            raise ValueError(
                f"a snippet of {self.snippet_frames} frames of {width}x{height} has more than "
                f"{_MOST_SNIPPET_PIXELS:,} pixels"
            )
        return self


# In the place of crops: nothing looks at the picture, the features are of the sound alone.
AUDIO_ONLY = ("sound",)


@dataclass(frozen=True)
class FrameTransform:
    """What is done to a whole frame before crops are cut from it.

    Attributes:
        size: (width, height) in pixels; None: as the first frame is.
        filter: Resampling filter, see ``Preprocessing``.
        jpeg_quality: Round trip through JPEG before resizing; 0: none.
    """

    size: tuple[int, int] | None = None
    filter: ResamplingFilter = "bicubic"
    jpeg_quality: int = 0


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a video becomes snippets.

    Attributes:
        resize: (width, height) in pixels that a frame is brought to first.
        filter: Resampling filter: ``bicubic`` (FFmpeg's swscale, antialiased, fast) or ``lanczos``
            (Pillow's, as the published extractor).
        jpeg_quality: Round trip through JPEG before resizing, as the published extractor; 0: none.
        crop_size: (width, height) of what the backbone sees.
        crops: Names of the crops, in order: ``full``, ``center``, ``top_left`` ..., and the
            mirrored ones, ``full_mirrored`` ..., or the tiles or regions of a grid (see
            ``views.py``); ``AUDIO_ONLY`` where only the sound is listened to.
        snippet_frames: Frames (ticks) a snippet.
        stride: Frames (ticks) between snippet starts.
        rate: Frames a second that videos are brought to; None: as they are.
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
    def transform(self) -> FrameTransform:
        """What is done to a whole frame."""
        return FrameTransform(self.resize, self.filter, self.jpeg_quality)

    @property
    def has_picture(self) -> bool:
        """Whether anything looks at the picture."""
        return self.crops != AUDIO_ONLY

    def check(self) -> None:
        """Say no to values beyond the limits.

        Raises:
            UsageError: with the field, its limit and its value.
        """
        values = {f.name: getattr(self, f.name) for f in fields(Preprocessing)}
        try:
            PreprocessingFields.model_validate(values)
        except ValidationError as error:
            raise UsageError(
                format_validation_error(error, PreprocessingFields, (), "preprocessing")
            ) from None

    def step_s(self, fps: float) -> float:
        """Seconds from one snippet to the next, of a video of ``fps`` frames a second."""
        return self.stride / (self.rate or fps)

    def without_picture(self) -> Preprocessing:
        """The same snippets in time, of the sound alone: what a picture is like plays no part."""
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
        """The timebase of a video of ``n_frames`` frames that is cut this way; see ``Timebase``."""
        cut = self.snippet_frames, self.stride, self.rate
        return Timebase(fps, n_frames, *cut, pts, start_s, gaps)
