"""Thresholds and masks for each camera, as stored in a model's card.

The camera of a video is the name of the folder that contains it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from oddframe.events import EventRule

_THRESHOLDS_KEY = "thresholds"  # {profile: {camera: threshold}}, as profiles differ in scores.
_MASKS_KEY = "masks"  # {profile: {camera: digest of the mask}}


def camera_name(path: Path) -> str:
    """The camera of a video: the name of the folder that contains it."""
    return path.absolute().parent.name


def camera_rule(card: Mapping[str, Any], profile: str, rule: EventRule, path: Path) -> EventRule:
    """A profile's ``rule`` at the threshold of a video's camera, if the camera has one."""
    threshold = card.get(_THRESHOLDS_KEY, {}).get(profile, {}).get(camera_name(path))
    return rule if threshold is None else rule.with_threshold(threshold)


def with_thresholds(
    card: Mapping[str, Any], profile: str, thresholds: Mapping[str, float]
) -> dict[str, Any]:
    """Replace the thresholds by camera of one profile in a card; an empty mapping removes them."""
    return _replace_values(card, _THRESHOLDS_KEY, profile, thresholds)


def summarize_masks(masks: Iterable[tuple[Path, str]]) -> tuple[str, dict[str, str]]:
    """(digest, {}) if all videos have the same mask; else ("", digest by camera).

    ``masks`` are the path of each video and the digest of its mask; "": no mask.
    """
    by_camera = {camera_name(path): digest for path, digest in masks}
    digests = set(by_camera.values()) or {""}
    return (digests.pop(), {}) if len(digests) == 1 else ("", by_camera)


def masks_by_camera(card: Mapping[str, Any], profile: str) -> dict[str, str]:
    """Mask digests by camera of a profile's thresholds; empty: all cameras have the same mask."""
    return dict(card.get(_MASKS_KEY, {}).get(profile, {}))


def with_masks(card: Mapping[str, Any], profile: str, masks: Mapping[str, str]) -> dict[str, Any]:
    """Replace the mask digests by camera of one profile in a card; an empty one removes them."""
    return _replace_values(card, _MASKS_KEY, profile, masks)


def mask_warning(
    card: Mapping[str, Any], profile: str, common: str, path: Path, used: str
) -> str | None:
    """Explain why the threshold of a video's camera does not fit its mask; None: it fits.

    The threshold of cameras that the card does not list was set with the mask ``common``, and the
    video is scored with the mask ``used``, both digests; "": no mask.
    """
    by_camera, camera = masks_by_camera(card, profile), camera_name(path)
    if by_camera and camera not in by_camera and not common:
        return "the threshold was set on other cameras, with a mask for each"
    calibrated = by_camera.get(camera, common)
    if calibrated == used:
        return None
    if not used:
        return (
            f"the threshold was set with a mask ({calibrated}), and there is none here: see --mask"
        )
    kind = "another mask" if calibrated else "no mask"
    return f"the threshold was set with {kind}: oddframe calibrate --mask sets one for this mask"


def _replace_values(
    card: Mapping[str, Any], key: str, profile: str, values: Mapping[str, Any]
) -> dict[str, Any]:
    profiles = {name: each for name, each in card.get(key, {}).items() if name != profile}
    if values:
        profiles[profile] = dict(values)
    others = {name: value for name, value in card.items() if name != key}
    return others | ({key: profiles} if profiles else {})
