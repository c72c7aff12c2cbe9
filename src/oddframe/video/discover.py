"""Which videos a command line means.

Videos that oddframe wrote itself, and that are none to look at: annotated ones, previews.
"""

from __future__ import annotations

import glob
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePath

from oddframe._utils.files import invalid_path_reason
from oddframe.errors import InputError
from oddframe.video.decoding.container import check_readable
from oddframe.video.decoding.folder import PICTURE_SUFFIXES, natural_sort_key

# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".264", ".265", ".3g2", ".3gp", ".asf", ".avi", ".dav", ".divx", ".dv", ".f4v", ".flv", ".gif",
    ".h264", ".h265", ".hevc", ".ivf", ".m1v", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv",
    ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".qt", ".rm", ".rmvb",
    ".ts", ".vob", ".webm", ".wmv", ".y4m",
})
# fmt: on


def group_videos(
    files: Iterable[PurePath], known_videos: Collection[PurePath] = ()
) -> dict[PurePath, list[PurePath]]:
    """The videos in a tree of files, each with the files that it is of.

    A file with a video's suffix is one. A folder with pictures in it is one, a folder of frames, as
    long as there is no video in it or below it. What is hidden is passed over. They come in natural
    order, folder by folder.

    Args:
        files: Paths from the root of the tree; the root itself may be a folder of frames, ``.``.
        known_videos: Paths that count as videos whatever their names.
    """
    inputs = {path: [path] for path in known_videos}
    inside: defaultdict[PurePath, list[PurePath]] = defaultdict(list)
    for file in files:
        if any(part.startswith(".") for part in file.parts):
            continue
        inside[file.parent].append(file)
        if file.suffix.lower() in VIDEO_SUFFIXES:
            inputs[file] = [file]
    above = {folder for path in inputs for folder in path.parents}
    for folder in sorted(inside, key=lambda folder: -len(folder.parts)):
        held = inside[folder]
        if folder in above or not any(f.suffix.lower() in PICTURE_SUFFIXES for f in held):
            continue
        inputs[folder] = held
        above |= {folder, *folder.parents}
    order = sorted(
        inputs, key=lambda path: [natural_sort_key(PurePath(part)) for part in path.parts]
    )
    return {path: inputs[path] for path in order}


def find_videos(paths: Sequence[str]) -> list[Path]:
    """The videos that ``paths`` mean: files, folders of frames, and what is in folders or globs.

    A folder is searched with those below it, see ``group_videos``. Each input comes once. What does
    not exist is handed back as it is: opening it says why not, in its place among the others.

    Raises:
        InputError: a path that no file can have.
    """
    found: dict[str, Path] = {}
    for text in paths:
        if wrong := invalid_path_reason(text):
            raise InputError(f"{text:.60}: the path {wrong}")
        for path in _meant(text):
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def _meant(text: str) -> Iterable[Path]:
    path = Path(text)
    if os.path.isdir(path):  # noqa: PTH112 - unlike pathlib's, these never raise.
        return _search(path) or [path]
    if os.path.exists(path) or not glob.has_magic(text):  # noqa: PTH110
        return [path]
    matches = sorted((Path(match) for match in glob.glob(text, recursive=True)), key=_by_folder)  # noqa: PTH207
    if not matches:
        return [path]
    inputs: list[Path] = []
    for match in matches:
        inputs += _search(match) if match.is_dir() else [match]
    return inputs


def _by_folder(path: Path) -> tuple[str, list[tuple[int, int, str]]]:
    return str(path.parent), natural_sort_key(path)


def _search(folder: Path) -> list[Path]:
    files: list[Path] = []
    closed: list[Path] = []  # Opening them says why.
    _list(folder, frozenset(), files, closed)
    found = group_videos(
        (file.relative_to(folder) for file in files), [path.relative_to(folder) for path in closed]
    )
    return [folder / path for path in found]


def _list(folder: Path, above: frozenset[str], files: list[Path], closed: list[Path]) -> None:
    here = os.path.realpath(folder)  # Unlike pathlib's, it never raises.
    if here in above:  # A link to a folder above would lead round and round.
        return
    try:
        entries = list(folder.iterdir())
    except OSError:
        closed.append(folder)
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            _list(entry, above | {here}, files, closed)
        else:
            files.append(entry)


# In the comment of every video that shows what was found in another one.
GENERATED_MARK = "oddframe wrote this to show what it found; it is no recording"
_ENDINGS = ("annotated.mp4", "preview.mp4", "preview.webm")
_BLOCK = 2**20  # Bytes; the comment is written before the pictures.


def is_generated(path: Path) -> bool:
    """Whether a file is an annotated video or a preview, by its mark; only those have such names.

    False for a file that cannot be read. No decoder is used here: untrusted files are decoded in
    a child process only.
    """
    if not path.name.endswith(_ENDINGS):
        return False
    mark, read = GENERATED_MARK.encode(), b""
    try:
        check_readable(path)
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                read = read[-len(mark) :] + block
                if mark in read:
                    return True
    except (InputError, OSError):
        pass
    return False
