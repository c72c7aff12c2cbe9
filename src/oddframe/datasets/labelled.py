"""Data sets: labelled videos, their groups, and when anomalies happen in them."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oddframe.errors import InputError, UsageError
from oddframe.features.formats.published import FeatureSource
from oddframe.features.presets import PublishedLayout
from oddframe.timeline import Timebase, labelled_intervals

NORMAL = "normal"

Intervals = tuple[tuple[float, float], ...]
PartName = Literal["", "train", "test"]


@dataclass(frozen=True)
class GroundTruth:
    """The anomalous intervals of a video, half-open (start, end); none if it is normal."""

    intervals: Intervals  # Sorted and disjoint; in frames from 0, or seconds of a player's clock.
    unit: Literal["frames", "seconds"] = "frames"

    def frame_labels(self, timebase: Timebase) -> NDArray[np.bool_]:
        """(n_frames,) whether each frame is anomalous; intervals are cut at the last frame."""
        positions = np.arange(timebase.n_frames, dtype=np.float64)
        if self.unit == "seconds":
            positions = timebase.frame_times
        labels = np.zeros(timebase.n_frames, dtype=bool)
        for start, end in self.intervals:
            labels |= (positions >= start) & (positions < end)
        return labels

    def seconds(self, timebase: Timebase) -> Intervals:
        """The intervals in seconds of the video's clock, cut at its end."""
        labels = self.frame_labels(timebase)
        return tuple(
            interval
            for first, end in timebase.segments
            for interval in labelled_intervals(
                labels[first:end],
                np.append(timebase.frame_times[first:end], timebase.frame_ends[end - 1]),
            )
        )


# Clocks of players and containers differ a little: a time so long after the end is at the end.
_END_SLACK_S = 1.0


@dataclass(frozen=True)
class TimeLabels:
    """What a person has said about single times of a video, for training.

    Attributes:
        clicks: Times at which an anomaly is happening; nothing is known of before and after.
        rejected: Times at which a person has seen that nothing is happening.
        unit: Frames from 0, or seconds of a player's clock.
    """

    clicks: tuple[float, ...] = ()
    rejected: tuple[float, ...] = ()
    unit: Literal["frames", "seconds"] = "seconds"

    def __bool__(self) -> bool:
        return bool(self.clicks or self.rejected)

    def seconds(self, fps: float, start_s: float = 0.0) -> TimeLabels:
        """The same in seconds; frames are converted at a constant rate."""
        if self.unit == "seconds":
            return self
        clicks, rejected = (
            tuple(start_s + frame / fps for frame in frames)
            for frames in (self.clicks, self.rejected)
        )
        return TimeLabels(clicks, rejected)

    def find_outside(self, start_s: float, end_s: float) -> str:
        """What is wrong if one of the times, in seconds, lies outside the video; "": nothing."""
        for word, times in (("click", self.clicks), ("rejected time", self.rejected)):
            for time in times:
                if time > end_s + _END_SLACK_S:
                    return f"the {word} at {time:g} s is after its end at {end_s:.1f} s"
                if time < start_s - _END_SLACK_S:
                    return f"the {word} at {time:g} s is before its start at {start_s:.1f} s"
        return ""


@dataclass(frozen=True)
class LabelledVideo:
    """A video and its labels."""

    path: Path  # File, folder of frames, or feature file (``.npy``, ``.safetensors``).
    abnormal: bool
    label: str  # The class in words, such as ``fight``; ``normal`` for normal videos.
    # The recording, camera or scene that it was cut from. Videos of one group look alike, so a
    # fair split keeps them together.
    group: str
    # When anomalies happen, if known; training reads it only where ``clicks.events`` says so.
    truth: GroundTruth | None = None
    part: PartName = ""  # If the data set has a split of its own.
    frames: int | None = None  # If the data set states it.
    fps: float | None = None  # If the data set comes without the video.
    # If the data set does not state a group, the name of the group that consists of this video
    # alone, until scenes are compared; else "".
    fallback_group: str = ""
    precomputed: FeatureSource | None = None  # Features to read instead of ``path``.
    time_labels: TimeLabels = TimeLabels()  # For training.


@dataclass(frozen=True)
class Dataset:
    """Labelled videos under one name."""

    name: str  # On the command line, or of the folder.
    videos: tuple[LabelledVideo, ...]
    layout: PublishedLayout | None = None  # Of the published features, if there are any.
    notes: tuple[str, ...] = ()  # Irregularities, and corrections made while reading, a line each.

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def abnormal(self) -> NDArray[np.bool_]:
        """(N,) whether each video is abnormal."""
        return np.array([video.abnormal for video in self.videos], dtype=bool)

    @property
    def groups(self) -> tuple[str, ...]:
        """The distinct groups, sorted."""
        return tuple(sorted({video.group for video in self.videos}))

    @property
    def classes(self) -> tuple[str, ...]:
        """The distinct labels of abnormal videos, sorted."""
        return tuple(sorted({video.label for video in self.videos if video.abnormal}))

    def select_part(self, part: Literal["train", "test"]) -> Dataset:
        """The videos of one part of the data set's own split; all of them if it has none."""
        if not any(video.part for video in self.videos):
            return self
        return replace(self, videos=tuple(v for v in self.videos if v.part == part))

    def subset(self, indices: Iterable[int]) -> Dataset:
        """The videos at ``indices``, in that order."""
        return replace(self, videos=tuple(self.videos[int(i)] for i in indices))


def normalize_label(label: str) -> str:
    """A label for comparison: stripped, in lower case."""
    return label.strip().casefold()


def find_label_problems(spellings: Sequence[tuple[str, str]]) -> list[str]:
    """Problems with labels: missing ones, two spellings of one label, a misspelt or no ``normal``.

    ``spellings``: each label as it was written, and where: ``on line 3``.
    """
    problems: list[str] = []
    first: dict[str, tuple[str, str]] = {}
    for written, place in spellings:
        if not normalize_label(written):
            problems.append(f"no label {place}")
            continue
        other, other_place = first.setdefault(normalize_label(written), (written, place))
        if other != written:
            problems.append(
                f'one label is spelled two ways, "{other}" {other_place} and '
                f'"{written}" {place}; spell it one way'
            )
    for label, (written, place) in first.items():
        if NORMAL not in label and difflib.get_close_matches(label, [NORMAL], cutoff=0.8):
            problems.append(f"the label \"{written}\" {place} looks like a misspelt 'normal'")
    if NORMAL not in first and not problems:
        found = ", ".join(f"'{written}'" for written, _ in first.values())
        problems.append(
            f"nothing is labelled 'normal', only {found}; name the class of normal videos 'normal'"
        )
    return problems


@dataclass(frozen=True)
class Survey:
    """A data set as it was found, with all its problems, a line each."""

    path: Path
    dataset: Dataset
    problems: tuple[str, ...] = ()

    def require_valid(self) -> Dataset:
        """The data set; an InputError has the first problem and the number of others."""
        if not self.problems:
            return self.dataset
        more = len(self.problems) - 1
        rest = f" (and {more} more: oddframe data check {self.path})" if more else ""
        raise InputError(f"{self.problems[0]}{rest}")


@dataclass(frozen=True)
class Fold:
    """Sorted indices of a dataset's videos: (n_train,) and (n_test,), together all of them."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


def grouped_folds(dataset: Dataset, n: int = 5, seed: int = 0) -> tuple[Fold, ...]:
    """Split ``dataset`` into ``n`` folds; each group is in the test part of exactly one of them.

    The largest groups are assigned first (groups of one size in an order drawn from ``seed``), each
    to the fold in which the shares of normal and abnormal videos then stay closest to even.
    UsageError if there are too few groups for both classes in each test part.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for i, video in enumerate(dataset.videos):
        members[video.group].append(i)
    if not 2 <= n <= len(members):
        raise UsageError(f"{dataset.name}: {n} folds of {len(members)} groups; it takes 2 to that")
    abnormal = dataset.abnormal
    names = sorted(members)
    counts = np.array([[(~abnormal[members[g]]).sum(), abnormal[members[g]].sum()] for g in names])
    shares = counts / np.maximum(counts.sum(axis=0), 1)  # (groups, 2) of each class.
    drawn = np.random.default_rng(seed).permutation(len(names))
    order = drawn[np.argsort(-shares[drawn].sum(axis=1), kind="stable")]
    filled = np.zeros((n, 2))
    tests: list[list[int]] = [[] for _ in range(n)]
    for g in order:
        # Increase of the sum of squares: smallest for the fold that lacks the group's classes most.
        cost = ((filled + shares[g]) ** 2 - filled**2).sum(axis=1)
        fold = int(np.argmin(cost))
        filled[fold] += shares[g]
        tests[fold] += members[names[g]]
    if (filled[:, counts.any(axis=0)] == 0).any():
        raise UsageError(
            f"{dataset.name}: {n} folds, but one of them would lack a class; "
            "take fewer folds or finer groups"
        )
    everything = np.arange(len(dataset))
    return tuple(
        Fold(np.setdiff1d(everything, test), np.sort(np.array(test, dtype=np.int64)))
        for test in tests
    )
