"""Which videos a command line means."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from oddframe.video.folder import natural, pictures_in
from oddframe.video.probe import VideoInfo, probe

__all__ = ["VideoInfo", "find_inputs", "probe"]

# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".264", ".265", ".3g2", ".3gp", ".asf", ".avi", ".dav", ".divx", ".dv", ".f4v", ".flv", ".gif",
    ".h264", ".h265", ".hevc", ".ivf", ".m1v", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv",
    ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".qt", ".rm", ".rmvb",
    ".ts", ".vob", ".webm", ".wmv", ".y4m",
})
# fmt: on


def find_inputs(paths: Sequence[str]) -> list[Path]:
    """The videos that ``paths`` mean: files, folders of frames, and what is in folders or globs.

    A folder is searched with its subfolders for files with a video's suffix; one without any video
    but with pictures is one input, a folder of frames. Each input comes once, names in natural
    order within a folder. What does not exist is handed back as it is: opening it says why not, in
    its place among the others.
    """
    found: dict[Path, Path] = {}
    for text in paths:
        for path in _meant(text):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _meant(text: str) -> Iterable[Path]:
    path = Path(text)
    if os.path.isdir(path):  # noqa: PTH112 - unlike pathlib's, these never raise.
        return _search(path, frozenset()) or [path]
    if os.path.exists(path) or not glob.has_magic(text):  # noqa: PTH110
        return [path]
    matches = sorted((Path(match) for match in glob.glob(text, recursive=True)), key=_by_folder)  # noqa: PTH207
    if not matches:
        return [path]
    inputs: list[Path] = []
    for match in matches:
        inputs += _search(match, frozenset()) if match.is_dir() else [match]
    return inputs


def _by_folder(path: Path) -> tuple[str, list[tuple[int, int, str]]]:
    return str(path.parent), natural(path)


def _search(folder: Path, above: frozenset[Path]) -> list[Path]:
    here = folder.resolve()
    if here in above:  # A link to a folder above would lead round and round.
        return []
    try:
        entries = sorted(folder.iterdir(), key=natural)
    except OSError:
        return [folder]  # Opening it says why.
    inputs: list[Path] = []
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            inputs += _search(entry, above | {here})
        elif entry.suffix.lower() in VIDEO_SUFFIXES:
            inputs.append(entry)
    return inputs or ([folder] if pictures_in(folder) else [])
