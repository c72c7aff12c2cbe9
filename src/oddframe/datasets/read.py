"""Your own data set: a folder of folders, or a CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from oddframe.datasets.labelled import NORMAL, Dataset, LabelledVideo, check_labels, plain
from oddframe.errors import InputError
from oddframe.video.discover import find_inputs
from oddframe.video.folder import pictures_in

# What a CSV may call the recording, camera or scene of a video; the first that is there counts.
GROUP_COLUMNS = ("group", "source")


def read_dataset(path: Path) -> Dataset:
    """A data set from ``path``: a folder with ``normal/`` and others, or a CSV.

    A folder: each sub-folder is a class, ``normal`` (in any case) the normal one, every other one
    abnormal; videos or folders of frames inside. ``normal/cam1/x.mp4`` is of group ``cam1``; a
    video right in its class folder is a group of its own.

    A CSV (UTF-8, commas): columns ``path`` (relative to the CSV), ``label`` and, if wished,
    ``group`` (or ``source``); an empty group is one of its own.

    Raises:
        InputError: anything is missing, twice there or unclear; one line says what and where.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise InputError(f"{path}: no such folder or CSV")
    if path.suffix.lower() != ".csv":
        raise InputError(f"{path}: neither a folder with normal/ and others, nor a .csv")
    return read_table(path, name=path.stem)


def _read_folder(root: Path) -> Dataset:
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not folders:
        raise InputError(
            f"{root}: no folders in it; it takes normal/ and at least one other, videos inside"
        )
    check_labels([(folder.name, "as a folder") for folder in folders], root)
    videos: list[LabelledVideo] = []
    for folder in folders:
        label = NORMAL if plain(folder.name) == NORMAL else folder.name.strip()
        found = _videos_in(folder)
        if not found:
            raise InputError(f"{folder}: no videos in it; the class '{label}' would be empty")
        for video in found:
            inside = video.relative_to(folder).parent.as_posix()
            group = f"{folder.name}/{video.name}" if inside == "." else inside
            videos.append(LabelledVideo(video, label != NORMAL, label, group))
    return Dataset(root.resolve().name, tuple(videos))


def _videos_in(folder: Path) -> list[Path]:
    found = find_inputs([str(folder)])
    # What holds nothing comes back as it was asked for, which is also how one that holds pictures
    # right inside comes back.
    return [] if found == [folder] and not pictures_in(folder) else found


def read_table(path: Path, *, name: str) -> Dataset:
    """A data set called ``name`` from a CSV, as ``read_dataset`` reads it.

    Raises:
        InputError: as ``read_dataset``.
    """
    rows = _rows(path)
    check_labels([(label, f"on line {line}") for line, _, label, _ in rows], path)
    videos: list[LabelledVideo] = []
    lines: dict[Path, int] = {}
    missing: list[str] = []
    for line, file, label, group in rows:
        video = path.parent / file
        earlier = lines.setdefault(video.resolve(), line)
        if earlier != line:
            raise InputError(f"{path}: {file} stands on line {earlier} and again on line {line}")
        if not video.exists():
            missing.append(file)
        label = NORMAL if plain(label) == NORMAL else label.strip()
        videos.append(LabelledVideo(video, label != NORMAL, label, group or file))
    if missing:
        shown = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else "")
        raise InputError(
            f"{path}: {len(missing)} of {len(rows)} files are missing: {shown} "
            f"(paths are relative to {path.parent.resolve()})"
        )
    return Dataset(name, tuple(videos))


def _rows(path: Path) -> list[tuple[int, str, str, str]]:
    """Line number, path, label and group of each row."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        reader = csv.DictReader(text.splitlines(), strict=True)
        columns = [name.strip() for name in reader.fieldnames or []]
        _check_columns(path, columns)
        reader.fieldnames = columns
        rows = [(reader.line_num, row) for row in reader]
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(f"{path}: line {line} is not UTF-8; save the file as UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV ({error})") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    group_column = next((c for c in GROUP_COLUMNS if c in columns), "")
    if not rows:
        raise InputError(f"{path}: no rows below the header")
    for line, row in rows:
        if not (row["path"] or "").strip():
            raise InputError(f"{path}: no path on line {line}")
    return [
        (line, row["path"].strip(), row["label"] or "", (row.get(group_column) or "").strip())
        for line, row in rows
    ]


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    if not columns:
        raise InputError(f"{path}: empty; its first line must be path,label or path,label,group")
    lacking = [column for column in ("path", "label") if column not in columns]
    if lacking:
        raise InputError(
            f"{path}: no column {' and '.join(lacking)}, only {', '.join(columns)}; "
            "its first line must be path,label or path,label,group, with commas"
        )
