"""Thresholds from normal video, and what may be promised of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oddframe.errors import UsageError
from oddframe.evaluation.results import FalseAlarmRate
from oddframe.events import EventRule, calibrate_threshold, find_events, hours_needed
from oddframe.timeline import ScoreTrack

_FOLDS = 5


@dataclass(frozen=True)
class CalibratedThreshold:
    """A threshold and what it stands on.

    Attributes:
        value: The lowest one that keeps the wish on the videos that it was set on; where they are
            too few hours to show the wish, not below the one that was there before.
        target_per_hour: At most so many false alarms an hour.
        videos: Videos that it was set on.
        false_alarms: False alarms that are left in those very videos, and their hours. The
        threshold was
            made to fit them, so new video may well have more.
        cross_checked: False alarms in each fifth of the videos at the threshold of the other four
        fifths,
            which is how thresholds do on video that did not set them; None for a single video.
        unchanged: Whether it is the one that was there before, as so little video may not lower it.
    """

    value: float
    target_per_hour: float
    videos: int
    false_alarms: FalseAlarmRate
    cross_checked: FalseAlarmRate | None
    unchanged: bool = False

    @property
    def enough_hours(self) -> bool:
        """Whether so many hours can show the wished rate."""
        return self.false_alarms.hours >= self.hours_needed

    @property
    def hours_needed(self) -> float:
        """Hours of normal video that could show the wish; infinite for none at all."""
        return hours_needed(self.target_per_hour)


def set_threshold(
    tracks: Sequence[ScoreTrack], target_per_hour: float, rule: EventRule
) -> CalibratedThreshold:
    """The lowest threshold for at most ``wish`` false alarms an hour, and a check of it.

    Any few seconds are quiet at some low threshold: video that is too short to show the wish may
    raise the rule's threshold but does not lower it.

    Args:
        tracks: Normal videos, in an order in which neighbours are alike (by camera, by time).
        target_per_hour: False alarms an hour.
        rule: The events' rule, and the threshold so far.

    Raises:
        UsageError: no tracks, or a negative wish.
        InputError: a score is not finite.
    """
    found, checked = (
        calibrate_threshold(tracks, target_per_hour, rule),
        _checked(tracks, target_per_hour, rule),
    )
    alarms = FalseAlarmRate(found.false_alarms, found.hours)
    if found.hours >= hours_needed(target_per_hour) or found.threshold >= rule.threshold:
        return CalibratedThreshold(found.threshold, target_per_hour, len(tracks), alarms, checked)
    left = sum(len(find_events(track, rule)) for track in tracks)
    alarms = FalseAlarmRate(left, found.hours)
    return CalibratedThreshold(
        rule.threshold, target_per_hour, len(tracks), alarms, checked, unchanged=True
    )


def set_thresholds_by_camera(
    tracks: Sequence[tuple[str, ScoreTrack]], target_per_hour: float, rule: EventRule
) -> dict[str, CalibratedThreshold]:
    """A threshold for each camera from its own videos alone, by its name; as ``set_threshold``.

    ``rule`` holds where a camera has too little video to lower it.

    Raises:
        UsageError: no tracks, or a negative wish.
    """
    if not tracks:
        raise UsageError("a threshold needs at least one normal video")
    own: defaultdict[str, list[ScoreTrack]] = defaultdict(list)
    for camera, track in tracks:
        own[camera].append(track)
    return {camera: set_threshold(own[camera], target_per_hour, rule) for camera in sorted(own)}


def _checked(
    tracks: Sequence[ScoreTrack], target_per_hour: float, rule: EventRule
) -> FalseAlarmRate | None:
    if len(tracks) < 2:
        return None
    count, hours = 0, 0.0
    # Whole stretches, not every fifth video: what was recorded one after the other is alike.
    for part in np.array_split(np.arange(len(tracks)), min(_FOLDS, len(tracks))):
        out = set(part.tolist())
        others = [track for i, track in enumerate(tracks) if i not in out]
        at = rule.with_threshold(calibrate_threshold(others, target_per_hour, rule).threshold)
        count += sum(len(find_events(tracks[i], at)) for i in out)
        hours += sum(tracks[i].timebase.covered_s for i in out) / 3600
    return FalseAlarmRate(count, hours)
