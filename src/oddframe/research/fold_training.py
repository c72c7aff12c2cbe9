"""Train on one part of a split, by video labels only, and score its test videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from oddframe.errors import UsageError
from oddframe.features.lazy_array import (
    AnyFeatures,
    CropFeatures,
    CropViews,
    FeatureArray,
    slice_snippets,
)
from oddframe.methods.scorer import ModelNetwork
from oddframe.metrics import FrameMetrics, LabelledScores, frame_metrics
from oddframe.research.clips import BenchmarkClip, SplicedVideo, splice
from oddframe.research.protocol import BenchmarkProtocol, TrainTestPart
from oddframe.timeline import FloatArray, ScoreTrack
from oddframe.training.config import TrainConfig
from oddframe.training.data.samplers import TrainingVideo

Scorer = Callable[[AnyFeatures], FloatArray]
"""(C, T, D) features of one video -> (T,) scores; a higher score is more abnormal."""


@dataclass(frozen=True)
class FoldResult:
    """The scores that one training gives on its test part.

    Attributes:
        tracks: Frame scores of the test ``videos``.
        clip_scores: (n_clips,) score of each clip on its own: the mean over its snippets.
        frames: Frame-level metrics over ``videos``.
    """

    repeat: int
    fold: int
    videos: tuple[SplicedVideo, ...]
    tracks: tuple[ScoreTrack, ...]
    clips: tuple[BenchmarkClip, ...]
    clip_scores: FloatArray
    frames: FrameMetrics


def training_bags(
    clips: Sequence[BenchmarkClip], protocol: BenchmarkProtocol, seed: int
) -> tuple[TrainingVideo, ...]:
    """The bags of a training: the clips, or videos spliced from them."""
    if protocol.even_lengths:
        clips = with_equal_lengths(clips, seed)
    tiles = len(clips[0].array) if clips[0].tiled else 1
    if protocol.train_on == "spliced":
        videos = splice(clips, protocol.train_videos, seed)
        return tuple(TrainingVideo(video.views, video.abnormal, tiles) for video in videos)
    return tuple(TrainingVideo(clip.views, clip.abnormal, tiles, clip.bags) for clip in clips)


def with_equal_lengths(clips: Sequence[BenchmarkClip], seed: int) -> tuple[BenchmarkClip, ...]:
    """The clips; each normal one is cut at a random place to the length of an abnormal one."""
    rng = np.random.default_rng(seed)
    lengths = [clip.array.shape[1] for clip in clips if clip.abnormal]
    cut = []
    for clip in clips:
        n = clip.array.shape[1]
        length = n if clip.abnormal else min(n, int(rng.choice(lengths)))
        start = int(rng.integers(n - length + 1))
        cut.append(clip if length == n else clip.cut(start, start + length))
    return tuple(cut)


def make_test_videos(part: TrainTestPart, protocol: BenchmarkProtocol) -> tuple[SplicedVideo, ...]:
    """The test videos of a part: its clips, or videos spliced from them."""
    if protocol.test_videos is None:
        return tuple(SplicedVideo((clip,)) for clip in part.test)
    return splice(part.test, protocol.test_videos, protocol.part_seed(part) + 1)


def as_training_videos(bags: Sequence[TrainingVideo], config: TrainConfig) -> list[TrainingVideo]:
    """The bags as ``fit`` takes them: float32, and cut to the recipe's segments or not at all."""
    segments = config.full_recipe().segments
    videos = []
    for bag in bags:
        cut = _as_float32(bag.bags) if bag.bags and len(bag.bags[0]) == segments else None
        videos.append(replace(bag, views=_as_float32(bag.views), bags=cut))
    return videos


def _as_float32(views: Sequence[FeatureArray]) -> Sequence[CropFeatures]:
    """Views in the type that training reads; those mapped from disk have it, and stay mapped."""
    if isinstance(views, CropViews):
        return views
    return tuple(view.astype(np.float32, copy=False) for view in views)


def network_scorer(network: ModelNetwork, *, tiled: bool, spacing: float = 1.0) -> Scorer:
    """A network's scores: the mean over the crops, or the highest of the tiles.

    ``spacing`` is the distance of the scored snippets over that of the profile ``best``.
    """

    def score(array: AnyFeatures) -> FloatArray:
        if tiled:
            return np.asarray(network.score_tiles(np.asarray(array), spacing).max(axis=0))
        return network.score_views(array, spacing)

    return score


def score_part(
    part: TrainTestPart,
    videos: tuple[SplicedVideo, ...],
    scorer: Scorer,
    protocol: BenchmarkProtocol,
) -> FoldResult:
    scores = [_window_scores(scorer, video.array, protocol) for video in videos]
    tracks = tuple(video.track(each) for video, each in zip(videos, scores, strict=True))
    pairs = zip(tracks, videos, strict=True)
    metrics = frame_metrics([LabelledScores.from_track(t, video.labels) for t, video in pairs])
    if protocol.test_videos is not None:  # Otherwise the videos are the clips.
        scores = [_window_scores(scorer, clip.array, protocol) for clip in part.test]
    clip_scores = np.array([each.mean() for each in scores])
    return FoldResult(part.repeat, part.fold, videos, tracks, part.test, clip_scores, metrics)


def score_video(video: SplicedVideo, scorer: Scorer, protocol: BenchmarkProtocol) -> ScoreTrack:
    return video.track(_window_scores(scorer, video.array, protocol))


def _window_scores(scorer: Scorer, array: AnyFeatures, protocol: BenchmarkProtocol) -> FloatArray:
    """(C, T, D) -> (T,), window by window.

    The last window reaches back to be as long as the others; snippets that the window before it
    scored keep those scores.
    """
    length = array.shape[1]
    size = min(protocol.window or length, length)
    scores = np.empty(length)
    for start in range(0, length, size):
        first = min(start, length - size)
        window = array if size == length else slice_snippets(array, first, first + size)
        found = np.asarray(scorer(window), dtype=np.float64)
        if found.shape != window.shape[1:2]:
            raise UsageError(f"a scorer gave {found.shape} for {window.shape[1]} snippets")
        scores[start : start + size] = found[start - first :]
    return smooth_scores(scores, protocol.smooth)


def smooth_scores(scores: FloatArray, deviation: float) -> FloatArray:
    """(T,) scores smoothed by a Gaussian of this standard deviation in snippets.

    At the ends the weights are those of the snippets that exist.
    """
    if deviation <= 0:
        return scores
    reach = int(np.ceil(4 * deviation))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    middle = slice(reach, reach + len(scores))
    weight = np.convolve(np.ones(len(scores)), kernel)[middle]
    return np.asarray(np.convolve(scores, kernel)[middle] / weight)
