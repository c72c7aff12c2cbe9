"""A benchmark's protocol: how clips are split, what is trained on, what is tested on.

Whatever is compared has the same parts, bags, test videos and seeds. ``fold_training`` runs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from oddframe.datasets.labelled import NORMAL, Dataset, LabelledVideo, grouped_folds
from oddframe.errors import UsageError

if TYPE_CHECKING:
    from oddframe.research.clips import BenchmarkClip
    from oddframe.training.config import TrainConfig

    _Clips = Sequence[BenchmarkClip]


PartId = tuple[int, int]
"""Repeat (draw or seed) and fold of a part."""


@dataclass(frozen=True)
class TrainTestPart:
    """The training clips and test clips of one training, numbered by repeat and fold."""

    repeat: int
    fold: int
    train: tuple[BenchmarkClip, ...]
    test: tuple[BenchmarkClip, ...]

    @property
    def part_id(self) -> PartId:
        return self.repeat, self.fold


class ClipSplit(Protocol):
    """A way to split clips into training and test clips."""

    def parts(self, clips: _Clips, repeat: int, seed: int) -> Iterator[TrainTestPart]:
        """The parts of one repeat; UsageError where the clips cannot be split this way."""
        ...


@dataclass(frozen=True)
class Folds:
    """``n`` folds by recording: each is the test part once, and no recording is on both sides."""

    n: int = 5

    def parts(self, clips: _Clips, repeat: int, seed: int) -> Iterator[TrainTestPart]:
        videos = (
            LabelledVideo(Path(c.name), c.abnormal, "abnormal" if c.abnormal else NORMAL, c.group)
            for c in clips
        )
        dataset = Dataset("clips", tuple(videos))
        for number, fold in enumerate(grouped_folds(dataset, self.n, seed + repeat)):
            train = tuple(clips[i] for i in fold.train)
            yield TrainTestPart(repeat, number, train, tuple(clips[i] for i in fold.test))


@dataclass(frozen=True)
class RandomDraws:
    """A few clips drawn at random to train on, all others to test on; one part per repeat."""

    normal: int
    abnormal: int

    def parts(self, clips: _Clips, repeat: int, seed: int) -> Iterator[TrainTestPart]:
        rng = np.random.default_rng([seed, repeat])
        labels = np.array([clip.abnormal for clip in clips])
        drawn: set[int] = set()
        for label, count in ((False, self.normal), (True, self.abnormal)):
            indices = np.flatnonzero(labels == label)
            if len(indices) <= count:
                kind = "abnormal" if label else "normal"
                raise UsageError(f"{len(indices)} {kind} clips: {count} to train on leave no test")
            drawn |= set(rng.choice(indices, count, replace=False).tolist())
        train = tuple(clip for i, clip in enumerate(clips) if i in drawn)
        test = tuple(clip for i, clip in enumerate(clips) if i not in drawn)
        yield TrainTestPart(repeat, 0, train, test)


@dataclass(frozen=True)
class OwnSplit:
    """The data set's own split by names of test clips; repeats differ only in their seeds."""

    test: frozenset[str]

    def parts(self, clips: _Clips, repeat: int, seed: int) -> Iterator[TrainTestPart]:  # noqa: ARG002
        train = tuple(clip for clip in clips if clip.name not in self.test)
        test = tuple(clip for clip in clips if clip.name in self.test)
        if not train or not test:
            raise UsageError(f"{len(train)} clips to train on and {len(test)} to test on")
        yield TrainTestPart(repeat, 0, train, test)


@dataclass(frozen=True)
class InnerFolds:
    """Folds by recording inside the training parts of another split, for choosing settings."""

    outer: ClipSplit
    n: int

    def parts(self, clips: _Clips, repeat: int, seed: int) -> Iterator[TrainTestPart]:
        outer = self.outer.parts(clips, repeat, seed)
        inner = (fold for part in outer for fold in Folds(self.n).parts(part.train, repeat, seed))
        for number, fold in enumerate(inner):
            yield replace(fold, fold=number)


@dataclass(frozen=True)
class SpliceRule:
    """How clips are spliced into untrimmed videos.

    Attributes:
        clips: Fewest and most clips per video.
        abnormal_clips: Fewest and most abnormal clips in an abnormal video.
        snippets: Length that every video is trimmed to, at its ends and never into its abnormal
            clips, so that the length says nothing about the label; None: no trimming.
    """

    clips: tuple[int, int] = (8, 12)
    abnormal_clips: tuple[int, int] = (1, 3)
    normal_videos: int = 20
    abnormal_videos: int = 20
    snippets: int | None = None


@dataclass(frozen=True)
class BenchmarkProtocol:
    """How clips are split, and what is trained and tested on.

    The names of the fields stand in the digests of recorded trainings.

    Attributes:
        split: Which clips are trained on, which are tested on.
        repeats: How often all of it is repeated, with other splits, splices and seeds.
        train_on: ``spliced``: bags are untrimmed videos, so that a label says little about a single
            snippet; ``clips``: bags are the clips themselves.
        train_videos: How training videos are spliced.
        test_videos: How test videos are spliced; None: each clip is a test video.
        even_lengths: Cut normal training clips to lengths that abnormal ones have, so that a bag's
            length says nothing about its label.
        window: Snippets that are scored at a time, so that no method sees a test video's length;
            None: the whole video.
        smooth: Standard deviation in snippets of the Gaussian that smooths every method's scores;
            0: no smoothing.
        seed: Seed of the splits, the splices and the trainings.
    """

    split: ClipSplit = field(default_factory=Folds)
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

    def parts(self, clips: _Clips) -> Iterator[TrainTestPart]:
        for repeat in range(self.repeats):
            yield from self.split.parts(clips, repeat, self.seed)

    def part_seed(self, part: TrainTestPart) -> int:
        """The seed of a part's bags and training; its test videos take the next number."""
        # Two seeds for each fold: test videos must not depend on what is trained.
        return 2 * (1000 * (self.seed + part.repeat) + part.fold)

    def with_clips_as_bags(self) -> BenchmarkProtocol:
        return replace(self, train_on="clips")

    def for_config(self, config: TrainConfig) -> BenchmarkProtocol:
        """The protocol of a training by ``config``: clips as bags if it joins clips itself."""
        return self.with_clips_as_bags() if config.bags.mode == "joined" else self
