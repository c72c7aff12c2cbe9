"""A threshold a camera: kept in a model's card, found again by the folder that a video lies in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oddframe.events import EventRule

THRESHOLDS = "thresholds"


def camera_of(path: Path) -> str:
    """The camera that a video is of: the name of the folder that it lies in."""
    return path.absolute().parent.name


def camera_rule(card: Mapping[str, Any], profile: str, rule: EventRule, path: Path) -> EventRule:
    """``rule`` at the threshold of a video's camera, or as it is where the camera has none.

    Args:
        card: A model's card; ``card["thresholds"]`` is ``{profile: {camera: threshold}}``, for the
            scores of one profile say nothing of another's.
        profile: ``best`` or ``fast``.
        rule: That profile's rule, for every other camera.
        path: The video.
    """
    threshold = card.get(THRESHOLDS, {}).get(profile, {}).get(camera_of(path))
    return rule if threshold is None else rule.with_threshold(threshold)


def with_thresholds(
    card: Mapping[str, Any], profile: str, thresholds: Mapping[str, float]
) -> dict[str, Any]:
    """A card with these thresholds by camera for one profile; none: without its old ones."""
    kept = {name: each for name, each in card.get(THRESHOLDS, {}).items() if name != profile}
    if thresholds:
        kept[profile] = dict(thresholds)
    changed = {name: value for name, value in card.items() if name != THRESHOLDS}
    return changed | ({THRESHOLDS: kept} if kept else {})
