"""Reads the user's own data sets: a folder with a subfolder for each class, or a CSV."""

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
from oddframe.features.formats.feature_file import is_feature_file
from oddframe.video.decoding.folder import natural_sort_key, pictures_in
from oddframe.video.discover import VIDEO_SUFFIXES, find_videos

# Beside the class folders; columns: path (relative to it) and events (when anomalies happen).
EVENTS_FILE = "events.csv"


def read_dataset(path: Path) -> Dataset:
    """Read a data set from a folder or a CSV.

    Folder: each subfolder is a class, ``normal`` (in any case) the normal one, all others abnormal.
    It contains videos, folders of frames or feature files (``.npy``, ``.safetensors``). The group
    of ``normal/cam1/x.mp4`` is ``cam1``; a video directly in its class folder is a group of its
    own. ``events.csv`` beside the classes may state when anomalies happen: columns ``path``
    (relative to it) and ``events``. All videos of a folder without subfolders are normal.

    CSV (UTF-8, commas): columns ``path`` (relative to the CSV), ``label`` and optionally ``group``
    (or ``source``; if empty, the video is a group of its own), ``events`` (``3.2-5.0; 7-9`` in
    seconds) and ``part`` (``train`` or ``test``).

    Raises:
        InputError: something is missing, duplicate or ambiguous; one line says what and where.
    """
    return survey_path(path).require_valid()


def survey_path(path: Path) -> Survey:
    """As ``read_dataset``, but collect all problems instead of raising for the first one.

    Raises:
        InputError: ``path`` is neither a folder nor a CSV.
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
        entries = sorted(p for p in root.iterdir() if not p.name.startswith("."))
    except OSError as error:
        raise InputError(f"{root}: cannot be listed ({error.strerror or error})") from None
    folders = [path for path in entries if is_dir(path)]
    if not folders:
        return _survey_normal_videos(root)
    loose = [path for path in entries if path.suffix.lower() in VIDEO_SUFFIXES and is_file(path)]
    notes = (
        (f"beside the class folders, and left out: {len(loose)} videos, such as {loose[0].name}",)
        if loose
        else ()
    )
    label_problems = find_label_problems([(folder.name, "as a folder") for folder in folders])
    problems = [f"{root}: {problem}" for problem in label_problems]
    videos: list[LabelledVideo] = []
    for folder in folders:
        label = NORMAL if normalize_label(folder.name) == NORMAL else folder.name.strip()
        paths = _find_in_folder(folder)
        if not paths:
            problems.append(f"{folder}: no videos in it; the class '{label}' would be empty")
        for video in paths:
            place = video.relative_to(folder).parent.as_posix()
            own = f"{folder.name}/{video.name}" if place == "." else ""
            videos.append(
                LabelledVideo(video, label != NORMAL, label, own or place, fallback_group=own)
            )
    if is_file(root / EVENTS_FILE):
        truths, event_problems = _read_events(
            root, {os.path.realpath(video.path): video for video in videos}
        )
        problems += event_problems
        videos = [replace(video, truth=truths.get(video.path)) for video in videos]
    dataset = Dataset(root.resolve().name, tuple(videos), notes=notes)
    return Survey(root, dataset, tuple(problems))


def _survey_normal_videos(root: Path) -> Survey:
    """A folder of videos without class folders: all of them are normal."""
    videos = [
        LabelledVideo(video, False, NORMAL, video.name, fallback_group=video.name)
        for video in _find_in_folder(root)
    ]
    if not videos:
        raise InputError(
            f"{root}: no folders and no videos in it; it takes normal/ and, to learn from, others, "
            "videos inside, or videos of which all are normal"
        )
    note = f"no class folders: all {len(videos)} videos are taken as normal"
    return Survey(root, Dataset(root.resolve().name, tuple(videos), notes=(note,)), ())


def _find_in_folder(folder: Path) -> list[Path]:
    found = find_videos([str(folder)])
    # ``find_videos`` returns the folder itself if it has no videos, or if it is a folder of frames.
    if found != [folder] or pictures_in(folder):
        return found
    return sorted(
        (file for file in folder.rglob("[!.]*") if is_feature_file(file)), key=natural_sort_key
    )


def _read_events(
    root: Path, videos: Mapping[str, LabelledVideo]
) -> tuple[dict[Path, GroundTruth], list[str]]:
    """Ground truth by path of the video, and problems of ``events.csv``.

    Args:
        root: The data set's folder.
        videos: Its videos by resolved path.
    """
    table = root / EVENTS_FILE
    # With such a list, no anomaly happens in the normal videos.
    truths = {v.path: GroundTruth((), "seconds") for v in videos.values() if not v.abnormal}
    problems: list[str] = []
    for row in read_rows(table, ("path", "events")):
        if wrong := invalid_path_reason(row["path"]):
            problems.append(f"{table}: line {row.line}: the path {wrong}")
            continue
        video = videos.get(os.path.realpath(root / row["path"]))
        if video is None:
            problems.append(f"{table}: line {row.line}: {row['path']} is no video of this data set")
        elif problem := _add_truth(truths, video, row):
            problems.append(f"{table}: line {row.line}: {problem}")
    return truths, problems


def _add_truth(truths: dict[Path, GroundTruth], video: LabelledVideo, row: CsvRow) -> str:
    try:
        intervals = parse_intervals(row["events"])
    except InputError as error:
        return str(error)
    if intervals and not video.abnormal:
        return f"{row['path']} is labelled normal, but something happens in it"
    if intervals:
        truths[video.path] = GroundTruth(intervals, "seconds")
    return ""
