"""Set a threshold on normal video, and check it on video that did not set it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from oddframe.errors import UsageError
from oddframe.evaluation.results import FalseAlarmRate
from oddframe.events import EventRule, calibrate_threshold, find_events, hours_needed
from oddframe.timeline import ScoreTrack

_FOLDS = 5


@dataclass(frozen=True)
class CalibratedThreshold:
    """A threshold and the video that it was set on.

    Attributes:
        value: The lowest threshold that keeps the target on these videos; where they have too few
            hours to show the target, at least the previous threshold.
        target_per_hour: The highest rate of false alarms.
        videos: Number of videos that it was set on.
        false_alarms: False alarms that remain in these videos, and their hours. The threshold was
            fitted to them, so new video may have more.
        cross_checked: False alarms in each fifth of the videos at the threshold of the other four
            fifths: how thresholds do on video that did not set them. None for a single video.
        unchanged: Whether it is the previous threshold, because the video is too short to lower it.
    """

    value: float
    target_per_hour: float
    videos: int
    false_alarms: FalseAlarmRate
    cross_checked: FalseAlarmRate | None
    unchanged: bool = False

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
    too short to show the target may raise the rule's threshold but does not lower it.

    Args:
        tracks: Normal videos, ordered so that similar ones are neighbours (by camera, by time).
        target_per_hour: The highest rate of false alarms.
        rule: The event rule with the threshold so far.

    Raises:
        UsageError: there are no tracks, or the target is negative.
        InputError: a score is not finite.
    """
    lowest = calibrate_threshold(tracks, target_per_hour, rule)
    checked = _cross_check(tracks, target_per_hour, rule)
    alarms = FalseAlarmRate(lowest.false_alarms, lowest.hours)
    if lowest.hours >= hours_needed(target_per_hour) or lowest.threshold >= rule.threshold:
        return CalibratedThreshold(lowest.threshold, target_per_hour, len(tracks), alarms, checked)
    remaining = sum(len(find_events(track, rule)) for track in tracks)
    alarms = FalseAlarmRate(remaining, lowest.hours)
    return CalibratedThreshold(
        rule.threshold, target_per_hour, len(tracks), alarms, checked, unchanged=True
    )


def set_thresholds_by_camera(
    tracks: Sequence[tuple[str, ScoreTrack]], target_per_hour: float, rule: EventRule
) -> dict[str, CalibratedThreshold]:
    """``set_threshold`` for each camera on its own videos alone, by the camera's name.

    Args:
        tracks: Cameras and normal videos.
        target_per_hour: The highest rate of false alarms.
        rule: The event rule; its threshold stays where a camera has too little video to lower it.

    Raises:
        UsageError: there are no tracks, or the target is negative.
    """
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
        others_rule = rule.with_threshold(
            calibrate_threshold(others, target_per_hour, rule).threshold
        )
        count += sum(len(find_events(tracks[i], others_rule)) for i in held_out)
        hours += sum(tracks[i].timebase.covered_s for i in held_out) / 3600
    return FalseAlarmRate(count, hours)
