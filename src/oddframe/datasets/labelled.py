"""Videos whose label is known: what training starts from.

A data set as it is found, with everything that is wrong with it and not just the first thing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oddframe.errors import InputError
from oddframe.features.formats.published import FeatureSource
from oddframe.features.presets import PublishedLayout
from oddframe.timeline import Timebase, labelled_intervals

NORMAL = "normal"

Intervals = tuple[tuple[float, float], ...]
SplitPart = Literal["", "train", "test"]


@dataclass(frozen=True)
class GroundTruth:
    """When something odd happens in a video: half-open intervals (start, end), none if never.

    Attributes:
        intervals: Sorted, not overlapping; in frames from 0, or in seconds as a player counts them.
        unit: Of the intervals. Published labels are in frames, people write seconds.
    """

    intervals: Intervals
    unit: Literal["frames", "seconds"] = "frames"

    def frame_labels(self, timebase: Timebase) -> NDArray[np.bool_]:
        """(n_frames,) True where a frame is odd; an interval that ends past the video is cut."""
        where = np.arange(timebase.n_frames, dtype=np.float64)
        if self.unit == "seconds":
            where = timebase.frame_times
        labels = np.zeros(timebase.n_frames, dtype=bool)
        for start, end in self.intervals:
            labels |= (where >= start) & (where < end)
        return labels

    def seconds(self, timebase: Timebase) -> Intervals:
        """The intervals on the video's own clock, in seconds; what lies past its end is cut."""
        labels = self.frame_labels(timebase)
        return tuple(
            interval
            for first, end in timebase.segments
            for interval in labelled_intervals(
                labels[first:end],
                np.append(timebase.frame_times[first:end], timebase.frame_ends[end - 1]),
            )
        )


@dataclass(frozen=True)
class LabelledVideo:
    """A video and what is known of it.

    Attributes:
        path: File, folder of frames, or a file of features (``.npy``, ``.safetensors``).
        abnormal: Whether something odd happens somewhere in it.
        label: The class in words, ``fight``; ``normal`` for normal ones.
        group: Recording, camera or scene that it was cut from. Videos of one group look alike, so
            a fair split never parts them.
        fallback_group: Where the data set does not say what a video is from, the name under which
        it is
            a group of its own, until places are found; else "".
        truth: When it happens, where that is known; never used in training.
        part: ``run_training`` or ``test`` where the data set comes with a split of its own.
        frames: How many frames it has, where the data set says so; else its file does.
        fps: Frames a second, where the data set comes without the video itself.
        precomputed: Where features of it lie that were made before; they are read instead of
        ``path``.
    """

    path: Path
    abnormal: bool
    label: str
    group: str
    truth: GroundTruth | None = None
    part: SplitPart = ""
    frames: int | None = None
    fps: float | None = None
    fallback_group: str = ""
    precomputed: FeatureSource | None = None


@dataclass(frozen=True)
class Dataset:
    """Labelled videos under one name.

    Attributes:
        name: As the command line or the folder calls it.
        videos: In the order of the lists.
        layout: How features of it are published, where they are.
        notes: What is odd about it or was put right while it was read, a line each.
    """

    name: str
    videos: tuple[LabelledVideo, ...]
    layout: PublishedLayout | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def abnormal(self) -> NDArray[np.bool_]:
        """(N,) whether each video is abnormal."""
        return np.array([video.abnormal for video in self.videos], dtype=bool)

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups, sorted, each once."""
        return tuple(sorted({video.group for video in self.videos}))

    @property
    def classes(self) -> tuple[str, ...]:
        """The abnormal labels, sorted, each once."""
        return tuple(sorted({video.label for video in self.videos if video.abnormal}))

    def select_part(self, part: Literal["train", "test"]) -> Dataset:
        """The videos of one side of the data set's own split; all of them where it has none."""
        if not any(video.part for video in self.videos):
            return self
        return replace(self, videos=tuple(v for v in self.videos if v.part == part))

    def subset(self, indices: Iterable[int]) -> Dataset:
        """The videos at ``indices``, in that order."""
        return replace(self, videos=tuple(self.videos[int(i)] for i in indices))


def normalize_label(label: str) -> str:
    """A label as it is compared: no blanks around it, no difference in case."""
    return label.strip().casefold()


def find_label_problems(spellings: Sequence[tuple[str, str]]) -> list[str]:
    """What is wrong with labels as they were written, each with the place where it stands.

    No label at all, one that is spelled two ways or looks like a misspelt ``normal``, and nothing
    that is called normal.
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
        near_normal = NORMAL not in label and difflib.get_close_matches(label, [NORMAL], cutoff=0.8)
        if near_normal:
            problems.append(f"the label \"{written}\" {place} looks like a misspelt 'normal'")
    if NORMAL not in first and not problems:
        found = ", ".join(f"'{written}'" for written, _ in first.values())
        problems.append(
            f"nothing is labelled 'normal', only {found}; name the class of normal videos 'normal'"
        )
    return problems


@dataclass(frozen=True)
class Survey:
    """What could be read of a data set.

    Attributes:
        path: Where it was read from.
        dataset: The videos that are there.
        problems: One line for each thing that is wrong, in the order in which they stand.
    """

    path: Path
    dataset: Dataset
    problems: tuple[str, ...] = ()

    def require_valid(self) -> Dataset:
        """The data set, if nothing is wrong with it.

        Raises:
            InputError: something is; the first thing is said, and how many more there are.
        """
        if not self.problems:
            return self.dataset
        more = len(self.problems) - 1
        rest = f" (and {more} more: oddframe data check {self.path})" if more else ""
        raise InputError(f"{self.problems[0]}{rest}")
