"""Set a model's thresholds on normal video, and check them on video that did not set them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from oddframe.cameras import masks_by_camera, summarize_masks, with_masks, with_thresholds
from oddframe.datasets.labelled import LabelledVideo
from oddframe.errors import UsageError
from oddframe.evaluation.evaluate import FalseAlarmRate
from oddframe.events import EventRule, calibrate_threshold, find_events, hours_needed
from oddframe.modelfile import Model
from oddframe.timeline import ScoreTrack

_FOLDS = 5


@dataclass(frozen=True)
class CalibratedThreshold:
    """A threshold and the video that it was set on.

    It is the lowest that keeps the target on these videos; where they have too few hours to show
    the target, at least the previous threshold.
    """

    value: float
    target_per_hour: float  # The highest rate of false alarms.
    videos: int
    # Those that remain in these videos. The threshold was fitted to them, so new video may have
    # more.
    false_alarms: FalseAlarmRate
    # Those in each fifth of the videos at the threshold of the other four fifths: how thresholds do
    # on video that did not set them. None for a single video.
    cross_checked: FalseAlarmRate | None
    unchanged: bool  # It is the previous threshold, because the video is too short to lower it.

    @property
    def enough_hours(self) -> bool:
        """Whether the hours are enough to show that the target is kept."""
        return self.false_alarms.hours >= self.hours_needed

    @property
    def hours_needed(self) -> float:
        """Hours of normal video that could show it; infinite for a target of 0."""
        return hours_needed(self.target_per_hour)

    def to_dict(self) -> dict[str, Any]:
        """The entry of a model's card, as JSON types."""
        rate, checked = self.false_alarms.per_hour, self.cross_checked
        return {
            "threshold": self.value,
            "wished_per_hour": self.target_per_hour,
            "videos": self.videos,
            "hours": self.false_alarms.hours,
            "false_alarms": self.false_alarms.count,
            "per_hour_95": [rate.low, rate.high],
            "hours_are_enough": self.enough_hours,
            "kept": self.unchanged,
            "on_others": None
            if checked is None
            else {
                "false_alarms": checked.count,
                "per_hour": checked.per_hour.value,
                "per_hour_95": [checked.per_hour.low, checked.per_hour.high],
            },
        }


def set_threshold(
    tracks: Sequence[ScoreTrack], target_per_hour: float, rule: EventRule
) -> CalibratedThreshold:
    """The lowest threshold for at most ``target_per_hour`` false alarms an hour, and a check of it.

    A few seconds have no false alarms at some low threshold, which shows nothing. So video that is
    too short to show the target may raise the rule's threshold but does not lower it. ``tracks``
    are normal videos, ordered so that similar ones are neighbours (by camera, by time).
    """
    lowest = calibrate_threshold(tracks, target_per_hour, rule)
    value, remaining = lowest.threshold, lowest.false_alarms
    unchanged = lowest.hours < hours_needed(target_per_hour) and value < rule.threshold
    if unchanged:
        value, remaining = rule.threshold, sum(len(find_events(track, rule)) for track in tracks)
    alarms = FalseAlarmRate(remaining, lowest.hours)
    checked = _cross_check(tracks, target_per_hour, rule)
    return CalibratedThreshold(value, target_per_hour, len(tracks), alarms, checked, unchanged)


def set_thresholds_by_camera(
    tracks: Sequence[tuple[str, ScoreTrack]], target_per_hour: float, rule: EventRule
) -> dict[str, CalibratedThreshold]:
    """``set_threshold`` for each camera on its own videos alone, by the camera's name."""
    if not tracks:
        raise UsageError("a threshold needs at least one normal video")
    by_camera: defaultdict[str, list[ScoreTrack]] = defaultdict(list)
    for camera, track in tracks:
        by_camera[camera].append(track)
    return {
        camera: set_threshold(by_camera[camera], target_per_hour, rule)
        for camera in sorted(by_camera)
    }


def _cross_check(
    tracks: Sequence[ScoreTrack], target_per_hour: float, rule: EventRule
) -> FalseAlarmRate | None:
    """False alarms in each fifth of the videos at the threshold of the others."""
    if len(tracks) < 2:
        return None
    count, hours = 0, 0.0
    # Each part is a run of neighbours, because videos that were recorded in a row are similar.
    for part in np.array_split(np.arange(len(tracks)), min(_FOLDS, len(tracks))):
        held_out = set(part.tolist())
        others = [track for i, track in enumerate(tracks) if i not in held_out]
        threshold = calibrate_threshold(others, target_per_hour, rule).threshold
        others_rule = rule.with_threshold(threshold)
        count += sum(len(find_events(tracks[i], others_rule)) for i in held_out)
        hours += sum(tracks[i].timebase.covered_s for i in held_out) / 3600
    return FalseAlarmRate(count, hours)


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

    ``scored`` are normal videos, whose group is their camera, with scores and the digest of the
    mask that they were scored with ("": none). ``rule`` has the threshold so far.
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
    new_spec = replace(old_spec, mask=common)
    changed_profile = replace(model.profiles[profile], spec=new_spec, rule=new_rule)
    new_model = replace(model, profiles={**model.profiles, profile: changed_profile}, card=card)
    return CalibrationResult(new_model, profile, rule.threshold, threshold, cameras, used_mask)
