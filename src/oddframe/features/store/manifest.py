"""The manifest of a store: a file of JSON lines that says what was extracted of which video.

A store knows videos by the hash of their content; the manifest also has their names, and the reason
if a video has no features. Lines are only appended: the last line of a video and spec counts. A
line that a killed process left incomplete is skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from io import TextIOWrapper
from pathlib import Path

from oddframe._utils.files import (
    describe_read_error,
    exists,
    make_folder,
    open_regular_file,
    translate_os_errors,
)
from oddframe._utils.locks import wait_for_lock
from oddframe.errors import InputError

MANIFEST_NAME = "manifest.jsonl"
MANIFEST_SCHEMA = 1
# Fields of ``ManifestEntry`` that an ``Extraction`` has as well.
REMARK_FIELDS = ("damaged_packets", "mended_frames", "notes")


@dataclass(frozen=True, kw_only=True)
class ManifestEntry:
    """One line of the manifest: one video and the features of one spec."""

    video: str  # Path as the user gave it.
    sha256: str = ""  # Of the video's content; "": it could not be read.
    spec: str = ""  # Hash; "": the extraction failed before the spec was needed.
    backbone: str = ""
    snippets: int = 0
    frames: int = 0
    duration_s: float = 0.0
    seconds: float = 0.0  # How long the extraction took.
    damaged_packets: int = 0  # They could not be decoded.
    mended_frames: int = 0  # Decoded with errors and used.
    notes: tuple[str, ...] = ()
    file: str = ""  # Relative to the manifest's folder; the first one, if each crop has a file.
    reason: str = ""  # Why there are no features.


def append_entries(folder: Path, entries: Iterable[ManifestEntry]) -> None:
    """Append lines to the manifest of a folder; a missing folder is created.

    Several processes may append at the same time: the lines of each call stay whole and together.
    """
    path = folder / MANIFEST_NAME
    lines = [json.dumps({"schema": MANIFEST_SCHEMA, **asdict(entry)}) + "\n" for entry in entries]
    make_folder(folder)
    with translate_os_errors(path), path.open("ab+") as file:
        wait_for_lock(file.fileno())  # Closing the file releases it.
        if file.seek(0, 2) > 0:
            file.seek(-1, 2)
            if file.read(1) != b"\n":  # A process was killed while it wrote.
                lines.insert(0, "\n")
        file.write("".join(lines).encode())


def read_entries(folder: Path) -> Iterator[ManifestEntry]:
    """Read the manifest of a folder, oldest line first; yields nothing if there is none."""
    path = folder / MANIFEST_NAME
    known = {field.name for field in fields(ManifestEntry)}
    if not exists(path):
        return
    try:
        with TextIOWrapper(open_regular_file(path), encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    data = json.loads(line)
                    values = {k: v for k, v in data.items() if k in known}
                    yield ManifestEntry(**{**values, "notes": tuple(values.get("notes", ()))})
                except (ValueError, TypeError, AttributeError, RecursionError):
                    continue
    except OSError as error:
        raise InputError(f"{path}: {describe_read_error(error)}") from None


def read_video_names(folder: Path) -> dict[str, Path]:
    """Read the path of each video in a folder's manifest, by the sha256 of the video's content."""
    return {entry.sha256: Path(entry.video) for entry in read_entries(folder) if entry.sha256}
