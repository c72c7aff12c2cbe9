"""Scores of many videos by one model; features are kept, so that a second run starts at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from oddframe.datasets.labelled import LabelledVideo
from oddframe.datasets.ready import is_ready, ready_features
from oddframe.detector import Detector
from oddframe.errors import InputError
from oddframe.features.spec import Features
from oddframe.features.store import FeatureStore, content_hash
from oddframe.files import is_dir
from oddframe.modelfile import Model
from oddframe.timeline import ScoreTrack
from oddframe.training.side_by_side import GoOn, side_by_side

Progress = Callable[[int, int], None]


def score_videos(
    detector: Detector,
    videos: Sequence[LabelledVideo],
    store: FeatureStore,
    progress: Progress | None = None,
    jobs: int = 1,
) -> tuple[list[tuple[LabelledVideo, ScoreTrack]], list[str]]:
    """Tracks of all videos that can be read, in order, and a line for each that cannot.

    Args:
        detector: The model and what feeds it.
        videos: Videos, folders of frames, or files of features.
        store: Where features are kept.
        progress: Called with (videos done, videos in all).
        jobs: Videos that are decoded side by side.
    """

    def track(video: LabelledVideo, go_on: GoOn) -> ScoreTrack:
        return detector.score(_features(detector, video, store, go_on))

    def told(done: int, _video: LabelledVideo) -> None:
        if progress is not None:
            progress(done, len(videos))

    tracks: list[tuple[LabelledVideo, ScoreTrack]] = []
    failed: list[str] = []
    for video, made in zip(videos, side_by_side(videos, track, jobs, told), strict=True):
        if isinstance(made, ScoreTrack):
            tracks.append((video, made))
        else:
            reason, path = str(made), str(video.path)
            failed.append(reason if path in reason else f"{path}: {reason}")
    return tracks, failed


def check_published(model: Model, videos: Sequence[LabelledVideo]) -> None:
    """Refuse published features that the model does not read, by the first that can be opened.

    All of a data set are of one spec: one line says what some hundred would.

    Raises:
        InputError: they are of another spec; the line names the fields that differ.
    """
    for video in videos:
        if video.made is not None:
            try:
                spec = video.made.open().spec
            except InputError:
                continue
            model.profile_of(spec)
            return


def _features(
    detector: Detector, video: LabelledVideo, store: FeatureStore, go_on: GoOn
) -> Features:
    if is_ready(video):
        return ready_features(video)
    sha256 = content_hash(video.path)
    kept = store.get(sha256, detector.made_spec)
    if kept is None:
        fps = video.fps if is_dir(video.path) else None  # A video has its own times.
        kept = detector.features(video.path, fps=fps, progress=go_on).features
        store.put(sha256, kept)
    return kept


def trained_on(model: Model, data: str, videos: Sequence[LabelledVideo]) -> int:
    """How many of these videos, which could be scored, the model has learned from by its card.

    A card names the contents of those videos, its data set, and the groups of that which were kept
    from training: others of the same group count, too. Published features are known by their group
    alone: to read gigabytes again for a warning would take longer than the scores.
    """
    return sum(
        model.learned_from(data, v.group, "" if is_ready(v) else content_hash(v.path))
        for v in videos
    )
