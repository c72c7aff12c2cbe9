"""Reads data sets that are published as lists of feature files, with labels of frames.

A list has a line for each crop of a video, ``.../Abuse028_x264__3.npy``; the folder in front, of
the authors' machine, is ignored. Frame labels are a JSON file, or an annotation: a text file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from oddframe._utils.files import is_file, read_bytes
from oddframe._utils.parsing import parse_json
from oddframe.datasets.labelled import NORMAL, Dataset, GroundTruth, LabelledVideo, TimeLabels
from oddframe.datasets.read import read_rows
from oddframe.errors import InputError
from oddframe.features.presets import PublishedLayout
from oddframe.video.discover import VIDEO_SUFFIXES

MAX_LIST_BYTES = 64 * 2**20
LABELS_FILE = "test_frame_labels.json"
CLICKS_FILE = "glance.csv"
_MAX_FRAMES = 10**8  # 50 days at 25 frames a second.
_CROP_LINE = re.compile(r"(?:.*[/\\])?([^/\\]+)__(\d+)\.npy")


@dataclass(frozen=True)
class FrameLabels:
    """The anomalous intervals of one video, half-open, in frames from 0, and its length."""

    intervals: tuple[tuple[int, int], ...]
    frames: int | None = None  # None: not stated; an interval may then end after the last frame.

    @property
    def truth(self) -> GroundTruth:
        """The intervals as ground truth."""
        return GroundTruth(self.intervals)


def read_frame_labels(path: Path) -> dict[str, FrameLabels]:
    """Frame labels by video from ``{"01": {"frames": 180, "anomalous": [[60, 180]]}, ...}``."""
    try:
        videos = parse_json(read_bytes(path, MAX_LIST_BYTES))
        return {
            name: FrameLabels(
                tuple((_frame_number(a), _frame_number(b)) for a, b in entry["anomalous"]),
                _frame_number(entry["frames"]),
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


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, stripped, without blank ones."""
    try:
        lines = read_bytes(path, MAX_LIST_BYTES).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file in UTF-8 ({error})") from None
    return [line.strip() for line in lines if line.strip()]


# Parses the fields of a line of an annotation; raises ValueError.
_LineParser = Callable[[list[str]], tuple[str, FrameLabels]]


def _read_annotation(path: Path, parse: _LineParser, example: str) -> dict[str, FrameLabels]:
    """The annotation by video, a line each."""
    annotations: dict[str, FrameLabels] = {}
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


def _read_test_labels(
    root: Path, names: Sequence[str], annotation_file: Path, parse: _LineParser, example: str
) -> tuple[dict[str, FrameLabels], tuple[str, ...]]:
    """Frame labels of the test videos ``names``, and a note on intervals that were clipped.

    ``test_frame_labels.json``, which counts 16 frames a snippet, has precedence over the
    annotation. If both exist they must agree, up to the last labelled frame.
    """
    labels_file, labels = root / LABELS_FILE, None
    if is_file(labels_file):
        labels = read_frame_labels(labels_file)
    elif not is_file(annotation_file):
        raise InputError(f"{labels_file}: no such file, and no {annotation_file.name} beside it")
    annotations: dict[str, FrameLabels] = {}
    if is_file(annotation_file):
        annotations = _read_annotation(annotation_file, parse, example)
    found: dict[str, FrameLabels] = {}
    for name in names:
        if labels is not None and name not in labels:
            raise InputError(f"{labels_file}: no labels of {name}, which the test list names")
        annotation = annotations.get(name, FrameLabels(()))
        end = annotation.frames if labels is None else labels[name].frames
        clipped = tuple(
            (start, stop if end is None else min(stop, end))
            for start, stop in annotation.intervals
            if end is None or start < end
        )
        found[name] = FrameLabels(clipped, end) if labels is None else labels[name]
        if name in annotations and clipped != found[name].intervals:
            raise InputError(
                f"{annotation_file}: {name} has intervals {annotation.intervals}, but "
                f"{LABELS_FILE} has {found[name].intervals}"
            )
    return found, _clipping_notes(annotations, found)


def _clipping_notes(
    annotations: Mapping[str, FrameLabels], labels: Mapping[str, FrameLabels]
) -> tuple[str, ...]:
    clipped, unit = [], "frame"
    for name, annotation in annotations.items():
        end = annotation.frames
        if end is None:
            unit, end = "whole snippet", labels[name].frames if name in labels else None
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
    parse: _LineParser,
    example: str,
) -> Dataset:
    """Read a data set from its lists: the training videos, then the test videos.

    The files are ``UCF_Train.list``, ``UCF_Test.list`` and ``UCF_Annotation.txt`` for the prefix
    ``UCF``, and ``glance.csv`` (``read_clicks``) if it is there. A name gives label and group of a
    video. ``example`` is a line of the annotation. The path of a video is the file of its name
    anywhere below ``root``, or else ``root/NAME.mp4``.
    """
    train = read_list(root / f"{prefix}_Train.list", layout.crops)
    test = read_list(root / f"{prefix}_Test.list", layout.crops)
    if both := sorted(set(train) & set(test)):
        raise InputError(
            f"{root}: {len(both)} videos are in the training and in the test list ({both[0]})"
        )
    annotation_file = root / f"{prefix}_Annotation.txt"
    labels, notes = _read_test_labels(root, test, annotation_file, parse, example)
    files = _find_videos_below(root)
    videos = []
    for video in (*train, *test):
        label, group = label_and_group(video)
        path = files.get(video, root / f"{video}.mp4")
        labelled = LabelledVideo(path, label != NORMAL, label, group, part="train", fps=layout.fps)
        if video in labels:
            truth, frames = labels[video].truth, labels[video].frames
            labelled = replace(labelled, truth=truth, part="test", frames=frames)
        videos.append(labelled)
    if is_file(root / CLICKS_FILE):
        abnormal = [name for name, video in zip(train, videos, strict=False) if video.abnormal]
        clicks = read_clicks(root / CLICKS_FILE, abnormal)
        times = (clicks.get(name, TimeLabels()) for name in (*train, *test))
        videos = [replace(v, time_labels=each) for v, each in zip(videos, times, strict=True)]
    return Dataset(name, tuple(videos), layout, notes)


def read_list(path: Path, crops: int) -> tuple[str, ...]:
    """Names of the videos in a list, in its order; each must have ``crops`` lines, from 0 on."""
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


def read_clicks(path: Path, names: Sequence[str]) -> dict[str, TimeLabels]:
    """Clicks by video, in frames, as GlanceVAD (Zhang et al., 2024) publishes them.

    A row a click: ``video-id``, one of the abnormal training videos ``names``, and ``glance``, its
    frame.
    """
    known, found = set(names), dict[str, set[float]]()
    for row in read_rows(path, ("video-id", "glance")):
        name, frame = row["video-id"], row["glance"]
        if name not in known:
            raise InputError(f"{path}: line {row.line}: {name:.80} is no abnormal training video")
        if not re.fullmatch(r"[0-9]{1,9}", frame) or int(frame) > _MAX_FRAMES:
            raise InputError(f'{path}: line {row.line}: "{frame:.40}" is no number of a frame')
        found.setdefault(name, set()).add(float(frame))
    return {name: TimeLabels(tuple(sorted(frames)), (), "frames") for name, frames in found.items()}


def _find_videos_below(root: Path) -> dict[str, Path]:
    """Video files in ``root`` and all folders below it, by name without ending."""
    found: dict[str, Path] = {}
    for folder, folders, files in os.walk(root):
        folders.sort()
        for file in sorted(files):
            path = Path(folder, file)
            if path.suffix.lower() in VIDEO_SUFFIXES:
                found.setdefault(path.stem, path)
    return found
