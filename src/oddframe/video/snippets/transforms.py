"""``Preprocessing``: how snippets are cut from a video, with limits for values from any source."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from oddframe._utils.parsing import format_validation_error
from oddframe.errors import UsageError
from oddframe.timeline import Timebase
from oddframe.video.frame import FrameTransform, ResamplingFilter

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
            tiles or regions of a grid (see ``crops.py``); ``AUDIO_ONLY`` for features of the audio
            alone.
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
    def transform(self) -> FrameTransform:
        """The transform of a whole frame."""
        return FrameTransform(self.resize, self.filter, self.jpeg_quality)

    @property
    def has_picture(self) -> bool:
        """Whether snippets contain pictures; False for audio alone."""
        return self.crops != AUDIO_ONLY

    def check(self) -> None:
        """Check all values against their limits.

        Raises:
            UsageError: a value is beyond its limit; the message names field, limit and value.
        """
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
