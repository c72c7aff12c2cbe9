"""The section of a configuration that says how videos become features."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from oddframe.backbones.base import WHOLE
from oddframe.backbones.registry import find_kinds
from oddframe.errors import UsageError
from oddframe.features.presets import get_preset
from oddframe.training.sections import Section
from oddframe.video.preprocessing import (
    CropNames,
    Filter,
    JpegQuality,
    Preprocessing,
    Rate,
    Size,
    SnippetFrames,
    Stride,
)
from oddframe.video.views import MOST_LINES, reordered, with_regions, with_tiles

# Rows or columns.
_Lines = Annotated[int, Field(ge=1, le=MOST_LINES)]
Grid = tuple[_Lines, _Lines]
MIRRORED = "_mirrored"


class FeatureSection(Section):
    """How videos become features; see ``Preprocessing`` for each field.

    What is left out is as the preset says, else as suits the backbone.

    Attributes:
        preset: ``ucf-crime`` or ``xd-violence``; see ``features/presets.py``.
        backbone: Name in the registry, several with ``+`` between them, or the YAML of an ONNX
            file.
        crop_order: ``published`` or ``extractor``: brings the five or ten crops into this order.
        tiles: [rows, columns]: cuts the picture into a grid instead of taking crops of it.
        regions: [rows, columns]: the same of what the backbone has made of the whole picture.
    """

    preset: str | None = Field(default=None, exclude=True)
    backbone: str = "i3d"
    resize: Size = WHOLE.resize
    filter: Filter = WHOLE.filter
    jpeg_quality: JpegQuality = 0
    crop_size: Size = WHOLE.crop_size
    crops: CropNames = WHOLE.crops
    crop_order: Literal["published", "extractor"] | None = Field(default=None, exclude=True)
    snippet_frames: SnippetFrames = WHOLE.snippet_frames
    stride: Stride = WHOLE.stride
    rate: Rate | None = None
    tiles: Grid | None = None
    regions: Grid | None = None

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, data: Any) -> Any:
        """Write out what a preset or the backbone's YAML says; the two keys are then gone."""
        if not isinstance(data, dict):
            return data
        given = dict(data)
        name, order = given.pop("preset", None), given.pop("crop_order", None)
        if name is not None:
            preset = get_preset(str(name))
            given = {"backbone": preset.backbone, **vars(preset.how), **given}
        elif isinstance(given.get("backbone"), str) and not given.keys() >= vars(WHOLE).keys():
            given = {**vars(find_kinds(given["backbone"])[0].how), **given}
        if order is not None:
            if order not in ("published", "extractor"):
                raise UsageError(f"crop_order is published or extractor, not {order}")
            crops = given.get("crops", WHOLE.crops)
            if not isinstance(crops, list | tuple):
                return given  # It is of the wrong type, and refused for that.
            given["crops"] = reordered(tuple(map(str, crops)), order)
        return given

    @model_validator(mode="after")
    def _tiled(self) -> FeatureSection:
        if self.tiles is not None and self.regions is not None:
            raise ValueError("tiles and regions exclude each other")
        if self.placed and self.crops != ("full",):
            raise ValueError(f"crops and {self.placed} exclude each other")
        return self

    @property
    def placed(self) -> str:
        """``tiles`` or ``regions`` where a feature is of a place in the picture; else empty."""
        return "tiles" if self.tiles else "regions" if self.regions else ""

    def preprocessing(self) -> Preprocessing:
        """These fields without the backbone."""
        names = [f.name for f in fields(Preprocessing)]
        how = Preprocessing(**{name: getattr(self, name) for name in names})
        if self.regions is not None:
            return with_regions(how, *self.regions)
        return how if self.tiles is None else with_tiles(how, *self.tiles)


class FeatureChanges(Section):
    """Fields that a second set of features has otherwise than ``features``."""

    resize: Size | None = None
    crop_size: Size | None = None
    crops: CropNames | None = None
    stride: Stride | None = None
    rate: Rate | None = None

    def of(self, base: FeatureSection) -> FeatureSection:
        """``base`` with these changes."""
        return base.model_copy(update=self.model_dump(exclude_none=True))


class SamplingChanges(Section):
    """What training may see otherwise than scoring: more crops, or denser snippets.

    ``mirrored``: training sees every crop mirrored besides; its features are kept apart.
    """

    crops: CropNames | None = None
    stride: Stride | None = None
    mirrored: bool = False

    def of(self, base: FeatureSection) -> FeatureSection:
        """``base`` with these changes, seen as it is."""
        return base.model_copy(update=self.model_dump(exclude_none=True, exclude={"mirrored"}))


def mirrored(section: FeatureSection) -> FeatureSection:
    """The mirrored twins of the section's crops."""
    twins = (
        c.removesuffix(MIRRORED) if c.endswith(MIRRORED) else c + MIRRORED for c in section.crops
    )
    return section.model_copy(update={"crops": tuple(twins)})
