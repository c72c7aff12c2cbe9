"""A threshold a camera, and the mask that it was set with: kept in a model's card, found again by
the folder that a video lies in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from oddframe.events import EventRule

THRESHOLDS_KEY = "thresholds"
MASKS_KEY = "masks"


def camera_name(path: Path) -> str:
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
    threshold = card.get(THRESHOLDS_KEY, {}).get(profile, {}).get(camera_name(path))
    return rule if threshold is None else rule.with_threshold(threshold)


def with_thresholds(
    card: Mapping[str, Any], profile: str, thresholds: Mapping[str, float]
) -> dict[str, Any]:
    """A card with these thresholds by camera for one profile; none: without its old ones."""
    return _with(card, THRESHOLDS_KEY, profile, thresholds)


def summarize_masks(masks: Iterable[tuple[Path, str]]) -> tuple[str, dict[str, str]]:
    """The mask that all videos have, and each camera's where they differ.

    Args:
        masks: Each video and the digest of its mask ("": it has none).

    Returns:
        (digest, {}) if it is the same for all; else ("", digest by camera).
    """
    by_camera = {camera_name(path): digest for path, digest in masks}
    digests = set(by_camera.values()) or {""}
    return (digests.pop(), {}) if len(digests) == 1 else ("", by_camera)


def masks_by_camera(card: Mapping[str, Any], profile: str) -> dict[str, str]:
    """The masks of a profile's thresholds by camera; none: it has one mask for all cameras."""
    return dict(card.get(MASKS_KEY, {}).get(profile, {}))


def with_masks(card: Mapping[str, Any], profile: str, masks: Mapping[str, str]) -> dict[str, Any]:
    """A card that has the masks of a profile's thresholds by camera; none: without its old ones."""
    return _with(card, MASKS_KEY, profile, masks)


def mask_warning(
    card: Mapping[str, Any], profile: str, common: str, path: Path, used: str
) -> str | None:
    """Why the threshold of a video's camera does not fit its mask; None: it does.

    Args:
        card: A model's card; ``card["masks"]`` is ``{profile: {camera: digest}}``.
        profile: ``best`` or ``fast``.
        common: Digest of the mask that this profile's threshold was set with, for the cameras that
            the card does not list.
        path: The video.
        used: Digest of the mask that it is scored with; "": none.
    """
    own, camera = masks_by_camera(card, profile), camera_name(path)
    if own and camera not in own and not common:
        return "the threshold was set on other cameras, with a mask for each"
    before = own.get(camera, common)
    if before == used:
        return None
    if not used:
        return f"the threshold was set with a mask ({before}), and there is none here: see --mask"
    kind = "another mask" if before else "no mask"
    return f"the threshold was set with {kind}: oddframe calibrate --mask sets one for this mask"


def _with(
    card: Mapping[str, Any], key: str, profile: str, values: Mapping[str, Any]
) -> dict[str, Any]:
    kept = {name: each for name, each in card.get(key, {}).items() if name != profile}
    if values:
        kept[profile] = dict(values)
    changed = {name: value for name, value in card.items() if name != key}
    return changed | ({key: kept} if kept else {})
