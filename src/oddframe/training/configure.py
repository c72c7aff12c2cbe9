"""Configurations by name, path or model, and how the command line, Python and data change them."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Literal

from oddframe._utils.files import exists, is_file
from oddframe.datasets.labelled import Dataset
from oddframe.datasets.precomputed import has_precomputed_features
from oddframe.errors import UsageError
from oddframe.features.spec import FeatureSpec, count_audio_dims
from oddframe.methods.config import AudioVisualConfig
from oddframe.methods.normality import Normality
from oddframe.methods.registry import get_method
from oddframe.modelfile import Model
from oddframe.training.config import (
    PARTS,
    EventSection,
    FeatureChanges,
    FeatureSection,
    MethodSection,
    TrainConfig,
    with_method_features,
)
from oddframe.video.snippets.preprocessing import (
    MAX_SQUARES,
    Preprocessing,
    count_squares,
    parse_grid,
    region_grid,
)

_PACKAGE = Path(__file__).resolve().parents[1]
# In the installed package, or in the source tree.
_FOLDERS = (_PACKAGE / "configs", _PACKAGE.parents[1] / "configs")


def shipped_configs() -> dict[str, Path]:
    """The shipped YAML files by name: ``fight``, ``ped2``, ``urdmu_published`` ..."""
    found = [path for folder in _FOLDERS for path in sorted(folder.glob("*.yaml"))]
    return {path.stem: path for path in reversed(found)}


def shipped_config(name: str) -> Path:
    """The shipped YAML file of that name, or a UsageError that names the nearest."""
    shipped = shipped_configs()
    if name in shipped:
        return shipped[name]
    near = difflib.get_close_matches(Path(name).stem.lower(), shipped, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    known = ", ".join(sorted(shipped)) or "none"
    raise UsageError(f"no configuration is called {name}, only {known}{meant}")


def find_config(name_or_path: str) -> Path:
    """The file of that path, or else the shipped configuration of that name."""
    path = Path(name_or_path)
    if is_file(path) or (exists(path) and name_or_path not in shipped_configs()):
        return path
    return shipped_config(name_or_path)


def with_method(config: TrainConfig, name: str) -> TrainConfig:
    """``config`` with another method and its default settings, learning rate and weight decay.

    Also changes the features where the method does not read those of ``config``.
    """
    if get_method(name).name == config.method.name:
        return config
    changed = config.with_recipe(lr=None, weight_decay=None)
    return with_method_features(changed.model_copy(update={"method": MethodSection(name=name)}))


def with_fast(config: TrainConfig) -> TrainConfig:
    """``config`` with a profile ``fast``, by default of one snippet in five."""
    if config.fast is not None:
        return config
    return config.model_copy(update={"fast": FeatureChanges(stride=5 * config.features.stride)})


def with_parts(
    config: TrainConfig, kind: Literal["tiles", "regions", "squares"], value: str | int
) -> TrainConfig:
    """``config`` with ``tiles`` or ``regions``, as ``2x3``, or with a number of ``squares``.

    UsageError if ``value`` is wrong, or the configuration asks for crops or mirrored pictures.
    """
    parts = parse_grid(value) if isinstance(value, str) else value
    if kind == "squares" and not 1 <= int(value) <= MAX_SQUARES:
        raise UsageError(f"--squares {value}: choose 1 to {MAX_SQUARES}")
    seen = config.training_features
    fast = None if config.fast is None else config.fast.crops
    if any(c not in (None, ("full",)) for c in (config.features.crops, seen.crops, fast)):
        raise UsageError(
            f"--{kind}: the configuration asks for crops, and the two exclude each other"
        )
    if seen.mirrored:
        raise UsageError(
            f"--{kind}: the configuration asks for mirrored pictures, too; leave one out"
        )
    changes: dict[str, object] = {**dict.fromkeys(PARTS), kind: parts}
    return config.model_copy(update={"features": config.features.model_copy(update=changes)})


def with_one_class_method(config: TrainConfig) -> TrainConfig:
    """``config`` with the method ``normality``, unless its method is one-class already."""
    if config.chosen_method()[0].one_class:
        return config
    return with_method_features(
        config.model_copy(update={"method": MethodSection(name=Normality.name)})
    )


def with_required_audio_dim(config: TrainConfig, backbones: str) -> TrainConfig:
    """As ``with_audio_dim``, but a UsageError if the method reads sound and gets none."""
    changed = with_audio_dim(config, backbones)
    method, settings = changed.chosen_method()
    if isinstance(settings, AudioVisualConfig) and settings.sound is None:
        raise UsageError(
            f"{method.title} reads picture and sound, but these features have no known sound "
            f"({backbones}): set features.backbone to i3d+aisfx, or method.config.sound to the "
            "number of values at the end of each feature that are the sound's"
        )
    return changed


def check_audio(config: TrainConfig, dataset: Dataset) -> None:
    """Check, before any video is opened, that a method that reads sound gets some.

    Precomputed features are not checked here: whether they have sound is known once their files are
    opened, in ``run_training``.
    """
    if not any(has_precomputed_features(video) for video in dataset.videos):
        with_required_audio_dim(config, config.features.backbone)


def with_audio_dim(config: TrainConfig, backbones: str) -> TrainConfig:
    """``config`` with the number of audio values of a feature, where its method needs that number.

    ``backbones``: those of the features, as in their spec: ``i3d+aisfx``. A configuration that has
    the number, or whose method does not read sound, is returned unchanged. So is one whose features
    have no sound: its method splits a feature into halves.
    """
    settings = config.chosen_method()[1]
    sound = count_audio_dims(backbones)
    if not isinstance(settings, AudioVisualConfig) or settings.sound is not None or not sound:
        return config
    method = config.method.model_copy(update={"config": {**config.method.config, "sound": sound}})
    return config.model_copy(update={"method": method})


def config_from_model(pretrained: Model) -> TrainConfig:
    """The configuration of a model's features, method and events, with defaults for all else.

    Bags, recipe, groups that were left out and a fixed threshold belong to the model's own training
    data and are not copied.
    """
    best, rule = _section(pretrained.profiles["best"].spec), pretrained.profiles["best"].rule
    fast = None
    if "fast" in pretrained.profiles:
        other = _section(pretrained.profiles["fast"].spec)
        names = [n for n in FeatureChanges.model_fields if getattr(other, n) != getattr(best, n)]
        fast = FeatureChanges(**{name: getattr(other, name) for name in names})
    return TrainConfig(
        features=best,
        fast=fast,
        method=MethodSection(
            name=pretrained.method, config=pretrained.config.model_dump(mode="json")
        ),
        events=EventSection(
            release=min(1.0, rule.release / rule.threshold) if rule.threshold > 0 else 1.0,
            smooth_s=rule.smooth_s,
            min_duration_s=rule.min_duration_s,
            merge_gap_s=rule.merge_gap_s,
        ),
    )


def _section(spec: FeatureSpec) -> FeatureSection:
    names = {*Preprocessing.__dataclass_fields__, "backbone"}
    values = {name: getattr(spec, name) for name in names}
    if spec.tiles is not None:
        kind = "tiles" if region_grid(spec.crops) is None else "regions"
        values |= {kind: spec.tiles, "crops": ("full",), "resize": spec.crop_size}
    if count := count_squares(spec.crops):
        values |= {"squares": count, "tiles": None}
    return FeatureSection(**values)
