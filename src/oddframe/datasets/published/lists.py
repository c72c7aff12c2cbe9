"""Reads data sets that are published as lists of feature files, with labels of frames.

A list has a line for each crop of a video, ``.../Abuse028_x264__3.npy``: the video's name, two
underscores, the crop's number. The folder in front, of the authors' machine, is ignored. Frame
labels are a JSON file, or an annotation: a text file with the anomalous intervals of test videos.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oddframe._utils.files import is_file, read_bytes
from oddframe._utils.parsing import parse_json
from oddframe.datasets.labelled import NORMAL, Dataset, GroundTruth, LabelledVideo
from oddframe.errors import InputError
from oddframe.features.presets import PublishedLayout
from oddframe.video.discover import VIDEO_SUFFIXES

MAX_LIST_BYTES = 64 * 2**20
LABELS_FILE = "test_frame_labels.json"
_MAX_FRAMES = 10**8  # 50 days at 25 frames a second.
_CROP_LINE = re.compile(r"(?:.*[/\\])?([^/\\]+)__(\d+)\.npy")


@dataclass(frozen=True)
class FrameLabels:
    """Labels of one video: the number of labelled frames, and the anomalous intervals."""

    frames: int
    truth: GroundTruth


def read_frame_labels(path: Path) -> dict[str, FrameLabels]:
    """Frame labels by video from ``{"01": {"frames": 180, "anomalous": [[60, 180]]}, ...}``.

    Intervals are half-open and count frames from 0.

    Raises:
        InputError: the file does not exist or has another form.
    """
    try:
        videos = parse_json(read_bytes(path, MAX_LIST_BYTES))
        return {
            name: FrameLabels(
                _frame_number(entry["frames"]),
                GroundTruth(
                    tuple(
                        (_frame_number(start), _frame_number(end))
                        for start, end in entry["anomalous"]
                    )
                ),
            )
            for name, entry in videos.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            f'{path}: not frame labels; they look like {{"01": {{"frames": 180, "anomalous": '
            "[[60, 180]]}}"
        ) from None


def _frame_number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_FRAMES:
        raise ValueError(f"no number of frames: {value!r:.40}")
    return value


@dataclass(frozen=True)
class VideoAnnotation:
    """The annotation of one test video.

    Attributes:
        intervals: Half-open, in frames from 0, as written: an end may lie after the last frame.
        frames: Number of frames of the video, if the annotation states it.
    """

    intervals: tuple[tuple[int, int], ...]
    frames: int | None = None


@dataclass(frozen=True)
class ListLabels:
    """Frame labels of the test videos.

    Attributes:
        truths: Ground truth by video; without intervals for a normal video.
        frames: Number of labelled frames by video, if known.
        notes: Corrections that were made while reading, a line each.
    """

    truths: Mapping[str, GroundTruth]
    frames: Mapping[str, int]
    notes: tuple[str, ...] = ()


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, stripped, without blank ones.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        lines = read_bytes(path, MAX_LIST_BYTES).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file in UTF-8 ({error})") from None
    return [line.strip() for line in lines if line.strip()]


def read_annotation(
    path: Path, parse: Callable[[list[str]], tuple[str, VideoAnnotation]], example: str
) -> dict[str, VideoAnnotation] | None:
    """Annotations by video; None if there is no such file.

    Args:
        path: The file: a line for each video, fields separated by blanks.
        parse: Parses fields into the video's name and its annotation; raises ValueError.
        example: A correct line, for the error message.

    Raises:
        InputError: a line cannot be parsed, or a video has two lines.
    """
    if not is_file(path):
        return None
    annotations: dict[str, VideoAnnotation] = {}
    for number, line in enumerate(read_lines(path), start=1):
        try:
            name, annotation = parse(line.split())
        except ValueError:
            raise InputError(
                f"{path}: line {number} is no annotation; it looks like {example}"
            ) from None
        if name in annotations:
            raise InputError(f"{path}: line {number}: {name} occurs twice")
        annotations[name] = annotation
    return annotations


def read_test_labels(
    root: Path,
    names: Sequence[str],
    annotation_file: Path,
    annotations: Mapping[str, VideoAnnotation] | None,
) -> ListLabels:
    """Frame labels of the test videos ``names``.

    ``test_frame_labels.json``, which counts 16 frames a snippet, has precedence over the
    annotation. If both exist they must agree, up to the last labelled frame.

    Args:
        root: Folder of the lists.
        names: The test videos.
        annotation_file: The annotation's file, for messages.
        annotations: Its contents; None: it does not exist.

    Raises:
        InputError: neither file exists, a video lacks labels, or the two differ.
    """
    labels = read_frame_labels(root / LABELS_FILE) if is_file(root / LABELS_FILE) else None
    if labels is None and annotations is None:
        raise InputError(
            f"{root / LABELS_FILE}: no such file, and no {annotation_file.name} beside it"
        )
    annotations = annotations or {}
    truths, frames = {}, {}
    for name in names:
        if labels is not None and name not in labels:
            raise InputError(
                f"{root / LABELS_FILE}: no labels of {name}, which the test list names"
            )
        annotation = annotations.get(name, VideoAnnotation(()))
        if labels is None:
            truths[name] = GroundTruth(_clip(annotation.intervals, annotation.frames))
            if annotation.frames is not None:
                frames[name] = annotation.frames
            continue
        truths[name], frames[name] = labels[name].truth, labels[name].frames
        clipped = _clip(annotation.intervals, frames[name])
        if name in annotations and clipped != truths[name].intervals:
            raise InputError(
                f"{annotation_file}: {name} has intervals {annotation.intervals}, but "
                f"{LABELS_FILE} has {truths[name].intervals}"
            )
    return ListLabels(truths, frames, _clipping_notes(annotations, frames))


def _clip(intervals: Iterable[tuple[int, int]], end: int | None) -> tuple[tuple[int, int], ...]:
    if end is None:
        return tuple(intervals)
    return tuple((start, min(stop, end)) for start, stop in intervals if start < end)


def _clipping_notes(
    annotations: Mapping[str, VideoAnnotation], frames: Mapping[str, int]
) -> tuple[str, ...]:
    clipped, unit = [], "frame"
    for name, annotation in annotations.items():
        if annotation.frames is None:
            unit = "whole snippet"
        end = frames.get(name) if annotation.frames is None else annotation.frames
        clipped += [(name, stop - end) for _, stop in annotation.intervals if end and stop > end]
    if not clipped:
        return ()
    name, excess = clipped[0]
    more = " ..." if clipped[1:] else ""
    return (
        f"{len(clipped)} annotated intervals end past the last {unit}, "
        f"by up to {max(n for _, n in clipped)} frames: clipped ({name} by {excess}{more})",
    )


def read_list_dataset(
    root: Path,
    name: str,
    layout: PublishedLayout,
    prefix: str,
    label_and_group: Callable[[str], tuple[str, str]],
    parse: Callable[[list[str]], tuple[str, VideoAnnotation]],
    example: str,
) -> Dataset:
    """Read a data set from its lists: the training videos, then the test videos.

    Args:
        root: The folder of the lists.
        name: Of the data set.
        layout: Of its published features.
        prefix: Of its files: ``UCF`` for ``UCF_Train.list``, ``UCF_Test.list`` and
            ``UCF_Annotation.txt``.
        label_and_group: The label and the group of a video, from its name.
        parse: Parses a line of the annotation, see ``read_annotation``.
        example: Such a line, for the error message.

    Raises:
        InputError: a list or the labels are missing or wrong.
    """
    train = read_list(root / f"{prefix}_Train.list", layout.crops)
    test = read_list(root / f"{prefix}_Test.list", layout.crops)
    check_disjoint(root, train, test)
    annotation_file = root / f"{prefix}_Annotation.txt"
    annotations = read_annotation(annotation_file, parse, example)
    labels = read_test_labels(root, test, annotation_file, annotations)
    files = find_videos_below(root)

    def make_video(video: str, *, is_test: bool) -> LabelledVideo:
        label, group = label_and_group(video)
        return LabelledVideo(
            path=files.get(video, root / f"{video}.mp4"),
            abnormal=label != NORMAL,
            label=label,
            group=group,
            truth=labels.truths[video] if is_test else None,
            part="test" if is_test else "train",
            frames=labels.frames.get(video) if is_test else None,
            fps=layout.fps,
        )

    videos = [make_video(video, is_test=False) for video in train]
    videos += [make_video(video, is_test=True) for video in test]
    return Dataset(name, tuple(videos), layout, labels.notes)


def read_list(path: Path, crops: int) -> tuple[str, ...]:
    """Names of the videos in a list, in its order.

    Args:
        path: The list, a line for each crop.
        crops: Number of lines that each video must have, numbered from 0.

    Raises:
        InputError: a line is no crop, occurs twice, or is missing; the message has the first fault
            and the number of others.
    """
    videos: dict[str, list[int]] = {}
    faults: list[str] = []
    lines = read_lines(path)
    for number, line in enumerate(lines, start=1):
        match = _CROP_LINE.fullmatch(line)
        if match is None:
            faults.append(f'line {number} is no crop of a video, as NAME__0.npy: "{line[:80]}"')
        elif int(match[2]) in videos.setdefault(match[1], []):
            faults.append(f"line {number}: {match[1]}__{match[2]}.npy occurs twice")
        else:
            videos[match[1]].append(int(match[2]))
    for name, numbers in videos.items():
        if sorted(numbers) != list(range(crops)):
            listed = ", ".join(map(str, sorted(numbers)))
            faults.append(f"{name} has the crops {listed}; it takes 0 to {crops - 1}")
    if not lines:
        faults.append("the list is empty")
    if faults:
        more = f" (and {len(faults) - 1} more faults)" if faults[1:] else ""
        raise InputError(f"{path}: {faults[0]}{more}")
    return tuple(videos)


def check_disjoint(root: Path, train: Sequence[str], test: Sequence[str]) -> None:
    """Check that no video is in both lists.

    Raises:
        InputError: one is.
    """
    if both := sorted(set(train) & set(test)):
        raise InputError(
            f"{root}: {len(both)} videos are in the training and in the test list ({both[0]})"
        )


def find_videos_below(root: Path) -> dict[str, Path]:
    """Video files in ``root`` and all folders below it, by name without ending."""
    found: dict[str, Path] = {}
    for folder, folders, files in os.walk(root):
        folders.sort()
        for file in sorted(files):
            path = Path(folder, file)
            if path.suffix.lower() in VIDEO_SUFFIXES:
                found.setdefault(path.stem, path)
    return found
