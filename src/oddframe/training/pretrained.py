"""Start training from the weights of a model: its configuration, and whether it fits."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from oddframe.errors import UsageError
from oddframe.events import EventRule
from oddframe.features.spec import FeatureSpec
from oddframe.methods.one_class.base import OneClass
from oddframe.modelfile import Model
from oddframe.training.config import (
    EventSection,
    FeatureChanges,
    FeatureSection,
    MethodSection,
    TrainConfig,
)
from oddframe.training.data.features import VideoFeatures
from oddframe.video.snippets.preprocessing import Preprocessing, region_grid


def config_from_model(pretrained: Model) -> TrainConfig:
    """The configuration of a model's features, method and events, with defaults for all else.

    Bags, recipe, groups that were left out and a fixed threshold belong to the model's own training
    data and are not copied.
    """
    best = _section(pretrained.profiles["best"].spec)
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
        events=_events(pretrained.profiles["best"].rule),
    )


def check_pretrained(pretrained: Model, config: TrainConfig, spec: FeatureSpec) -> None:
    """Check that a model has the method and features of a training.

    Args:
        pretrained: The model whose weights training is to start from.
        config: The configuration of the training.
        spec: The spec of its features.

    Raises:
        UsageError: they differ; the message names how.
    """
    method, method_config = config.chosen_method()
    if isinstance(method, OneClass):
        raise UsageError(
            f"{method.title} learns from normal videos alone and cannot start from a model; "
            "starting from one also needs abnormal videos"
        )
    lines = []
    if pretrained.method != config.method.name:
        lines = [f"method: {pretrained.method}, not {config.method.name}"]
    elif pretrained.config != method_config:
        lines = _differences(pretrained.config, method_config)
    lines += pretrained.profiles["best"].spec.differences(spec)
    if lines:
        raise UsageError(
            f"training cannot start from the model '{pretrained.name}', which is configured "
            f"otherwise: {'; '.join(lines)}"
        )


def overlap_warnings(
    pretrained: Model,
    training: Sequence[VideoFeatures],
    held_out: Sequence[VideoFeatures],
    *,
    choosing: bool,
) -> list[str]:
    """Warnings about metrics that are too good because ``pretrained`` was trained on their videos.

    A model's card has digests of its training videos.

    Args:
        pretrained: The model whose weights training starts from.
        training: Videos to train on.
        held_out: Videos that the metrics are measured on.
        choosing: Whether settings or seeds are chosen on groups of ``training``.
    """

    def known(videos: Sequence[VideoFeatures]) -> list[VideoFeatures]:
        flags = pretrained.learned_from([(v.video.group, v.sha256) for v in videos])
        return [video for video, is_known in zip(videos, flags, strict=True) if is_known]

    lines = []
    if overlap := known(held_out):
        lines.append(
            f"the model '{pretrained.name}' has learned from {len(overlap)} of {len(held_out)} "
            f"held-out videos or others of their groups ({overlap[0].video.path.name}): the "
            "figures are too good"
        )
    if choosing and known(training):
        lines.append(
            f"the model '{pretrained.name}' has learned from the groups that settings and "
            "seeds are chosen on: their figures are too good, and say little"
        )
    return lines


def _section(spec: FeatureSpec) -> FeatureSection:
    names = {*Preprocessing.__dataclass_fields__, "backbone"}
    values = {name: getattr(spec, name) for name in names}
    if spec.tiles is not None:
        kind = "tiles" if region_grid(spec.crops) is None else "regions"
        values |= {kind: spec.tiles, "crops": ("full",), "resize": spec.crop_size}
    return FeatureSection(**values)


def _events(rule: EventRule) -> EventSection:
    return EventSection(
        release=min(1.0, rule.release / rule.threshold) if rule.threshold > 0 else 1.0,
        smooth_s=rule.smooth_s,
        min_duration_s=rule.min_duration_s,
        merge_gap_s=rule.merge_gap_s,
    )


def _differences(ours: BaseModel, theirs: BaseModel) -> list[str]:
    values, others = ours.model_dump(), theirs.model_dump()
    return [f"{k}: {v}, not {others[k]}" for k, v in values.items() if v != others[k]]
