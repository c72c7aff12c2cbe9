"""Data sets that are published as lists of feature files: reading the lists and the labels.

A list has one line a crop, ``.../Abuse028_x264__3.npy``: the video's name, two underscores, the
crop's number. What stands before the name is a folder of the authors and is not used.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from oddframe.datasets.labelled import NORMAL, Dataset, LabelledVideo
from oddframe.datasets.published_labels import Annotated, read_annotation, read_lines, truths_of
from oddframe.errors import InputError
from oddframe.features.layout import Layout
from oddframe.video.discover import VIDEO_SUFFIXES

_LINE = re.compile(r"(?:.*[/\\])?([^/\\]+)__(\d+)\.npy")


def read_published(
    root: Path,
    name: str,
    layout: Layout,
    prefix: str,
    said_of: Callable[[str], tuple[str, str]],
    parse: Callable[[list[str]], tuple[str, Annotated]],
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
    check_apart(root, train, test)
    annotation = root / f"{prefix}_Annotation.txt"
    labels = truths_of(root, test, annotation, read_annotation(annotation, parse, looks_like))
    files = videos_below(root)

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


def check_apart(root: Path, train: Sequence[str], test: Sequence[str]) -> None:
    """Refuse lists that name a video on both sides.

    Raises:
        InputError: there is one.
    """
    if both := sorted(set(train) & set(test)):
        raise InputError(
            f"{root}: {len(both)} videos are in the training and in the test list ({both[0]})"
        )


def videos_below(root: Path) -> dict[str, Path]:
    """Video files in ``root`` and all folders below it, by their names without ending."""
    found: dict[str, Path] = {}
    for folder, folders, files in os.walk(root):
        folders.sort()
        for file in sorted(files):
            path = Path(folder, file)
            if path.suffix.lower() in VIDEO_SUFFIXES:
                found.setdefault(path.stem, path)
    return found
