"""One protocol for whatever is compared: the same parts, bags, test videos and seeds.

Whatever is compared comes in as a ``ModelTrainer``, so that a method, a baseline and a control see
the
same bags, folds and videos. A trainer gets video labels only.

A training configuration as a ``ModelTrainer``: what ``oddframe train`` does, under a protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

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
from oddframe.research.splice import Clip, Spliced, SpliceRule, splice
from oddframe.research.splits import Folds, Part, Split
from oddframe.timeline import FloatArray, ScoreTrack
from oddframe.training.config import TrainConfig
from oddframe.training.data.samplers import TrainingVideo
from oddframe.training.log import OnStep
from oddframe.training.loop import OnNetwork, fit
from oddframe.training.step import FitResult


@dataclass(frozen=True)
class Bag:
    """A video for training: its views, each (T, D), and its label: all that is known of it.

    Of ``tiles`` in a row a view is (tiles * T, D). ``bags`` are the views in the recipe's segments,
    each (S, D), where they were cut before.
    """

    views: Sequence[FeatureArray]
    abnormal: bool
    tiles: int = 1
    bags: Sequence[FeatureArray] | None = None


Scorer = Callable[[AnyFeatures], FloatArray]
"""(C, T, D) features of one video -> (T,) scores; higher is odder."""

Trainer = Callable[[Sequence[Bag], int], Scorer]
"""Training bags and a seed -> what was learnt."""


@dataclass(frozen=True)
class Protocol:
    """How clips are split, and what is trained and tested on.

    Attributes:
        split: Which clips are trained on, which tested on.
        repeats: How often all of it is done, with other splits, splices and seeds.
        train_on: ``spliced``: bags are untrimmed videos, so a label says little of a snippet;
            ``clips``: bags are the clips themselves.
        train_videos: How training videos are spliced.
        test_videos: How test videos are spliced; None: each clip is a test video of its own.
        even_lengths: Cut normal training clips to lengths that abnormal ones have, so that a bag's
            length tells nothing of its label.
        window: Snippets that are scored at a time, so that no method sees a test video's length;
            None: the whole video.
        smooth: Deviation in snippets of the Gaussian that every method's scores are smoothed with;
            0: none.
        seed: Of the splits, the splices and the trainings.
    """

    split: Split = field(default_factory=Folds)
    repeats: int = 2
    train_on: Literal["spliced", "clips"] = "spliced"
    train_videos: SpliceRule = field(
        default_factory=lambda: SpliceRule(normal_videos=100, abnormal_videos=100)
    )
    test_videos: SpliceRule | None = field(default_factory=SpliceRule)
    even_lengths: bool = False
    window: int | None = None
    smooth: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class FoldResult:
    """What one training scored on its test part.

    Attributes:
        repeat: Number of the repeat.
        fold: Number of the fold in it.
        videos: Test videos.
        tracks: Their frame scores.
        clips: The test clips.
        clip_scores: (n_clips,) each clip scored alone: the mean over its snippets.
        frames: Frame-level figures over ``videos``.
    """

    repeat: int
    fold: int
    videos: tuple[Spliced, ...]
    tracks: tuple[ScoreTrack, ...]
    clips: tuple[Clip, ...]
    clip_scores: FloatArray
    frames: FrameMetrics


def parts_of(clips: Sequence[Clip], protocol: Protocol) -> Iterator[Part]:
    """What is trained and tested on, over all repeats.

    Raises:
        UsageError: the clips cannot be split so.
    """
    for repeat in range(protocol.repeats):
        yield from protocol.split.parts(clips, repeat, protocol.seed)


def training_bags(clips: Sequence[Clip], protocol: Protocol, seed: int) -> tuple[Bag, ...]:
    """The bags that a trainer gets: clips, or videos spliced from them."""
    if protocol.even_lengths:
        clips = evened(clips, seed)
    tiles = len(clips[0].array) if clips[0].tiled else 1
    if protocol.train_on == "spliced":
        videos = splice(clips, protocol.train_videos, seed)
        return tuple(Bag(video.views, video.abnormal, tiles) for video in videos)
    return tuple(Bag(clip.views, clip.abnormal, tiles, clip.bags) for clip in clips)


def evened(clips: Sequence[Clip], seed: int) -> tuple[Clip, ...]:
    """The clips, normal ones cut at a random place to the length of an abnormal one."""
    rng = np.random.default_rng(seed)
    lengths = [clip.array.shape[1] for clip in clips if clip.abnormal]
    kept = []
    for clip in clips:
        n = clip.array.shape[1]
        length = n if clip.abnormal else min(n, int(rng.choice(lengths)))
        start = int(rng.integers(n - length + 1))
        kept.append(clip if length == n else clip.cut(start, start + length))
    return tuple(kept)


def seed_of(part: Part, protocol: Protocol) -> int:
    """The seed of one part's bags and training; the one after it is that of its test videos."""
    # Two seeds for each fold; test videos must not depend on what is trained.
    return 2 * (1000 * (protocol.seed + part.repeat) + part.fold)


def videos_of(part: Part, protocol: Protocol) -> tuple[Spliced, ...]:
    """The test videos of a part: its clips, or videos spliced from them."""
    if protocol.test_videos is None:
        return tuple(Spliced((clip,)) for clip in part.test)
    return splice(part.test, protocol.test_videos, seed_of(part, protocol) + 1)


def run_part(part: Part, trainer: Trainer, protocol: Protocol) -> FoldResult:
    """Train on one part's training clips and score its test clips."""
    seed = seed_of(part, protocol)
    scorer = trainer(training_bags(part.train, protocol, seed), seed)
    return scored(part, videos_of(part, protocol), scorer, protocol)


def scored(
    part: Part, videos: tuple[Spliced, ...], scorer: Scorer, protocol: Protocol
) -> FoldResult:
    """What was learnt, on the test videos and clips of a part."""
    each = [_scores(scorer, video.array, protocol) for video in videos]
    tracks = tuple(video.track(scores) for video, scores in zip(videos, each, strict=True))
    labelled = [
        LabelledScores.from_track(track, video.labels)
        for track, video in zip(tracks, videos, strict=True)
    ]
    if protocol.test_videos is not None:  # Else the videos are the clips.
        each = [_scores(scorer, clip.array, protocol) for clip in part.test]
    alone = np.array([scores.mean() for scores in each])
    return FoldResult(
        part.repeat, part.fold, videos, tracks, part.test, alone, frame_metrics(labelled)
    )


def track_of(video: Spliced, scorer: Scorer, protocol: Protocol) -> ScoreTrack:
    """What was learnt, on one video."""
    return video.track(_scores(scorer, video.array, protocol))


def _scores(scorer: Scorer, array: AnyFeatures, protocol: Protocol) -> FloatArray:
    """(C, T, D) -> (T,), window by window; the last one reaches back to be as long as the others.

    Its snippets that the window before has scored already keep their scores.
    """
    length = array.shape[1]
    size = min(protocol.window or length, length)
    if size == length:
        return smooth(_checked(scorer, array), protocol.smooth)
    scores = np.empty(length)
    for start in range(0, length, size):
        first = min(start, length - size)
        window = slice_snippets(array, first, first + size)
        scores[start : start + size] = _checked(scorer, window)[start - first :]
    return smooth(scores, protocol.smooth)


def smooth(scores: FloatArray, deviation: float) -> FloatArray:
    """(T,) smoothed by a Gaussian of that deviation in snippets; at the ends over what is there."""
    if deviation <= 0:
        return scores
    reach = int(np.ceil(4 * deviation))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    middle = slice(reach, reach + len(scores))
    weight = np.convolve(np.ones(len(scores)), kernel)[middle]
    smoothed: FloatArray = np.convolve(scores, kernel)[middle] / weight
    return smoothed


def _checked(scorer: Scorer, array: AnyFeatures) -> FloatArray:
    scores = np.asarray(scorer(array), dtype=np.float64)
    if scores.shape != array.shape[1:2]:
        raise UsageError(f"a scorer gave {scores.shape} for {array.shape[1]} snippets")
    return scores


def run(
    clips: Sequence[Clip],
    trainer: Trainer,
    protocol: Protocol,
    progress: Callable[[FoldResult], None] | None = None,
) -> tuple[FoldResult, ...]:
    """All folds of all repeats."""
    results = []
    for part in parts_of(clips, protocol):
        results.append(run_part(part, trainer, protocol))
        if progress:
            progress(results[-1])
    return tuple(results)


def inner_parts(part: Part, folds: int, seed: int = 0) -> tuple[Part, ...]:
    """The training clips of a fold, cut into folds by recording themselves.

    Choices are made here: the clips of ``part.test`` are in none of them.
    """
    return tuple(parts_of(part.train, Protocol(Folds(folds), repeats=1, seed=seed)))


def validate(
    part: Part, candidates: Mapping[str, Trainer], protocol: Protocol, inner_folds: int
) -> dict[str, tuple[FoldResult, ...]]:
    """Each candidate on the validation recordings inside one fold's training part."""
    inner = inner_parts(part, inner_folds, protocol.seed)
    return {
        name: tuple(run_part(one, trainer, protocol) for one in inner)
        for name, trainer in candidates.items()
    }


def mean_auc(results: Sequence[FoldResult]) -> float:
    """Mean frame AUC over folds, what candidates are compared by."""
    return float(np.mean([result.frames.auc for result in results]))


def run_nested(
    clips: Sequence[Clip],
    candidates: Mapping[str, Trainer],
    protocol: Protocol,
    *,
    inner_folds: int = 3,
    judge: Callable[[Sequence[FoldResult]], float] = mean_auc,
    progress: Callable[[FoldResult], None] | None = None,
) -> tuple[tuple[FoldResult, ...], tuple[str, ...]]:
    """Choose among ``candidates`` anew in each fold, on its validation recordings, then test.

    Returns:
        The results, and the name of the candidate that was chosen for each.
    """
    results, chosen = [], []
    for part in parts_of(clips, protocol):
        validated = validate(part, candidates, protocol, inner_folds)
        best = max(validated, key=lambda name: judge(validated[name]))
        results.append(run_part(part, candidates[best], protocol))
        chosen.append(best)
        if progress:
            progress(results[-1])
    return tuple(results), tuple(chosen)


def on_clips(protocol: Protocol) -> Protocol:
    """The same protocol with the clips themselves as bags."""
    return replace(protocol, train_on="clips")


def method_trainer(config: TrainConfig, spacing: float = 1.0) -> Trainer:
    """Trains ``config``'s method with its recipe on the bags that the protocol hands out.

    ``spacing``: of the snippets that are scored, over those of the profile ``best``.
    """

    def train(bags: Sequence[Bag], seed: int) -> Scorer:
        network = fitted(bags, config, seed).network
        return scorer_of(network, tiled=bags[0].tiles > 1, spacing=spacing)

    return train


def fitted(
    bags: Sequence[Bag],
    config: TrainConfig,
    seed: int,
    *,
    device: str | torch.device = "cpu",
    checkpoint: Path | None = None,
    checkpoint_every: int = 100,
    on_step: OnStep | None = None,
    on_network: OnNetwork | None = None,
    network_every: int = 10,
) -> FitResult:
    """Train on bags with ``seed`` in place of the config's; the rest as ``letterbox``.

    A bag's crops are its views; tiles are instances of one bag.
    """
    n = config.full_recipe().segments
    videos = [
        TrainingVideo(_as_float32(bag.views), bag.abnormal, bag.tiles, _cut_before(bag, n))
        for bag in bags
    ]
    return fit(
        videos,
        config.with_recipe(seed=seed),
        device=device,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        on_step=on_step,
        on_network=on_network,
        network_every=network_every,
    )


def scorer_of(network: ModelNetwork, *, tiled: bool, spacing: float = 1.0) -> Scorer:
    """A network's scores: the mean over the crops; of tiles the highest."""

    def score(array: AnyFeatures) -> FloatArray:
        if tiled:
            highest: FloatArray = network.score_tiles(np.asarray(array), spacing).max(axis=0)
            return highest
        return network.score_views(array, spacing)

    return score


def _as_float32(views: Sequence[FeatureArray]) -> Sequence[CropFeatures]:
    """Views as training takes them; those on disk are so already, and stay there."""
    return (
        views
        if isinstance(views, CropViews)
        else tuple(v.astype(np.float32, copy=False) for v in views)
    )


def _cut_before(bag: Bag, n: int) -> Sequence[CropFeatures] | None:
    """Its bags, if they are of so many segments."""
    if bag.bags is None or len(bag.bags[0]) != n:
        return None
    return _as_float32(bag.bags)
