"""Reads the user's own data sets: a folder with a subfolder for each class, or a CSV.

Intervals in a CSV are written as ``3.2-5.0; 7-9`` or ``1:05-1:20``, times as ``12.5; 1:05``.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from oddframe._utils.files import exists, invalid_path_reason, is_dir, is_file, read_bytes
from oddframe.datasets.labelled import (
    NORMAL,
    Dataset,
    GroundTruth,
    Intervals,
    LabelledVideo,
    PartName,
    Survey,
    TimeLabels,
    find_label_problems,
    normalize_label,
)
from oddframe.errors import InputError
from oddframe.features.formats.feature_file import is_feature_file
from oddframe.video.decoding.pictures import natural_sort_key, pictures_in
from oddframe.video.discover import VIDEO_SUFFIXES, find_videos

# Beside the class folders; columns: path (relative to it), and one or more of ``TIME_COLUMNS``.
EVENTS_FILE = "events.csv"
# When anomalies happen, times in them, and times at which nothing happens.
TIME_COLUMNS = ("events", "clicks", "rejected")


def read_dataset(path: Path) -> Dataset:
    """As ``survey_path``, but InputError if something is missing, duplicate or ambiguous."""
    return survey_path(path).require_valid()


def survey_path(path: Path) -> Survey:
    """Read a data set from a folder or a CSV, and collect all its problems.

    Folder: each subfolder is a class, ``normal`` (in any case) the normal one, all others abnormal.
    The group of ``normal/cam1/x.mp4`` is ``cam1``; a video directly in its class folder is a group
    of its own. All videos of a folder without subfolders are normal.

    CSV: columns ``path`` (relative to the CSV), ``label`` and optionally ``group`` (or ``source``;
    if empty, the video is a group of its own), ``events``, ``clicks``, ``rejected`` and ``part``
    (``train`` or ``test``).
    """
    if is_dir(path):
        return _survey_folder(path)
    if not exists(path):
        raise InputError(f"{path}: no such folder or CSV")
    if path.suffix.lower() != ".csv":
        raise InputError(f"{path}: neither a folder with normal/ and others, nor a .csv")
    return survey_table(path, path.stem)


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
        by_path = {os.path.realpath(video.path): video for video in videos}
        problems += _read_events(root, by_path)
        videos = list(by_path.values())
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


def _read_events(root: Path, videos: dict[str, LabelledVideo]) -> list[str]:
    """Add what ``events.csv`` says to ``videos``, by resolved path; the problems of the file."""
    table = root / EVENTS_FILE
    problems: list[str] = []
    lines: dict[str, int] = {}
    rows = read_rows(table, ("path",), one_of=TIME_COLUMNS)
    if "events" in rows[0].raw:
        # With such a list, no anomaly happens in the normal videos.
        for path, video in videos.items():
            if not video.abnormal:
                videos[path] = replace(video, truth=GroundTruth((), "seconds"))
    for row in rows:
        if wrong := invalid_path_reason(row["path"]):
            problems.append(f"{table}: line {row.line}: the path {wrong}")
            continue
        path = os.path.realpath(root / row["path"])
        if path not in videos:
            problems.append(f"{table}: line {row.line}: {row['path']} is no video of this data set")
            continue
        first = lines.setdefault(path, row.line)
        if first != row.line:
            problems.append(
                f"{table}: line {row.line}: {row['path']} is on line {first} already; write all "
                "its times in one row"
            )
            continue
        video = videos[path]
        intervals, time_labels, wrongs = _parse_times(row, video.abnormal, f"{row['path']} is ")
        problems += [f"{table}: line {row.line}: {wrong}" for wrong in wrongs]
        if intervals:
            video = replace(video, truth=GroundTruth(intervals, "seconds"))
        videos[path] = replace(video, time_labels=time_labels)
    return problems


def _parse_times(
    row: CsvRow, abnormal: bool, subject: str = ""
) -> tuple[Intervals, TimeLabels, list[str]]:
    """The intervals and the time labels of a row, and what is wrong with them."""
    try:
        intervals = parse_intervals(row["events"])
        labels = TimeLabels(parse_times(row["clicks"]), parse_times(row["rejected"]))
    except InputError as error:
        return (), TimeLabels(), [str(error)]
    if intervals and not abnormal:
        return (), TimeLabels(), [f"{subject}labelled normal, but something happens in it"]
    problems = []
    if labels.clicks and not abnormal:
        problems.append(f"{subject}labelled normal, but there is a click in it")

    def in_event(time: float) -> bool:
        return any(start <= time <= end for start, end in intervals)

    if intervals:
        outside = next((time for time in labels.clicks if not in_event(time)), None)
        if outside is not None:
            problems.append(f"the click at {outside:g} s is in none of the events")
    inside = next((time for time in labels.rejected if in_event(time)), None)
    if inside is not None:
        problems.append(f"the rejected time {inside:g} s is in an event")
    if both := set(labels.clicks) & set(labels.rejected):
        problems.append(f"{min(both):g} s is both a click and a rejected time")
    return (intervals, TimeLabels(), problems) if problems else (intervals, labels, [])


_TIME = r"(?:\d+:)?(?:\d+:)?\d+(?:\.\d*)?"
# Spreadsheets and word processors replace hyphens with dashes.
_INTERVAL = re.compile(rf"\s*({_TIME})\s*[-–—]\s*({_TIME})\s*")  # noqa: RUF001


def parse_intervals(text: str) -> Intervals:
    """Parse intervals in seconds; returns them sorted, with overlapping or touching ones joined.

    A time is in seconds, ``m:ss`` or ``h:mm:ss``; intervals are separated by semicolons.
    """
    joined: list[tuple[float, float]] = []
    for start, end in sorted(_interval(part) for part in text.split(";") if part.strip()):
        if joined and start <= joined[-1][1]:
            start, before = joined.pop()
            end = max(before, end)
        joined.append((start, end))
    return tuple(joined)


def _interval(text: str) -> tuple[float, float]:
    found = _INTERVAL.fullmatch(text)
    if found is None:
        raise InputError(f'"{text.strip()}" is no interval; write seconds, as in 3.2-5.0; 7-9')
    start, end = (_seconds(time) for time in found.groups())
    if end <= start:
        raise InputError(f'the interval "{text.strip()}" ends before it starts')
    return start, end


def parse_times(text: str) -> tuple[float, ...]:
    """Parse times separated by semicolons, as ``parse_intervals`` does; sorted, each once."""
    times = set()
    for part in filter(str.strip, text.split(";")):
        if re.fullmatch(rf"\s*{_TIME}\s*", part) is None:
            raise InputError(f'"{part.strip()}" is no time; write seconds, as in 12.5; 47')
        times.add(_seconds(part))
    return tuple(sorted(times))


def _seconds(text: str) -> float:
    total = 0.0
    for part in text.split(":"):
        total = 60 * total + float(part)
    return total


# A row each for half a million videos.
_MAX_BYTES = 64 * 2**20
# Names of the column with the recording, camera or scene; the first that exists is used.
GROUP_COLUMNS = ("group", "source")


@dataclass(frozen=True)
class CsvRow:
    """A row of a CSV; ``row[column]`` is the stripped cell, "" if it is empty or missing."""

    line: int
    raw: Mapping[str, str | None]

    def __getitem__(self, column: str) -> str:
        return (self.raw.get(column) or "").strip()


def survey_table(path: Path, name: str) -> Survey:
    """Read a data set called ``name`` from a CSV, see ``survey_path``."""
    rows = read_rows(path, ("path", "label"))
    written = [(row.raw["label"] or "", f"on line {row.line}") for row in rows]
    problems = find_label_problems(written)
    videos: list[LabelledVideo] = []
    lines: dict[str, int] = {}
    missing: list[str] = []
    for row in rows:
        if reason := invalid_path_reason(row["path"]):
            problems.append(f"line {row.line}: the path {reason}")
            continue
        video, row_problems = _parse_row(path.parent, row)
        problems += [f"line {row.line}: {problem}" for problem in row_problems]
        first_line = lines.setdefault(os.path.realpath(video.path), row.line)
        if not row["path"]:
            problems.append(f"no path on line {row.line}")
        elif first_line != row.line:
            problems.append(f"{row['path']} is on line {first_line} and again on line {row.line}")
        elif not exists(video.path):
            missing.append(row["path"])
        else:
            videos.append(video)
    if missing:
        shown = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else "")
        problems.append(
            f"{len(missing)} of {len(rows)} files are missing: {shown} "
            f"(paths are relative to {os.path.realpath(path.parent)})"
        )
    without = [row for row in rows if not row["part"]]
    if 0 < len(without) < len(rows):
        problems.append(f"line {without[0].line} has no part, other lines have one")
    return Survey(path, Dataset(name, tuple(videos)), tuple(f"{path}: {p}" for p in problems))


def _parse_row(folder: Path, row: CsvRow) -> tuple[LabelledVideo, list[str]]:
    label = NORMAL if normalize_label(row["label"]) == NORMAL else row["label"]
    abnormal = label != NORMAL
    group = next((row[c] for c in GROUP_COLUMNS if c in row.raw), "")
    own = "" if group else row["path"]
    intervals, time_labels, problems = _parse_times(row, abnormal)
    # In a list with events, an abnormal video without intervals has unknown ones.
    known = "events" in row.raw and bool(intervals or not abnormal)
    part = row["part"].lower()
    if part not in ("", "train", "test"):
        problems.append(f'the part is "{row["part"]}"; it takes train or test')
    truth = GroundTruth(intervals, "seconds") if known else None
    path = folder / row["path"]
    video = LabelledVideo(
        path,
        abnormal,
        label,
        group or own,
        truth,
        cast(PartName, part),
        fallback_group=own,
        time_labels=time_labels,
    )
    return video, problems


def read_rows(path: Path, needed: Sequence[str], one_of: Sequence[str] = ()) -> list[CsvRow]:
    """Read the rows of a CSV whose header must have the columns ``needed``, and one of the others
    if there are any."""
    try:
        text = read_bytes(path, _MAX_BYTES).decode("utf-8-sig")
        reader = csv.DictReader(text.splitlines(), strict=True)
        columns = [name.strip() for name in reader.fieldnames or []]
        _check_columns(path, columns, needed)
        if one_of and not set(columns) & set(one_of):
            raise InputError(f"{path}: none of the columns {', '.join(one_of)}")
        reader.fieldnames = columns
        rows = [CsvRow(reader.line_num, row) for row in reader]
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(f"{path}: line {line} is not UTF-8; save the file as UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV ({error})") from None
    if not rows:
        raise InputError(f"{path}: no rows below the header")
    return rows


def _check_columns(path: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    line = ",".join(needed)
    if not columns:
        raise InputError(f"{path}: empty; its first line must be {line} or more columns")
    lacking = [column for column in needed if column not in columns]
    if lacking:
        raise InputError(
            f"{path}: no column {' and '.join(lacking)}, only {', '.join(columns)}; "
            f"its first line must be {line} or more columns, with commas"
        )
