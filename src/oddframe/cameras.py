"""Thresholds and masks for each camera, as stored in a model's card.

The camera of a video is the name of the folder that contains it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from oddframe.events import EventRule

THRESHOLDS_KEY = "thresholds"
MASKS_KEY = "masks"


def camera_name(path: Path) -> str:
    """The camera of a video: the name of the folder that contains it."""
    return path.absolute().parent.name


def camera_rule(card: Mapping[str, Any], profile: str, rule: EventRule, path: Path) -> EventRule:
    """``rule`` at the threshold of a video's camera; unchanged if the camera has none.

    Args:
        card: A model's card; ``card["thresholds"]`` is ``{profile: {camera: threshold}}``, since
            the scores of different profiles are not comparable.
        profile: ``best`` or ``fast``.
        rule: The profile's rule for all other cameras.
        path: The video.
    """
    threshold = card.get(THRESHOLDS_KEY, {}).get(profile, {}).get(camera_name(path))
    return rule if threshold is None else rule.with_threshold(threshold)


def with_thresholds(
    card: Mapping[str, Any], profile: str, thresholds: Mapping[str, float]
) -> dict[str, Any]:
    """Replace the thresholds by camera of one profile in a card; an empty mapping removes them."""
    return _replace_values(card, THRESHOLDS_KEY, profile, thresholds)


def summarize_masks(masks: Iterable[tuple[Path, str]]) -> tuple[str, dict[str, str]]:
    """Summarize the masks of videos as one common mask or one for each camera.

    Args:
        masks: Path of each video and digest of its mask; "": no mask.

    Returns:
        (digest, {}) if all videos have the same mask; else ("", digest by camera).
    """
    by_camera = {camera_name(path): digest for path, digest in masks}
    digests = set(by_camera.values()) or {""}
    return (digests.pop(), {}) if len(digests) == 1 else ("", by_camera)


def masks_by_camera(card: Mapping[str, Any], profile: str) -> dict[str, str]:
    """Mask digests by camera of a profile's thresholds; empty: all cameras have the same mask."""
    return dict(card.get(MASKS_KEY, {}).get(profile, {}))


def with_masks(card: Mapping[str, Any], profile: str, masks: Mapping[str, str]) -> dict[str, Any]:
    """Replace the mask digests by camera of one profile in a card; an empty one removes them."""
    return _replace_values(card, MASKS_KEY, profile, masks)


def mask_warning(
    card: Mapping[str, Any], profile: str, common: str, path: Path, used: str
) -> str | None:
    """Explain why the threshold of a video's camera does not fit its mask; None: it fits.

    Args:
        card: A model's card; ``card["masks"]`` is ``{profile: {camera: digest}}``.
        profile: ``best`` or ``fast``.
        common: Digest of the mask with which the threshold was set, for cameras that the card does
            not list; "": no mask.
        path: The video.
        used: Digest of the mask with which the video is scored; "": no mask.
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
