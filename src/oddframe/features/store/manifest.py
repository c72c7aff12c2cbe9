"""What was extracted of which video: a file of JSON lines that only ever grows.

A store knows videos by their content; the manifest knows their names, and why a video has no
features. Of several lines of one video and spec the last one holds. A line that a killed run left
unfinished is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from io import TextIOWrapper
from pathlib import Path

from oddframe._utils.files import exists, make_folder, open_regular_file, translate_os_errors
from oddframe._utils.locks import wait_for_lock
from oddframe.errors import InputError

MANIFEST_NAME = "manifest.jsonl"
MANIFEST_SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class ManifestEntry:
    """One video and one kind of feature of it.

    Attributes:
        video: Path as it was given.
        sha256: Of its content; "": it could not be read.
        spec: Hash of the spec; "": it failed before that mattered.
        backbone: What looked at it, or listened.
        snippets: How many there are.
        frames: As decoded.
        duration_s: Length of the video in seconds.
        seconds: That making it took.
        damaged_packets: Of the picture, that gave none.
        mended_frames: That were decoded with errors and are used.
        notes: What a reader should know: that there was no sound, say.
        file: The feature file, from the manifest's folder; of files a crop, the first.
        reason: Why there are no features; "": there are.
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
    """Add lines to the manifest of a folder, which is made if need be.

    Several processes may do so at the same time: each one's lines stay whole and together.

    Raises:
        OddframeError: it cannot be written.
    """
    path = folder / MANIFEST_NAME
    lines = [json.dumps({"schema": MANIFEST_SCHEMA, **asdict(entry)}) + "\n" for entry in entries]
    make_folder(folder)
    with translate_os_errors(path), path.open("ab+") as file:
        wait_for_lock(file.fileno())  # Closing the file releases it.
        if file.seek(0, 2) > 0:
            file.seek(-1, 2)
            if file.read(1) != b"\n":  # A run was killed while it wrote.
                lines.insert(0, "\n")
        file.write("".join(lines).encode())


def read_entries(folder: Path) -> Iterator[ManifestEntry]:
    """The lines of a folder's manifest that can be read, oldest first; none without a manifest.

    Raises:
        InputError: it is there, but cannot be read.
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
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def read_video_names(folder: Path) -> dict[str, Path]:
    """Videos by the sha256 of their content, as the manifest of a folder names them last.

    Raises:
        InputError: it is there, but cannot be read.
    """
    return {entry.sha256: Path(entry.video) for entry in read_entries(folder) if entry.sha256}
