"""Surveillance Fight in five folds by recording: untrimmed videos and single clips, one protocol.

Whatever is compared comes in as a ``Trainer``, so that a method, a baseline and a control see the
same bags, folds and videos. A trainer gets video labels only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from oddframe.datasets.folds import grouped_folds
from oddframe.datasets.labelled import NORMAL, Dataset, LabelledVideo
from oddframe.errors import UsageError
from oddframe.experiments.splice import Clip, FeatureArray, Spliced, SpliceRule, splice
from oddframe.metrics import FrameMetrics, LabelledScores, frame_metrics
from oddframe.timeline import FloatArray, ScoreTrack


@dataclass(frozen=True)
class Bag:
    """A video for training: its views, each (T, D), and its label: all that is known of it."""

    views: tuple[FeatureArray, ...]
    abnormal: bool


Scorer = Callable[[FeatureArray], FloatArray]
"""(C, T, D) features of one video -> (T,) scores; higher is odder."""

Trainer = Callable[[Sequence[Bag], int], Scorer]
"""Training bags and a seed -> what was learnt."""


@dataclass(frozen=True)
class Protocol:
    """How the folds are cut, and what is trained and tested on.

    Attributes:
        folds: Folds by recording; each is the test part once.
        repeats: How often all of it is done, with other folds, splices and seeds.
        train_on: ``spliced``: bags are untrimmed videos, so a label says little of a snippet;
            ``clips``: bags are the clips themselves.
        train_videos: How training videos are spliced.
        test_videos: How test videos are spliced.
        seed: Of the folds, the splices and the trainings.
    """

    folds: int = 5
    repeats: int = 2
    train_on: Literal["spliced", "clips"] = "spliced"
    train_videos: SpliceRule = field(
        default_factory=lambda: SpliceRule(normal_videos=100, abnormal_videos=100)
    )
    test_videos: SpliceRule = field(default_factory=SpliceRule)
    seed: int = 0


@dataclass(frozen=True)
class Part:
    """A fold: clips to train on, clips of other recordings to test on."""

    repeat: int
    fold: int
    train: tuple[Clip, ...]
    test: tuple[Clip, ...]


@dataclass(frozen=True)
class FoldResult:
    """What one training scored on its test part.

    Attributes:
        repeat: Number of the repeat.
        fold: Number of the fold in it.
        videos: Spliced test videos.
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
    """The folds of all repeats. No recording is on both sides of one.

    Raises:
        UsageError: too few recordings for so many folds.
    """
    dataset = Dataset(
        "clips",
        tuple(
            LabelledVideo(Path(c.name), c.abnormal, "abnormal" if c.abnormal else NORMAL, c.group)
            for c in clips
        ),
    )
    for repeat in range(protocol.repeats):
        folds = grouped_folds(dataset, protocol.folds, protocol.seed + repeat)
        for number, fold in enumerate(folds):
            train = tuple(clips[i] for i in fold.train)
            yield Part(repeat, number, train, tuple(clips[i] for i in fold.test))


def training_bags(clips: Sequence[Clip], protocol: Protocol, seed: int) -> tuple[Bag, ...]:
    """The bags that a trainer gets: clips, or videos spliced from them."""
    if protocol.train_on == "clips":
        return tuple(Bag(clip.views, clip.abnormal) for clip in clips)
    videos = splice(clips, protocol.train_videos, seed)
    return tuple(Bag(video.views, video.abnormal) for video in videos)


def run_part(part: Part, trainer: Trainer, protocol: Protocol) -> FoldResult:
    """Train on one fold's training clips and score its test clips."""
    # Two seeds for each fold; test videos must not depend on what is trained.
    seed = 2 * (1000 * (protocol.seed + part.repeat) + part.fold)
    scorer = trainer(training_bags(part.train, protocol, seed), seed)
    videos = splice(part.test, protocol.test_videos, seed + 1)
    tracks = tuple(video.track(_checked(scorer, video.array)) for video in videos)
    labelled = [
        LabelledScores.from_track(track, video.labels)
        for track, video in zip(tracks, videos, strict=True)
    ]
    alone = np.array([_checked(scorer, clip.array).mean() for clip in part.test])
    return FoldResult(
        part.repeat, part.fold, videos, tracks, part.test, alone, frame_metrics(labelled)
    )


def _checked(scorer: Scorer, array: FeatureArray) -> FloatArray:
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
    return tuple(parts_of(part.train, Protocol(folds=folds, repeats=1, seed=seed)))


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
    return tuple(results), tuple(chosen)


def on_clips(protocol: Protocol) -> Protocol:
    """The same protocol with the clips themselves as bags."""
    return replace(protocol, train_on="clips")
