"""Precomputed features: feature files of a data set, published features and imported ones."""

from __future__ import annotations

from oddframe.datasets.labelled import LabelledVideo
from oddframe.features.formats.feature_file import is_feature_file, read_any_features
from oddframe.features.spec import Features
from oddframe.features.store.store import content_hash


def has_precomputed_features(video: LabelledVideo) -> bool:
    """Whether the video comes with features, so that none are extracted from it."""
    return video.precomputed is not None or is_feature_file(video.path)


def load_precomputed_features(video: LabelledVideo) -> Features:
    """Open the precomputed features of a video; they may stay on disk (``CropArray``).

    Raises:
        InputError: they cannot be used.
    """
    if video.precomputed is not None:
        return video.precomputed.open()
    return read_any_features(video.path, video.frames, video.fps)


def video_digest(video: LabelledVideo) -> str:
    """sha256 (hex) of the video's precomputed features, or else of its file.

    Raises:
        InputError: they cannot be read.
    """
    return content_hash(video.path) if video.precomputed is None else video.precomputed.digest()
