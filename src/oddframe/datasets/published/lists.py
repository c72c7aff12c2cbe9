"""Data sets that are published as lists of feature files: reading the lists and the labels.

A list has one line a crop, ``.../Abuse028_x264__3.npy``: the video's name, two underscores, the
crop's number. What stands before the name is a folder of the authors and is not used.

Published frame labels: a JSON file with the frames and the anomalous intervals of each video.

When something happens in the test videos of a data set that is published as lists.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oddframe._utils.files import is_file, read_bytes
from oddframe._utils.headers import parse_json
from oddframe.datasets.labelled import NORMAL, Dataset, GroundTruth, LabelledVideo
from oddframe.errors import InputError
from oddframe.features.presets import PublishedLayout
from oddframe.video.discover import VIDEO_SUFFIXES

_MOST_BYTES = 64 * 2**20
_MOST_FRAMES = 10**8


@dataclass(frozen=True)
class FrameLabels:
    """Of one video: how many frames are labelled, and which of them are anomalous."""

    frames: int
    truth: GroundTruth


def read_frame_labels(path: Path) -> dict[str, FrameLabels]:
    """Frame labels by video from ``{"01": {"frames": 180, "anomalous": [[60, 180]]}, ...}``.

    Intervals are half-open and count frames from 0.

    Raises:
        InputError: no such file, or something else stands in it.
    """
    try:
        videos = parse_json(read_bytes(path, _MOST_BYTES))
        return {
            name: FrameLabels(
                _count(entry["frames"]),
                GroundTruth(
                    tuple((_count(start), _count(end)) for start, end in entry["anomalous"])
                ),
            )
            for name, entry in videos.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            f'{path}: not frame labels; they look like {{"01": {{"frames": 180, "anomalous": '
            "[[60, 180]]}}"
        ) from None


def _count(value: Any) -> int:
    """A number of frames: 50 days at 25 a second are 10^8.

    Raises:
        ValueError: it is none, or more than that.
    """
    if type(value) is not int or not 0 <= value <= _MOST_FRAMES:
        raise ValueError(f"no number of frames: {value!r:.40}")
    return value


# Bytes of a list of videos.
MAX_LIST_BYTES = 64 * 2**20
LABELS_FILE = "test_frame_labels.json"


@dataclass(frozen=True)
class VideoAnnotation:
    """What an annotation says of one test video.

    Attributes:
        intervals: Half-open, in frames from 0, as they are written: an end may lie past the video.
        frames: Of the video, where the annotation says so.
    """

    intervals: tuple[tuple[int, int], ...]
    frames: int | None = None


@dataclass(frozen=True)
class TestLabels:
    """Frame labels of the test videos by name, and what was put right while they were read.

    Attributes:
        truths: When something odd happens; empty for a normal video.
        frames: How many frames are labelled; only videos for which it is known.
        notes: A line each.
    """

    truths: Mapping[str, GroundTruth]
    frames: Mapping[str, int]
    notes: tuple[str, ...] = ()


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank, without blanks around them.

    Raises:
        InputError: it cannot be read.
    """
    try:
        lines = read_bytes(path, MAX_LIST_BYTES).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file in UTF-8 ({error})") from None
    return [line.strip() for line in lines if line.strip()]


def read_annotation(
    path: Path, parse: Callable[[list[str]], tuple[str, VideoAnnotation]], looks_like: str
) -> dict[str, VideoAnnotation] | None:
    """What an annotation says, by the videos' names; None where there is no such file.

    Args:
        path: The file, a line a video, fields apart by blanks.
        parse: Fields -> name and what is said; raises ValueError where they are none.
        looks_like: A line as it should be.

    Raises:
        InputError: a line cannot be understood, or a video stands there twice.
    """
    if not is_file(path):
        return None
    found: dict[str, VideoAnnotation] = {}
    for number, line in enumerate(read_lines(path), start=1):
        try:
            name, said = parse(line.split())
        except ValueError:
            raise InputError(
                f"{path}: line {number} is no annotation; it looks like {looks_like}"
            ) from None
        if name in found:
            raise InputError(f"{path}: line {number}: {name} stands there twice")
        found[name] = said
    return found


def read_test_labels(
    root: Path,
    names: Sequence[str],
    annotation: Path,
    annotated: Mapping[str, VideoAnnotation] | None,
) -> TestLabels:
    """Frame labels of the test videos ``names``.

    ``test_frame_labels.json`` counts 16 frames a snippet and goes first; without it the annotation
    says when something happens. Where both are there they must agree, cut at the last frame.

    Args:
        root: Folder of the lists.
        names: The test videos.
        annotation: The annotation's file, to speak of it.
        annotated: What it says by name; None: it is not there.

    Raises:
        InputError: neither is there, a video lacks labels, or the two differ.
    """
    counted = read_frame_labels(root / LABELS_FILE) if is_file(root / LABELS_FILE) else None
    if counted is None and annotated is None:
        raise InputError(f"{root / LABELS_FILE}: no such file, and no {annotation.name} beside it")
    annotated = annotated or {}
    truths, frames = {}, {}
    for name in names:
        if counted is not None and name not in counted:
            raise InputError(
                f"{root / LABELS_FILE}: no labels of {name}, which the test list names"
            )
        said = annotated.get(name, VideoAnnotation(()))
        if counted is None:
            truths[name] = GroundTruth(_cut(said.intervals, said.frames))
            if said.frames is not None:
                frames[name] = said.frames
            continue
        truths[name], frames[name] = counted[name].truth, counted[name].frames
        if name in annotated and _cut(said.intervals, frames[name]) != truths[name].intervals:
            raise InputError(
                f"{annotation}: {name} has intervals {said.intervals}, but {LABELS_FILE} has "
                f"{truths[name].intervals}"
            )
    return TestLabels(truths, frames, _past_the_end(annotated, frames))


def _cut(intervals: Iterable[tuple[int, int]], end: int | None) -> tuple[tuple[int, int], ...]:
    if end is None:
        return tuple(intervals)
    return tuple((start, min(stop, end)) for start, stop in intervals if start < end)


def _past_the_end(
    annotated: Mapping[str, VideoAnnotation], frames: Mapping[str, int]
) -> tuple[str, ...]:
    past, what = [], "frame"
    for name, said in annotated.items():
        if said.frames is None:
            what = "whole snippet"
        last = frames.get(name) if said.frames is None else said.frames
        past += [(name, stop - last) for _, stop in said.intervals if last and stop > last]
    if not past:
        return ()
    name, by = past[0]
    more = " ..." if past[1:] else ""
    return (
        f"{len(past)} annotated intervals end past the last {what}, "
        f"by up to {max(n for _, n in past)} frames: clipped ({name} by {by}{more})",
    )


_LINE = re.compile(r"(?:.*[/\\])?([^/\\]+)__(\d+)\.npy")


def read_list_dataset(
    root: Path,
    name: str,
    layout: PublishedLayout,
    prefix: str,
    said_of: Callable[[str], tuple[str, str]],
    parse: Callable[[list[str]], tuple[str, VideoAnnotation]],
    looks_like: str,
) -> Dataset:
    """The data set of a folder with its lists: the training videos, then those of the test.

    Args:
        root: The folder.
        name: Of the data set.
        layout: Of its features.
        prefix: Of its files, ``UCF`` of ``UCF_Train.list``, ``UCF_Test.list`` and
            ``UCF_Annotation.txt``.
        said_of: What a video's name says: its label and its group.
        parse: A line of the annotation, see ``read_annotation``.
        looks_like: Such a line as it should be.

    Raises:
        InputError: a list or the labels are missing or wrong.
    """
    train = read_list(root / f"{prefix}_Train.list", layout.crops)
    test = read_list(root / f"{prefix}_Test.list", layout.crops)
    check_disjoint(root, train, test)
    annotation = root / f"{prefix}_Annotation.txt"
    labels = read_test_labels(
        root, test, annotation, read_annotation(annotation, parse, looks_like)
    )
    files = find_videos_below(root)

    def video(named: str, *, of_test: bool) -> LabelledVideo:
        label, group = said_of(named)
        return LabelledVideo(
            path=files.get(named, root / f"{named}.mp4"),
            abnormal=label != NORMAL,
            label=label,
            group=group,
            truth=labels.truths[named] if of_test else None,
            part="test" if of_test else "train",
            frames=labels.frames.get(named) if of_test else None,
            fps=layout.fps,
        )

    videos = [video(named, of_test=False) for named in train]
    videos += [video(named, of_test=True) for named in test]
    return Dataset(name, tuple(videos), layout, labels.notes)


def read_list(path: Path, crops: int) -> tuple[str, ...]:
    """Names of the videos in a list, in its order; every line is read.

    Args:
        path: The list, one line a crop.
        crops: How many lines each video must have, numbered from 0.

    Raises:
        InputError: a line is no crop, stands there twice, or is missing; the first fault is said,
            and how many there are.
    """
    found: dict[str, list[int]] = {}
    faults: list[str] = []
    lines = read_lines(path)
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            faults.append(f'line {number} is no crop of a video, as NAME__0.npy: "{line[:80]}"')
        elif int(match[2]) in found.setdefault(match[1], []):
            faults.append(f"line {number}: {match[1]}__{match[2]}.npy stands there twice")
        else:
            found[match[1]].append(int(match[2]))
    for name, numbers in found.items():
        if sorted(numbers) != list(range(crops)):
            listed = ", ".join(map(str, sorted(numbers)))
            faults.append(f"{name} has the crops {listed}; it takes 0 to {crops - 1}")
    if not lines:
        faults.append("the list is empty")
    if faults:
        more = f" (and {len(faults) - 1} more faults)" if faults[1:] else ""
        raise InputError(f"{path}: {faults[0]}{more}")
    return tuple(found)


def check_disjoint(root: Path, train: Sequence[str], test: Sequence[str]) -> None:
    """Refuse lists that name a video on both sides.

    Raises:
        InputError: there is one.
    """
    if both := sorted(set(train) & set(test)):
        raise InputError(
            f"{root}: {len(both)} videos are in the training and in the test list ({both[0]})"
        )


def find_videos_below(root: Path) -> dict[str, Path]:
    """Video files in ``root`` and all folders below it, by their names without ending."""
    found: dict[str, Path] = {}
    for folder, folders, files in os.walk(root):
        folders.sort()
        for file in sorted(files):
            path = Path(folder, file)
            if path.suffix.lower() in VIDEO_SUFFIXES:
                found.setdefault(path.stem, path)
    return found
