"""Give a model the thresholds that keep its false alarms rare on normal video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from oddframe.cameras import masks_by_camera, summarize_masks, with_masks, with_thresholds
from oddframe.datasets.labelled import LabelledVideo
from oddframe.evaluation.thresholds import (
    CalibratedThreshold,
    set_threshold,
    set_thresholds_by_camera,
)
from oddframe.events import EventRule
from oddframe.modelfile import Model
from oddframe.timeline import ScoreTrack


@dataclass(frozen=True)
class CalibrationResult:
    """A model with a new threshold.

    Attributes:
        model: The model.
        profile: The profile whose threshold was set.
        previous: The threshold before.
        threshold: The new threshold and the video that it stands on.
        cameras: The threshold of each camera, by its name, where they were asked for.
        mask: Digest of the mask that the videos were scored with ("": none), or one for each camera
            where they differ.
        path: The model file that was written; None: none was.
        failed: A line for each video that could not be read.
    """

    model: Model
    profile: str
    previous: float
    threshold: CalibratedThreshold
    cameras: Mapping[str, CalibratedThreshold] = field(default_factory=dict)
    mask: str | Mapping[str, str] = ""
    path: Path | None = None
    failed: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The answer of ``oddframe calibrate --json``."""
        return {
            "model": None if self.path is None else str(self.path),
            "profile": self.profile,
            "threshold_before": self.previous,
            **self.model.card[f"calibration_{self.profile}"],
            "failed": list(self.failed),
        }


def calibrate_model(
    model: Model,
    profile: str,
    rule: EventRule,
    scored: Sequence[tuple[LabelledVideo, ScoreTrack, str]],
    target_per_hour: float,
    *,
    by_camera: bool = False,
) -> CalibrationResult:
    """The model with the threshold for at most ``target_per_hour`` false alarms an hour.

    Args:
        model: The model.
        profile: The profile whose threshold is set.
        rule: The event rule with the threshold so far.
        scored: Normal videos, whose group is their camera, with scores and the digest of the mask
            that they were scored with ("": none).
        target_per_hour: The highest rate of false alarms.
        by_camera: Whether each camera gets a threshold of its own, too.

    Raises:
        UsageError: there are no videos, or the rate is negative.
    """
    threshold = set_threshold([track for _, track, _ in scored], target_per_hour, rule)
    new_rule, cameras = rule.with_threshold(threshold.value), {}
    if by_camera:
        tracks = [(video.group, track) for video, track, _ in scored]
        cameras = set_thresholds_by_camera(tracks, target_per_hour, new_rule)
    common, masks = summarize_masks((video.path, mask) for video, _, mask in scored)
    used_mask = masks or common
    record = threshold.to_dict()
    if cameras:
        record["cameras"] = {camera: each.to_dict() for camera, each in cameras.items()}
    record["mask"] = used_mask
    old_spec = model.profiles[profile].spec
    if threshold.unchanged:
        # The threshold keeps its mask, too. Cameras whose own threshold changed have the new mask.
        used = {video.group: mask for video, _, mask in scored}
        changed = {name: used[name] for name, each in cameras.items() if not each.unchanged}
        common, masks = old_spec.mask, masks_by_camera(model.card, profile)
        if changed:
            masks = (masks or dict.fromkeys(cameras, common)) | changed
    values = {camera: each.value for camera, each in cameras.items()}
    card = with_thresholds(model.card, profile, values) | {f"calibration_{profile}": record}
    card = with_masks(card, profile, masks)
    changed_profile = replace(
        model.profiles[profile], spec=replace(old_spec, mask=common), rule=new_rule
    )
    profiles = {**model.profiles, profile: changed_profile}
    return CalibrationResult(
        replace(model, profiles=profiles, card=card),
        profile,
        rule.threshold,
        threshold,
        cameras,
        used_mask,
    )
