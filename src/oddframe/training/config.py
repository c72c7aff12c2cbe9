"""Configuration of a training: sections of plain values, read from YAML.

Every key is checked. An unknown key is an error that names its line and the nearest known key, so
that a typing error never trains with a default instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from oddframe._utils.parsing import format_validation_error, read_yaml
from oddframe.backbones.base import FULL_FRAME
from oddframe.backbones.registry import DEFAULT_BACKBONE, get_backbones
from oddframe.errors import UsageError
from oddframe.events import EventRule
from oddframe.features.presets import get_preset
from oddframe.methods.base import CLICK_WEIGHT, AnyMethod, Recipe
from oddframe.methods.config import renamed_field
from oddframe.methods.registry import DEFAULT_METHOD, get_method
from oddframe.video.frame import ResamplingFilter
from oddframe.video.snippets.preprocessing import (
    MAX_GRID_LINES,
    MAX_SQUARES,
    CropNames,
    JpegQuality,
    Preprocessing,
    SamplingRate,
    Size,
    SnippetFrames,
    Stride,
    reorder_crops,
    with_regions,
    with_squares,
    with_tiles,
)

Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """Base of all sections: frozen, without unknown keys, every number finite."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, serialize_by_alias=True
    )


class CalibrationSection(Section):
    """Which videos are held out, to set the threshold and to measure on.

    Attributes:
        share: Share of the videos, by whole groups; 0: none.
        groups: The names of groups to hold out instead.
        false_alarms_per_hour: The rate of false alarms on their normal videos that the threshold is
            set to.
    """

    share: float = Field(default=0.2, ge=0, le=0.5)
    groups: tuple[str, ...] = ()
    false_alarms_per_hour: float = Field(default=1.0, ge=0)


class SearchSection(Section):
    """The grid of a search within a time budget: every learning rate with every number of steps.

    Attributes:
        lr: Factors of the configured learning rate.
        steps: Factors of the configured number of steps.
        mirrored: Also try all of them with mirrored pictures in training.
        folds: Number of folds of the training groups. The whole grid is tried on the first fold,
            the better half of it on the next, and so on while the budget lasts.
    """

    lr: tuple[Positive, ...] = Field(default=(1, 0.3, 3), min_length=1, max_length=32)
    steps: tuple[Positive, ...] = Field(default=(1, 0.5, 2), min_length=1, max_length=32)
    mirrored: bool = True
    folds: int = Field(default=3, ge=2, le=100)


class EventSection(Section):
    """How the model's scores become events; see ``EventRule`` for the other fields.

    Attributes:
        threshold: A fixed threshold; None: it is calibrated.
        fast_threshold: That of the profile ``fast``, whose peaks are lower; None: as ``threshold``.
        release: A share of the threshold.
    """

    threshold: float | None = Field(default=None, ge=0, le=1)
    fast_threshold: float | None = Field(default=None, ge=0, le=1)
    release: float = Field(default=0.8, ge=0, le=1)
    smooth_s: float = Field(default=0.0, ge=0)
    min_duration_s: float = Field(default=0.0, ge=0)
    merge_gap_s: float = Field(default=1.0, ge=0)

    def fixed_threshold(self, profile: str) -> float | None:
        """The fixed threshold of a profile; None: it is calibrated."""
        own = self.fast_threshold if profile == "fast" else None
        return self.threshold if own is None else own

    def rule(self, threshold: float) -> EventRule:
        """The event rule with this threshold."""
        times = self.model_dump(include={"smooth_s", "min_duration_s", "merge_gap_s"})
        return EventRule(threshold=threshold, release=self.release * threshold, **times)


# Number of rows or columns.
_Lines = Annotated[int, Field(ge=1, le=MAX_GRID_LINES)]
Grid = tuple[_Lines, _Lines]
MIRRORED = "_mirrored"
# Fields that came later are left out of files where they have their default (``exclude_if``), so
# that digests of earlier trainings stay.

# Fields of a section that ask for parts of the picture, each an instance of the video's bag.
PARTS = ("tiles", "regions", "squares")


class FeatureSection(Section):
    """How features are extracted from videos; see ``Preprocessing`` for the other fields.

    Fields that are left out have the value of the preset, or without one the backbone's default.

    Attributes:
        preset: ``ucf-crime`` or ``xd-violence``; see ``features/presets.py``.
        backbone: Name in the registry, several joined by ``+``, or the YAML file of an ONNX
            network.
        crop_order: ``published`` or ``extractor``: the order of the five or ten crops.
        tiles: [rows, columns]: a grid of tiles of the picture instead of crops.
        regions: [rows, columns]: a grid of the backbone's feature map of the whole picture.
        squares: Number of small squares of the picture with the most motion, instead of crops.
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
    squares: int | None = Field(
        default=None, ge=1, le=MAX_SQUARES, exclude_if=lambda value: value is None
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        """Replace ``preset`` and ``crop_order`` by the fields that they stand for."""
        if not isinstance(data, dict):
            return data
        values = dict(data)
        name, order = values.pop("preset", None), values.pop("crop_order", None)
        backbone = values.get("backbone")
        if name is not None:
            preset = get_preset(str(name))
            values = {"backbone": preset.backbone, **vars(preset.preprocessing), **values}
        elif isinstance(backbone, str) and not values.keys() >= vars(FULL_FRAME).keys():
            values = {**vars(get_backbones(backbone)[0].preprocessing), **values}
        if order is not None:
            if order not in ("published", "extractor"):
                raise UsageError(f"crop_order is published or extractor, not {order}")
            crops = values.get("crops", FULL_FRAME.crops)
            if not isinstance(crops, list | tuple):
                return values  # The wrong type; pydantic reports it.
            values["crops"] = reorder_crops(tuple(map(str, crops)), order)
        return values

    @model_validator(mode="after")
    def _check_grid(self) -> FeatureSection:
        given = [name for name in PARTS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other")
        if self.grid_kind and self.crops != ("full",):
            raise ValueError(f"crops and {self.grid_kind} exclude each other")
        return self

    @property
    def grid_kind(self) -> str:
        """``tiles``, ``regions`` or ``squares`` where features are of these; else empty."""
        return next((name for name in PARTS if getattr(self, name) is not None), "")

    def preprocessing(self) -> Preprocessing:
        """These fields without the backbone."""
        names = [f.name for f in fields(Preprocessing)]
        preprocessing = Preprocessing(**{name: getattr(self, name) for name in names})
        if self.squares is not None:
            return with_squares(preprocessing, self.squares)
        if self.regions is not None:
            return with_regions(preprocessing, *self.regions)
        return preprocessing if self.tiles is None else with_tiles(preprocessing, *self.tiles)


class FeatureChanges(Section):
    """Fields in which a second set of features differs from ``features``."""

    resize: Size | None = None
    crop_size: Size | None = None
    crops: CropNames | None = None
    stride: Stride | None = None
    rate: SamplingRate | None = None

    def apply_to(self, base: FeatureSection) -> FeatureSection:
        return base.model_copy(update=self.model_dump(exclude_none=True))


class SamplingChanges(Section):
    """How features of training differ from those of scoring: more crops, or a smaller stride.

    ``mirrored``: training also uses every crop mirrored; those features are stored separately.
    """

    crops: CropNames | None = None
    stride: Stride | None = None
    mirrored: bool = False

    def apply_to(self, base: FeatureSection) -> FeatureSection:
        """``base`` with these changes, not mirrored."""
        return base.model_copy(update=self.model_dump(exclude_none=True, exclude={"mirrored"}))


def mirrored_section(section: FeatureSection) -> FeatureSection:
    """``section`` with each crop mirrored."""
    crops = (
        c.removesuffix(MIRRORED) if c.endswith(MIRRORED) else c + MIRRORED for c in section.crops
    )
    return section.model_copy(update={"crops": tuple(crops)})


_MAX_SEGMENTS = 2**20  # Of all bags of a step together.
_Clips = Annotated[int, Field(le=1000)]


class MethodSection(Section):
    """The method and its own configuration.

    Attributes:
        name: Name of the method; where only ``config`` is given, UR-DMU.
        config: Fields of the method's ``Config`` that differ from their defaults.
    """

    name: str = "ur_dmu"
    config: dict[str, Any] = Field(default_factory=dict)


class RecipeSection(Section):
    """How a network is optimised. The defaults suit some hundred videos, not the published sets.

    Attributes:
        lr: Learning rate; None: the method's own.
        weight_decay: L2 (Adam) or decoupled (AdamW); None: the method's own.
        steps: Number of optimiser steps.
        normal_bags: Normal bags of a step.
        abnormal_bags: Abnormal bags of a step.
        segments: Number of segments T that each bag is averaged to.
        average: Decay of the moving average of the weights, which is what is saved; 0: none.
        clip_norm: Largest norm of the gradient; None: the method's own, if it has one.
        feature_noise: Standard deviation of the noise that is added to training features, in
            standard deviations of each dimension.
        feature_dropout: Share of a bag's feature dimensions that are set to their mean.
        seed: Seed of the weights, the noise and the bags.
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
        if (self.normal_bags + self.abnormal_bags) * self.segments > _MAX_SEGMENTS:
            raise ValueError(f"a step takes at most {_MAX_SEGMENTS:,} segments in all its bags")
        return self


class BagSection(Section):
    """What training bags are made of.

    Attributes:
        mode: ``video``: one crop of one video. ``joined``: several short videos joined in time, for
            data sets of clips; an abnormal bag has a few abnormal ones at random positions.
        clips: Smallest and largest number of videos in a joined bag.
        abnormal: Smallest and largest number of abnormal ones in an abnormal bag.
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


# Of a step by the published rule of clicks, which compares every segment with every other.
_MAX_CLICK_SEGMENTS = 2048
_SIGMA_S = 2.0


class ClickSection(Section):
    """What training makes of labels in time: clicks, rejected times and intervals.

    They add a term to the loss of every method that is trained by steps and reads labels: the
    cross-entropy of snippet scores. Without such labels there is no term.

    Attributes:
        weight: Weight of the term; 0: labels in time are not used. None: the method's own, 0.1 or
            0; 0.1 with ``events``, and 1 with ``published``.
        sigma_s: Standard deviation in seconds of the Gaussian around a click.
        elsewhere: What is known far from every click of a video. ``unknown``: nothing; the Gaussian
            is the weight of the target 1. ``normal``: nothing happens there; the Gaussian is the
            target. That takes a click in each event, and events hardly longer than the Gaussian.
        events: Also learn from the intervals (``events``) of abnormal training videos: what they
            cover is abnormal, everything else in these videos is normal.
        published: The term of GlanceVAD (Zhang et al., 2024) instead: a Gaussian in relative
            position, widened by high scores, and abnormal videos without clicks scored 0
            everywhere. It reads clicks alone.
        mining_step: The step from which ``published`` widens clicks; 100 on XD-Violence.
    """

    weight: float | None = Field(default=None, ge=0)
    sigma_s: Positive = _SIGMA_S
    elsewhere: Literal["unknown", "normal"] = "unknown"
    events: bool = False
    published: bool = False
    mining_step: int = Field(default=50, ge=1)

    @model_validator(mode="after")
    def _check_published(self) -> ClickSection:
        if self.published and (self.events or self.sigma_s != _SIGMA_S):
            raise ValueError("published has its own sigma, and reads no events")
        return self


class TrainConfig(Section):
    """A whole training run.

    Some keys had another name, which still loads and is what files have: ``temper``, ``half`` and
    ``knows``.

    Attributes:
        features: Features of the profile ``best``.
        fast: How those of the profile ``fast`` differ; None: there is no such profile. Training
            uses both.
        training_features: How features of training differ from those of scoring.
        leave_out: Groups that are neither trained nor measured on, for example for a demonstration
            or a later test.
        standardise: Scale each feature dimension to mean 0 and standard deviation 1 over the
            training set, inside the model.
        temperature_scaling: Divide the logits by a temperature that is set on the training
            snippets, so that scores do not saturate. The order of scores does not change.
        fp16: Write the weights in half precision.
        correction: Whether training from a model leaves its network as it is and fits a small
            correction of its scores (``training/correction.py``); ``auto``: if there are few
            videos.
        detects: What the model detects, in words; empty: the abnormal labels.
        limits: What the model cannot do, in words, for its card.
    """

    features: FeatureSection = FeatureSection()
    fast: FeatureChanges | None = None
    training_features: SamplingChanges = SamplingChanges()
    method: MethodSection = MethodSection(name=DEFAULT_METHOD)
    recipe: RecipeSection = RecipeSection()
    bags: BagSection = BagSection()
    clicks: ClickSection = Field(
        default=ClickSection(), exclude_if=lambda value: value == ClickSection()
    )
    calibration: CalibrationSection = CalibrationSection()
    search: SearchSection = SearchSection()
    events: EventSection = EventSection()
    leave_out: tuple[str, ...] = ()
    standardise: bool = True
    temperature_scaling: bool = renamed_field(True, name="temperature_scaling", old="temper")
    fp16: bool = renamed_field(False, name="fp16", old="half")
    correction: Literal["auto", "always", "never"] = Field(
        default="auto", exclude_if=lambda value: value == "auto"
    )
    detects: str = renamed_field("", name="detects", old="knows", max_length=1000)
    limits: str = Field(default="", max_length=10_000)

    @model_validator(mode="after")
    def _check_clicks(self) -> TrainConfig:
        if self.clicks.published and self.recipe.segments > _MAX_CLICK_SEGMENTS:
            raise ValueError(f"clicks.published takes at most {_MAX_CLICK_SEGMENTS} segments")
        return self

    @model_validator(mode="after")
    def _check_mirrored(self) -> TrainConfig:
        if self.training_features.mirrored and (kind := self.features.grid_kind):
            raise ValueError(f"training_features.mirrored and features.{kind} exclude each other")
        return self

    def profiles(self) -> dict[str, FeatureSection]:
        fast = {} if self.fast is None else {"fast": self.fast.apply_to(self.features)}
        return {"best": self.features, **fast}

    def training_views(self) -> dict[str, FeatureSection]:
        """The features that training uses, by profile; mirrored ones apart."""
        views = {
            name: self.training_features.apply_to(each) for name, each in self.profiles().items()
        }
        if self.training_features.mirrored:
            views |= {f"{name}_mirrored": mirrored_section(view) for name, view in views.items()}
        return views

    def chosen_method(
        self, where: str = "configuration", node: yaml.Node | None = None
    ) -> tuple[AnyMethod, BaseModel]:
        """The method and its config; UsageError if there is no such method, key or value.

        ``where`` and ``node`` are for error messages, as in ``parse_config``.
        """
        method = get_method(self.method.name)
        try:
            return method, method.Config.model_validate(self.method.config)
        except ValidationError as error:
            line = format_validation_error(error, method.Config, ("method", "config"), where, node)
            raise UsageError(line) from None

    def learns_from_times(self) -> bool:
        """Whether training uses labels in time, if there are any."""
        method = get_method(self.method.name)
        trained_by_steps = not (method.closed_form or method.one_class or method.unsupervised)
        return trained_by_steps and self.click_weight() > 0

    def click_weight(self) -> float:
        """The weight of the term of labels in time."""
        section = self.clicks
        if section.weight is not None:
            return section.weight
        if section.published:
            return 1.0
        return CLICK_WEIGHT if section.events else get_method(self.method.name).click_weight

    def with_recipe(self, **changes: Any) -> TrainConfig:
        """This configuration with other values in its recipe; None: the method's own value."""
        return self.model_copy(update={"recipe": self.recipe.model_copy(update=changes)})

    def full_recipe(self) -> Recipe:
        """The recipe with the method's optimiser, and its values where the recipe has None."""
        recipe = get_method(self.method.name).recipe
        names = {f.name for f in fields(Recipe)} & set(RecipeSection.model_fields)
        return replace(recipe, **self.recipe.model_dump(include=names, exclude_none=True))


def read_config(path: Path) -> TrainConfig:
    """Read a YAML file; keys that it leaves out have their defaults.

    UsageError, which names the line, if a key is unknown or a value is wrong.
    """
    data, node = read_yaml(path, "a configuration")
    return parse_config(data, str(path), node)


def parse_config(
    data: Mapping[str, Any], where: str = "configuration", node: yaml.Node | None = None
) -> TrainConfig:
    """A configuration from plain values; UsageError if a key is unknown or a value is wrong.

    Error messages call it ``where``, and have line numbers from the YAML ``node``.
    """
    try:
        config = TrainConfig.model_validate(data)
    except ValidationError as error:
        raise UsageError(format_validation_error(error, TrainConfig, (), where, node)) from None
    except UsageError as error:  # A preset or a backbone is not known.
        raise UsageError(f"{where}: features: {error}") from None
    config.chosen_method(where, node)
    return config if "features" in data else with_method_features(config)


def with_method_features(config: TrainConfig) -> TrainConfig:
    """``config`` with its method's own features, where it does not read those of ``config``.

    Also where those are just the default, and the method looks at motion squares by default.
    """
    method = get_method(config.method.name)
    features = config.features
    if method.backbones and features.backbone not in method.backbones:
        features = FeatureSection(backbone=method.backbones[0])
    elif method.squares and features == FeatureSection():
        features = FeatureSection(squares=method.squares)
    return config.model_copy(update={"features": features})
