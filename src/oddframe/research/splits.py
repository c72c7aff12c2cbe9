"""How the clips of a benchmark are split into what is trained on and what is tested on.

Clips of published data sets with their bags cut once: a step reads only what it needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from oddframe._utils.progress import ProgressCallback, ignore_progress
from oddframe.datasets.folds import grouped_folds
from oddframe.datasets.labelled import NORMAL, Dataset, LabelledVideo
from oddframe.errors import UsageError
from oddframe.features.lazy_array import CropArray
from oddframe.research.splice import Clip
from oddframe.training.config import TrainConfig
from oddframe.training.data.features import VideoFeatures, training_video
from oddframe.training.data.samplers import with_cut_bags


@dataclass(frozen=True)
class Part:
    """Clips to train on, clips to test on, and which of a split's parts it is."""

    repeat: int
    fold: int
    train: tuple[Clip, ...]
    test: tuple[Clip, ...]


class Split(Protocol):
    """A way to split clips."""

    def parts(self, clips: Sequence[Clip], repeat: int, seed: int) -> Iterator[Part]:
        """The parts of one repeat.

        Raises:
            UsageError: the clips cannot be split so.
        """
        ...


@dataclass(frozen=True)
class Folds:
    """``n`` folds by recording; each is the test part once, no recording is on both sides."""

    n: int = 5

    def parts(self, clips: Sequence[Clip], repeat: int, seed: int) -> Iterator[Part]:
        """The folds, others in each repeat."""
        for number, fold in enumerate(grouped_folds(_dataset(clips), self.n, seed + repeat)):
            train = tuple(clips[i] for i in fold.train)
            yield Part(repeat, number, train, tuple(clips[i] for i in fold.test))


@dataclass(frozen=True)
class Draws:
    """A few clips drawn for training, all others for test; one part a repeat.

    Attributes:
        normal: Normal clips to train on.
        abnormal: Abnormal ones.
    """

    normal: int
    abnormal: int

    def parts(self, clips: Sequence[Clip], repeat: int, seed: int) -> Iterator[Part]:
        """One draw."""
        rng = np.random.default_rng([seed, repeat])
        labels = np.array([clip.abnormal for clip in clips])
        chosen: set[int] = set()
        for label, count in ((False, self.normal), (True, self.abnormal)):
            there = np.flatnonzero(labels == label)
            if len(there) <= count:
                kind = "abnormal" if label else "normal"
                raise UsageError(f"{len(there)} {kind} clips: {count} to train on leave no test")
            chosen |= set(rng.choice(there, count, replace=False).tolist())
        yield Part(
            repeat,
            0,
            tuple(clip for i, clip in enumerate(clips) if i in chosen),
            tuple(clip for i, clip in enumerate(clips) if i not in chosen),
        )


@dataclass(frozen=True)
class Given:
    """The data set's own split; repeats differ in their seeds alone.

    Attributes:
        test: Names of the clips to test on.
    """

    test: frozenset[str]

    def parts(self, clips: Sequence[Clip], repeat: int, seed: int) -> Iterator[Part]:  # noqa: ARG002
        """The one part."""
        train = tuple(clip for clip in clips if clip.name not in self.test)
        test = tuple(clip for clip in clips if clip.name in self.test)
        if not train or not test:
            raise UsageError(f"{len(train)} clips to train on and {len(test)} to test on")
        yield Part(repeat, 0, train, test)


@dataclass(frozen=True)
class Inner:
    """Folds inside the training parts of another split: where choices are made.

    What the other split tests on is in none of them.

    Attributes:
        outer: The split whose choices are to be made.
        n: Folds by recording inside each of its training parts.
    """

    outer: Split
    n: int

    def parts(self, clips: Sequence[Clip], repeat: int, seed: int) -> Iterator[Part]:
        """The folds of each training part, numbered on."""
        number = 0
        for part in self.outer.parts(clips, repeat, seed):
            for inner in Folds(self.n).parts(part.train, repeat, seed):
                yield Part(repeat, number, inner.train, inner.test)
                number += 1


def _dataset(clips: Sequence[Clip]) -> Dataset:
    return Dataset(
        "clips",
        tuple(
            LabelledVideo(Path(c.name), c.abnormal, "abnormal" if c.abnormal else NORMAL, c.group)
            for c in clips
        ),
    )


def with_bags(
    clips: Sequence[Clip],
    found: Sequence[VideoFeatures],
    config: TrainConfig,
    root: Path,
    progress: ProgressCallback = ignore_progress,
) -> tuple[Clip, ...]:
    """The clips; those that are trained on and lie on disk have their bags, kept in the store.

    Args:
        clips: Of the videos.
        found: Their features, in the same order.
        config: Whose segments are cut.
        root: Of the store.
        progress: Called after each video.

    Raises:
        InputError: features cannot be read.
        OddframeError: bags cannot be written.
    """
    views = tuple(config.training_views().values())
    trained = [
        i
        for i, each in enumerate(found)
        if each.video.part != "test"
        and all(isinstance(each.features[view].array, CropArray) for view in views)
    ]
    seen = [[found[i].features[view] for view in views] for i in trained]
    videos = [
        training_video(features, clips[i].abnormal)
        for i, features in zip(trained, seen, strict=True)
    ]
    digests = [found[i].sha256 for i in trained]
    n = config.full_recipe().segments
    cut = with_cut_bags(videos, seen, digests, n, root, progress)
    bags = {i: video.bags for i, video in zip(trained, cut, strict=True)}
    return tuple(replace(clip, bags=bags.get(i)) for i, clip in enumerate(clips))
