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


@dataclass(frozen=True, kw_only=True)
class ManifestEntry:
    """One line of the manifest: one video and the features of one spec.

    Attributes:
        video: Path of the video as the user gave it.
        sha256: Of the video's content; "": the video could not be read.
        spec: Hash of the spec; "": the extraction failed before the spec was needed.
        backbone: Name of the backbone.
        snippets: Number of snippets.
        frames: Number of decoded frames.
        duration_s: Length of the video in seconds.
        seconds: How long the extraction took.
        damaged_packets: Video packets that could not be decoded.
        mended_frames: Frames that were decoded with errors and are used.
        notes: Messages for the user, for example that the video has no sound.
        file: The feature file, relative to the manifest's folder; the first one, if each crop has a
            file.
        reason: Why there are no features; "": there are features.
    """

    video: str
    sha256: str = ""
    spec: str = ""
    backbone: str = ""
    snippets: int = 0
    frames: int = 0
    duration_s: float = 0.0
    seconds: float = 0.0
    damaged_packets: int = 0
    mended_frames: int = 0
    notes: tuple[str, ...] = ()
    file: str = ""
    reason: str = ""


def append_entries(folder: Path, entries: Iterable[ManifestEntry]) -> None:
    """Append lines to the manifest of a folder; a missing folder is created.

    Several processes may append at the same time: the lines of each call stay whole and together.

    Raises:
        OddframeError: the manifest cannot be written.
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
    """Read the manifest of a folder, oldest line first; yields nothing if there is none.

    Raises:
        InputError: the manifest exists but cannot be read.
    """
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
    """Read the path of each video in a folder's manifest, by the sha256 of the video's content.

    Raises:
        InputError: the manifest exists but cannot be read.
    """
    return {entry.sha256: Path(entry.video) for entry in read_entries(folder) if entry.sha256}
