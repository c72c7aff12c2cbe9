"""Score many videos with one model; features are stored, so that a second run starts at once."""

from __future__ import annotations

from collections.abc import Sequence

from oddframe._utils.files import is_dir
from oddframe._utils.parallel import CancelCheck, parallel_map
from oddframe._utils.progress import StageProgress, ignore_progress
from oddframe.datasets.labelled import LabelledVideo
from oddframe.datasets.precomputed import (
    has_precomputed_features,
    load_precomputed_features,
    video_digest,
)
from oddframe.datasets.registry import dataset_names
from oddframe.detector import Detector
from oddframe.errors import InputError
from oddframe.features.spec import Features
from oddframe.features.store.store import FeatureStore, content_hash
from oddframe.modelfile import Model
from oddframe.timeline import ScoreTrack
from oddframe.video.mask import Mask, Masks


def score_videos(
    detector: Detector,
    videos: Sequence[LabelledVideo],
    store: FeatureStore,
    progress: StageProgress = ignore_progress,
    jobs: int = 1,
    masks: Masks = Masks(),  # noqa: B008 - frozen
) -> tuple[list[tuple[LabelledVideo, ScoreTrack]], list[str]]:
    """Scores of all videos that can be read, in order, and a line for each that cannot.

    ``jobs`` is the number of videos that are decoded at the same time.
    """

    def score(video: LabelledVideo, check_cancelled: CancelCheck) -> ScoreTrack:
        return detector.score(
            _features(detector, video, store, check_cancelled, masks.for_video(video.path))
        )

    def on_done(done: int, _: LabelledVideo) -> None:
        progress(done, len(videos))

    scored: list[tuple[LabelledVideo, ScoreTrack]] = []
    failed: list[str] = []
    for video, result in zip(videos, parallel_map(videos, score, jobs, on_done), strict=True):
        if isinstance(result, ScoreTrack):
            scored.append((video, result))
        else:
            reason, path = str(result), str(video.path)
            failed.append(reason if path in reason else f"{path}: {reason}")
    return scored, failed


def mask_used(video: LabelledVideo, masks: Masks) -> str:
    """Digest of the mask that a video was scored with; precomputed features have it in a spec."""
    if has_precomputed_features(video):
        return load_precomputed_features(video).spec.mask
    return masks.digest_of(video.path)


def check_precomputed_spec(model: Model, videos: Sequence[LabelledVideo]) -> None:
    """Check that the model reads the precomputed features of these videos.

    Opens the first that can be opened, because all features of a data set have the same spec. An
    InputError names the fields that differ.
    """
    for video in videos:
        if video.precomputed is not None:
            try:
                spec = video.precomputed.open().spec
            except InputError:
                continue
            model.profile_of(spec)
            return


def _features(
    detector: Detector,
    video: LabelledVideo,
    store: FeatureStore,
    check_cancelled: CancelCheck,
    mask: Mask | None,
) -> Features:
    if has_precomputed_features(video):
        return load_precomputed_features(video)
    sha256 = content_hash(video.path)
    features = store.get(sha256, detector.extraction_spec(mask))
    if features is None:
        fps = video.fps if is_dir(video.path) else None  # Only frames in a folder have no times.
        extraction = detector.features(video.path, fps=fps, mask=mask, progress=check_cancelled)
        features = extraction.features
        store.put(sha256, features)
    return features


def count_trained_on(model: Model, data: str, videos: Sequence[LabelledVideo]) -> int:
    """How many of these videos the model was trained on, by its card.

    Videos are compared by their contents, and count also where another of their group was trained
    on. Precomputed features of published data sets are compared by the names of data set and
    group, because reading gigabytes for a warning would take longer than scoring.
    """
    if data in dataset_names() and any(video.precomputed is not None for video in videos):
        unseen = model.unseen_groups(data)
        return 0 if unseen is None else sum(video.group not in unseen for video in videos)
    return sum(model.learned_from([(video.group, video_digest(video)) for video in videos]))
