"""Your own data set: a folder of folders, or a CSV."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from oddframe._utils.files import exists, invalid_path_reason, is_dir, is_file
from oddframe.datasets.labelled import (
    NORMAL,
    Dataset,
    GroundTruth,
    LabelledVideo,
    Survey,
    find_label_problems,
    normalize_label,
)
from oddframe.datasets.table import CsvRow, parse_intervals, read_rows, survey_table
from oddframe.errors import InputError
from oddframe.features.formats.arrays import is_feature_file
from oddframe.video.decoding.folder import natural_sort_key, pictures_in
from oddframe.video.discover import VIDEO_SUFFIXES, find_videos

# Beside the class folders: when it happens, in columns path (from here) and events.
EVENTS_FILE = "events.csv"


def read_dataset(path: Path) -> Dataset:
    """A data set from ``path``: a folder with ``normal/`` and maybe others, or a CSV.

    A folder: each sub-folder is a class, ``normal`` (in any case) the normal one, every other one
    abnormal; inside are videos, folders of frames or files of features (``.npy``,
    ``.safetensors``). ``normal/cam1/x.mp4`` is of group ``cam1``; a video right in its class folder
    is a group of its own. ``events.csv`` beside the classes may say when it happens: columns
    ``path`` (from there) and ``events``. A folder of videos without sub-folders holds normal ones.

    A CSV (UTF-8, commas): columns ``path`` (relative to the CSV), ``label`` and, if wished,
    ``group`` (or ``source``; an empty one is a group of its own), ``events`` (``3.2-5.0; 7-9`` in
    seconds) and ``part`` (``run_training`` or ``test``).

    Raises:
        InputError: anything is missing, twice there or unclear; one line says what and where.
    """
    return survey_path(path).require_valid()


def survey_path(path: Path) -> Survey:
    """As ``read_dataset``, with all that is wrong instead of an error for the first thing.

    Raises:
        InputError: there is nothing at ``path`` that could be a data set.
    """
    if is_dir(path):
        return _survey_folder(path)
    if not exists(path):
        raise InputError(f"{path}: no such folder or CSV")
    if path.suffix.lower() != ".csv":
        raise InputError(f"{path}: neither a folder with normal/ and others, nor a .csv")
    return survey_table(path, name=path.stem)


def _survey_folder(root: Path) -> Survey:
    try:
        inside = sorted(p for p in root.iterdir() if not p.name.startswith("."))
    except OSError as error:
        raise InputError(f"{root}: cannot be listed ({error.strerror or error})") from None
    folders = [path for path in inside if is_dir(path)]
    if not folders:
        return _survey_normal_videos(root)
    loose = [path for path in inside if path.suffix.lower() in VIDEO_SUFFIXES and is_file(path)]
    notes = (
        (f"beside the class folders, and left out: {len(loose)} videos, such as {loose[0].name}",)
        if loose
        else ()
    )
    found = find_label_problems([(folder.name, "as a folder") for folder in folders])
    problems = [f"{root}: {problem}" for problem in found]
    videos: list[LabelledVideo] = []
    for folder in folders:
        label = NORMAL if normalize_label(folder.name) == NORMAL else folder.name.strip()
        inside = _videos_in(folder)
        if not inside:
            problems.append(f"{folder}: no videos in it; the class '{label}' would be empty")
        for video in inside:
            place = video.relative_to(folder).parent.as_posix()
            own = f"{folder.name}/{video.name}" if place == "." else ""
            videos.append(
                LabelledVideo(video, label != NORMAL, label, own or place, fallback_group=own)
            )
    if is_file(root / EVENTS_FILE):
        truths, wrong = _truths(root, {os.path.realpath(video.path): video for video in videos})
        problems += wrong
        videos = [replace(video, truth=truths.get(video.path)) for video in videos]
    dataset = Dataset(root.resolve().name, tuple(videos), notes=notes)
    return Survey(root, dataset, tuple(problems))


def _survey_normal_videos(root: Path) -> Survey:
    """A folder of videos without class folders: all of them are taken as normal."""
    videos = [
        LabelledVideo(video, False, NORMAL, video.name, fallback_group=video.name)
        for video in _videos_in(root)
    ]
    if not videos:
        raise InputError(
            f"{root}: no folders and no videos in it; it takes normal/ and, to learn from, others, "
            "videos inside, or videos of which all are normal"
        )
    note = f"no class folders: all {len(videos)} videos are taken as normal"
    return Survey(root, Dataset(root.resolve().name, tuple(videos), notes=(note,)), ())


def _videos_in(folder: Path) -> list[Path]:
    found = find_videos([str(folder)])
    # What holds nothing comes back as it was asked for, which is also how one that holds pictures
    # right inside comes back.
    if found != [folder] or pictures_in(folder):
        return found
    return sorted(
        (file for file in folder.rglob("[!.]*") if is_feature_file(file)), key=natural_sort_key
    )


def _truths(
    root: Path, videos: Mapping[str, LabelledVideo]
) -> tuple[dict[Path, GroundTruth], list[str]]:
    """When it happens, by the videos' paths, and what is wrong with the list."""
    table = root / EVENTS_FILE
    # Who keeps such a list says by it that nothing happens in the normal ones.
    truths = {v.path: GroundTruth((), "seconds") for v in videos.values() if not v.abnormal}
    problems: list[str] = []
    for row in read_rows(table, ("path", "events")):
        if wrong := invalid_path_reason(row["path"]):
            problems.append(f"{table}: line {row.line}: the path {wrong}")
            continue
        video = videos.get(os.path.realpath(root / row["path"]))
        if video is None:
            problems.append(f"{table}: line {row.line}: {row['path']} is no video of this data set")
        elif problem := _put(truths, video, row):
            problems.append(f"{table}: line {row.line}: {problem}")
    return truths, problems


def _put(truths: dict[Path, GroundTruth], video: LabelledVideo, row: CsvRow) -> str:
    try:
        intervals = parse_intervals(row["events"])
    except InputError as error:
        return str(error)
    if intervals and not video.abnormal:
        return f"{row['path']} is labelled normal, but something happens in it"
    if intervals:
        truths[video.path] = GroundTruth(intervals, "seconds")
    return ""
