"""Scores of many videos by one model; features are kept, so that a second run starts at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from oddframe._utils.files import is_dir
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
from oddframe.training.data.parallel import CancelCheck, parallel_map
from oddframe.video.mask import Mask, Masks

ScoringProgress = Callable[[int, int], None]


def score_videos(
    detector: Detector,
    videos: Sequence[LabelledVideo],
    store: FeatureStore,
    progress: ScoringProgress | None = None,
    jobs: int = 1,
    masks: Masks = Masks(),  # noqa: B008 - frozen
) -> tuple[list[tuple[LabelledVideo, ScoreTrack]], list[str]]:
    """Tracks of all videos that can be read, in order, and a line for each that cannot.

    Args:
        detector: The model and what feeds it.
        videos: Videos, folders of frames, or files of features.
        store: Where features are kept.
        progress: Called with (videos done, videos in all).
        jobs: Videos that are decoded side by side.
        masks: Parts of the pictures to ignore.
    """

    def track(video: LabelledVideo, check_cancelled: CancelCheck) -> ScoreTrack:
        return detector.score(
            _features(detector, video, store, check_cancelled, masks.of(video.path))
        )

    def told(done: int, _video: LabelledVideo) -> None:
        if progress is not None:
            progress(done, len(videos))

    tracks: list[tuple[LabelledVideo, ScoreTrack]] = []
    failed: list[str] = []
    for video, made in zip(videos, parallel_map(videos, track, jobs, told), strict=True):
        if isinstance(made, ScoreTrack):
            tracks.append((video, made))
        else:
            reason, path = str(made), str(video.path)
            failed.append(reason if path in reason else f"{path}: {reason}")
    return tracks, failed


def mask_used(video: LabelledVideo, masks: Masks) -> str:
    """Digest of the mask that a video, which could be scored, was scored with; "": none.

    Features that were made before say it themselves.
    """
    if has_precomputed_features(video):
        return load_precomputed_features(video).spec.mask
    return masks.digest_of(video.path)


def check_precomputed_spec(model: Model, videos: Sequence[LabelledVideo]) -> None:
    """Refuse published features that the model does not read, by the first that can be opened.

    All of a data set are of one spec: one line says what some hundred would.

    Raises:
        InputError: they are of another spec; the line names the fields that differ.
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
    kept = store.get(sha256, detector.extraction_spec(mask))
    if kept is None:
        fps = video.fps if is_dir(video.path) else None  # A video has its own times.
        kept = detector.features(video.path, fps=fps, mask=mask, progress=check_cancelled).features
        store.put(sha256, kept)
    return kept


def count_trained_on(model: Model, data: str, videos: Sequence[LabelledVideo]) -> int:
    """How many of these videos, which could be scored, the model has learned from by its card.

    Videos are compared by their contents; others of the same group count, too. Features that a
    published data set comes with are compared by the names of data set and group: to read gigabytes
    again for a warning would take longer than the scores.
    """
    if data in dataset_names() and any(video.precomputed is not None for video in videos):
        unseen = model.unseen_groups(data)
        return 0 if unseen is None else sum(video.group not in unseen for video in videos)
    return sum(model.learned_from([(video.group, video_digest(video)) for video in videos]))
