"""Videos whose features were made before: files that come with a data set, or published ones."""

from __future__ import annotations

from oddframe.datasets.labelled import LabelledVideo
from oddframe.features.formats.arrays import is_feature_file, read_any_features
from oddframe.features.spec import Features
from oddframe.features.store.store import content_hash


def has_precomputed_features(video: LabelledVideo) -> bool:
    """Whether features of the video are there, so that none are ever made of it."""
    return video.precomputed is not None or is_feature_file(video.path)


def load_precomputed_features(video: LabelledVideo) -> Features:
    """The features that are there; they may lie on disk (``CropArray``).

    Raises:
        InputError: they cannot be used; the line says why.
    """
    if video.precomputed is not None:
        return video.precomputed.open()
    return read_any_features(video.path, video.frames, video.fps)


def video_digest(video: LabelledVideo) -> str:
    """sha256 (hex) of what is known of the video: of its features if they are ready, else its file.

    Raises:
        InputError: it cannot be read.
    """
    return content_hash(video.path) if video.precomputed is None else video.precomputed.digest()
