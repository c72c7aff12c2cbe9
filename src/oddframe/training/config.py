"""Configuration of a training run: sections of plain values, read from YAML.

Every key is checked. An unknown one is refused with its line and the nearest known one, so that a
slip of the pen never trains with a default instead.

Sections of a training configuration that say how a detector is chosen and measured.

The section of a configuration that says how videos become features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from oddframe._utils.yaml_files import format_validation_error, read_yaml
from oddframe.backbones.base import FULL_FRAME
from oddframe.backbones.registry import DEFAULT_BACKBONE, get_backbones
from oddframe.errors import UsageError
from oddframe.events import EventRule
from oddframe.features.presets import get_preset
from oddframe.methods.base import AnyMethod, Recipe
from oddframe.methods.registry import DEFAULT_METHOD, get_method
from oddframe.video.snippets.crops import MAX_GRID_LINES, reorder_crops, with_regions, with_tiles
from oddframe.video.snippets.transforms import (
    CropNames,
    JpegQuality,
    Preprocessing,
    ResamplingFilter,
    SamplingRate,
    Size,
    SnippetFrames,
    Stride,
)

Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """Frozen, strict about its keys, every number finite.

    A section as JSON is part of digests and model files: a field that is renamed keeps its old key
    there (``serialization_alias``) and reads both (``validation_alias=AliasChoices(...)``).
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, serialize_by_alias=True
    )


class CalibrationSection(Section):
    """Which videos are kept from training, to set the threshold and to measure on.

    Attributes:
        share: Share of the videos, by whole groups; 0: none.
        groups: These groups instead.
        false_alarms_per_hour: What the threshold is set to on their normal videos.
    """

    share: float = Field(default=0.2, ge=0, le=0.5)
    groups: tuple[str, ...] = ()
    false_alarms_per_hour: float = Field(default=1.0, ge=0)


class SearchSection(Section):
    """The grid that a search within a budget tries: every lr with every number of steps.

    Attributes:
        lr: Learning rates, each times the configured one.
        steps: Numbers of steps, each times the configured one.
        mirrored: Try all of it with mirrored pictures in training, too.
        folds: Folds of the training groups, each the validation part once: the whole grid on the
            first, the better half of it on the next, and so on while the budget lasts.
    """

    lr: tuple[Positive, ...] = Field(default=(1, 0.3, 3), min_length=1, max_length=32)
    steps: tuple[Positive, ...] = Field(default=(1, 0.5, 2), min_length=1, max_length=32)
    mirrored: bool = True
    folds: int = Field(default=3, ge=2, le=100)


class EventSection(Section):
    """How the model's scores become events; see ``EventRule``.

    Attributes:
        threshold: Fixed instead of calibrated.
        fast_threshold: The same of ``fast``, whose peaks are lower; none: as
        ``threshold_for_rate``.
        release: As a share of the threshold.
    """

    threshold: float | None = Field(default=None, ge=0, le=1)
    fast_threshold: float | None = Field(default=None, ge=0, le=1)
    release: float = Field(default=0.8, ge=0, le=1)
    smooth_s: float = Field(default=0.0, ge=0)
    min_duration_s: float = Field(default=0.0, ge=0)
    merge_gap_s: float = Field(default=1.0, ge=0)

    def fixed_threshold(self, profile: str) -> float | None:
        """The threshold of a profile; None: it is calibrated."""
        own = self.fast_threshold if profile == "fast" else None
        return self.threshold if own is None else own

    def rule(self, threshold: float) -> EventRule:
        """The rule at ``threshold_for_rate``."""
        return EventRule(
            threshold=threshold,
            release=self.release * threshold,
            smooth_s=self.smooth_s,
            min_duration_s=self.min_duration_s,
            merge_gap_s=self.merge_gap_s,
        )


# Rows or columns.
_Lines = Annotated[int, Field(ge=1, le=MAX_GRID_LINES)]
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
    backbone: str = DEFAULT_BACKBONE
    resize: Size = FULL_FRAME.resize
    filter: ResamplingFilter = FULL_FRAME.filter
    jpeg_quality: JpegQuality = 0
    crop_size: Size = FULL_FRAME.crop_size
    crops: CropNames = FULL_FRAME.crops
    crop_order: Literal["published", "extractor"] | None = Field(default=None, exclude=True)
    snippet_frames: SnippetFrames = FULL_FRAME.snippet_frames
    stride: Stride = FULL_FRAME.stride
    rate: SamplingRate | None = None
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
            given = {"backbone": preset.backbone, **vars(preset.preprocessing), **given}
        elif isinstance(given.get("backbone"), str) and not given.keys() >= vars(FULL_FRAME).keys():
            given = {**vars(get_backbones(given["backbone"])[0].preprocessing), **given}
        if order is not None:
            if order not in ("published", "extractor"):
                raise UsageError(f"crop_order is published or extractor, not {order}")
            crops = given.get("crops", FULL_FRAME.crops)
            if not isinstance(crops, list | tuple):
                return given  # It is of the wrong type, and refused for that.
            given["crops"] = reorder_crops(tuple(map(str, crops)), order)
        return given

    @model_validator(mode="after")
    def _tiled(self) -> FeatureSection:
        if self.tiles is not None and self.regions is not None:
            raise ValueError("tiles and regions exclude each other")
        if self.grid_kind and self.crops != ("full",):
            raise ValueError(f"crops and {self.grid_kind} exclude each other")
        return self

    @property
    def grid_kind(self) -> str:
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
    rate: SamplingRate | None = None

    def of(self, base: FeatureSection) -> FeatureSection:
        """``base`` with these changes."""
        return base.model_copy(update=self.model_dump(exclude_none=True))


class SamplingChanges(Section):
    """What training may see otherwise than scoring: more crops, or denser snippets.

    ``mirrored_section``: training sees every crop mirrored besides; its features are kept apart.
    """

    crops: CropNames | None = None
    stride: Stride | None = None
    mirrored: bool = False

    def of(self, base: FeatureSection) -> FeatureSection:
        """``base`` with these changes, seen as it is."""
        return base.model_copy(update=self.model_dump(exclude_none=True, exclude={"mirrored"}))


def mirrored_section(section: FeatureSection) -> FeatureSection:
    """The mirrored twins of the section's crops."""
    twins = (
        c.removesuffix(MIRRORED) if c.endswith(MIRRORED) else c + MIRRORED for c in section.crops
    )
    return section.model_copy(update={"crops": tuple(twins)})


# Of all bags of a step.
_MOST_SEGMENTS = 2**20
_Clips = Annotated[int, Field(le=1000)]


class MethodSection(Section):
    """The method by name, and what its own config has otherwise than its defaults.

    Attributes:
        name: Of the method; where there is only a ``config``, it is UR-DMU's.
        config: Fields of the method's ``Config``.
    """

    name: str = "ur_dmu"
    config: dict[str, Any] = Field(default_factory=dict)


class RecipeSection(Section):
    """How the weights are found. The defaults suit some hundred videos, not the published sets.

    Attributes:
        lr: Learning rate; none: the method's own.
        weight_decay: L2 (Adam) or decoupled (AdamW); none: the method's own.
        steps: Optimiser steps.
        normal_bags: Normal bags a step.
        abnormal_bags: Abnormal bags a step.
        segments: Segments T that a bag is brought to.
        average: Decay of the moving average of the weights that is kept in the end; 0: none.
        clip_norm: Largest norm of the gradient; none: the method's own, if it has one.
        feature_noise: Deviation of the noise on training features, in deviations of each dimension.
        feature_dropout: Share of a bag's feature dimensions that are set to their mean.
        seed: Of the weights, the noise and the bags.
    """

    lr: float | None = Field(default=None, gt=0)
    weight_decay: float | None = Field(default=None, ge=0)
    steps: int = Field(default=450, gt=0, le=10_000_000)
    normal_bags: int = Field(default=8, gt=0, le=4096)
    abnormal_bags: int = Field(default=8, gt=0, le=4096)
    segments: int = Field(default=32, gt=0, le=65_536)
    average: float = Field(default=0.98, ge=0, lt=1)
    clip_norm: float | None = Field(default=None, gt=0)
    feature_noise: float = Field(default=0.0, ge=0)
    feature_dropout: float = Field(default=0.0, ge=0, lt=1)
    seed: int = Field(default=2022, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _fits(self) -> RecipeSection:
        if (self.normal_bags + self.abnormal_bags) * self.segments > _MOST_SEGMENTS:
            raise ValueError(f"a step takes at most {_MOST_SEGMENTS:,} segments in all its bags")
        return self


class BagSection(Section):
    """What a training bag is.

    Attributes:
        mode: ``video``: one crop of one video. ``joined``: several short videos in a row, for data
            sets of clips: a normal bag of normal ones only, an abnormal bag with a few abnormal
            ones at random places.
        clips: Fewest and most videos in a joined bag.
        abnormal: Fewest and most abnormal ones among them in an abnormal bag.
    """

    mode: Literal["video", "joined"] = "video"
    clips: tuple[_Clips, _Clips] = (8, 12)
    abnormal: tuple[_Clips, _Clips] = (1, 3)

    @model_validator(mode="after")
    def _ordered(self) -> BagSection:
        for name, (low, high) in (("clips", self.clips), ("abnormal", self.abnormal)):
            if not 1 <= low <= high:
                raise ValueError(f"{name} must be [fewest, most], from 1 up")
        if self.abnormal[1] > self.clips[0]:
            raise ValueError("the most abnormal ones must fit into the fewest clips")
        return self


class TrainConfig(Section):
    """A whole training run.

    Attributes:
        features: What the profile ``best`` reads.
        fast: What the profile ``fast`` reads otherwise; none: there is no such profile. Training
            sees both.
        training_features: What training sees of a video otherwise than scoring.
        leave_out: Groups that nothing is done with, neither training nor measuring: for a
            demonstration, or a test of one's own later.
        standardise: Bring each feature dimension to mean 0 and deviation 1 over the training set,
            inside the model.
        temper: Divide the logits by a temperature found on the training snippets, so that scores do
            not saturate; the order of scores stays.
        half: Write the weights in half precision.
        detects: What the model finds, in words; empty: the abnormal labels.
        limits: What a reader of the card should beware of.
    """

    features: FeatureSection = FeatureSection()
    fast: FeatureChanges | None = None
    training_features: SamplingChanges = SamplingChanges()
    method: MethodSection = MethodSection(name=DEFAULT_METHOD)
    recipe: RecipeSection = RecipeSection()
    bags: BagSection = BagSection()
    calibration: CalibrationSection = CalibrationSection()
    search: SearchSection = SearchSection()
    events: EventSection = EventSection()
    leave_out: tuple[str, ...] = ()
    standardise: bool = True
    temper: bool = True
    half: bool = False
    detects: str = Field(
        default="",
        max_length=1000,
        validation_alias=AliasChoices("detects", "knows"),
        serialization_alias="knows",
    )
    limits: str = Field(default="", max_length=10_000)

    @model_validator(mode="after")
    def _mirrors(self) -> TrainConfig:
        if self.training_features.mirrored and (placed := self.features.grid_kind):
            raise ValueError(f"training_features.mirrored and features.{placed} exclude each other")
        return self

    def profiles(self) -> dict[str, FeatureSection]:
        """What each profile of the model reads."""
        fast = {} if self.fast is None else {"fast": self.fast.of(self.features)}
        return {"best": self.features, **fast}

    def training_views(self) -> dict[str, FeatureSection]:
        """What training sees of each profile's features."""
        views = {name: self.training_features.of(each) for name, each in self.profiles().items()}
        if self.training_features.mirrored:
            views |= {f"{name}_mirrored": mirrored_section(view) for name, view in views.items()}
        return views

    def chosen_method(self) -> tuple[AnyMethod, BaseModel]:
        """The method and its config.

        Raises:
            UsageError: no such method, or its config has an unknown key or a wrong value.
        """
        method = get_method(self.method.name)
        try:
            return method, method.Config.model_validate(self.method.config)
        except ValidationError as error:
            raise UsageError(
                format_validation_error(error, method.Config, ("method", "config"))
            ) from None

    def with_recipe(self, **changes: Any) -> TrainConfig:
        """The same with these fields of the recipe changed; a value of None: the method's own."""
        return self.model_copy(update={"recipe": self.recipe.model_copy(update=changes)})

    def full_recipe(self) -> Recipe:
        """The recipe with the method's own optimiser, and its rates where none are given."""
        recipe = get_method(self.method.name).recipe
        names = {f.name for f in fields(Recipe)} & set(RecipeSection.model_fields)
        changes = {name: getattr(self.recipe, name) for name in names}
        for own in ("lr", "weight_decay", "clip_norm"):
            if changes[own] is None:
                del changes[own]
        return replace(recipe, **changes)


def read_config(path: Path) -> TrainConfig:
    """Read a YAML file; what it leaves out keeps its default.

    Raises:
        UsageError: it is missing, no YAML, has an unknown key or a wrong value; with its line.
    """
    data, node = read_yaml(path, "a configuration")
    return parse_config(data, str(path), node)


def parse_config(
    data: Mapping[str, Any], where: str = "configuration", node: yaml.Node | None = None
) -> TrainConfig:
    """A configuration from plain values; ``node`` is the YAML that they came from, for its lines.

    Raises:
        UsageError: an unknown key or a wrong value.
    """
    try:
        config = TrainConfig.model_validate(data)
    except ValidationError as error:
        raise UsageError(format_validation_error(error, TrainConfig, (), where, node)) from None
    except UsageError as error:  # Of a preset or a backbone.
        raise UsageError(f"{where}: features: {error}") from None
    method = get_method(config.method.name)
    try:
        method.Config.model_validate(config.method.config)
    except ValidationError as error:
        line = format_validation_error(error, method.Config, ("method", "config"), where, node)
        raise UsageError(line) from None
    return config if "features" in data else with_method_backbone(config)


def with_method_backbone(config: TrainConfig) -> TrainConfig:
    """``config`` with the features that its method reads, if it reads only some backbones'."""
    only = get_method(config.method.name).backbones
    if not only or config.features.backbone in only:
        return config
    return config.model_copy(update={"features": FeatureSection(backbone=only[0])})
