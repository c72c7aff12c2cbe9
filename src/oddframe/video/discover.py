"""Finds the videos that paths, folders and globs on a command line refer to."""

from __future__ import annotations

import glob
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path, PurePath

from oddframe._utils.files import invalid_path_reason
from oddframe.errors import InputError
from oddframe.video.decoding.container import check_readable
from oddframe.video.decoding.pictures import PICTURE_SUFFIXES, natural_sort_key

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
    """Group the files of a tree into videos: each video's path with the files it consists of.

    A video is a file with a video's suffix, or a folder of frames: a folder that contains pictures
    and no video at any depth. Hidden files are ignored. Videos are in natural order, folder by
    folder. Paths are relative to the root of the tree, which may be a folder of frames itself;
    ``known_videos`` are videos whatever their names.
    """
    videos = {path: [path] for path in known_videos}
    files_in: defaultdict[PurePath, list[PurePath]] = defaultdict(list)
    for file in files:
        if any(part.startswith(".") for part in file.parts):
            continue
        files_in[file.parent].append(file)
        if file.suffix.lower() in VIDEO_SUFFIXES:
            videos[file] = [file]
    above_videos = {folder for path in videos for folder in path.parents}
    for folder in sorted(files_in, key=lambda folder: -len(folder.parts)):
        frames = files_in[folder]
        has_pictures = any(file.suffix.lower() in PICTURE_SUFFIXES for file in frames)
        if folder not in above_videos and has_pictures:
            videos[folder] = frames
            above_videos |= {folder, *folder.parents}
    order = sorted(
        videos, key=lambda path: [natural_sort_key(PurePath(part)) for part in path.parts]
    )
    return {path: videos[path] for path in order}


def find_videos(paths: Sequence[str]) -> list[Path]:
    """Find the videos that ``paths`` refer to: files, folders of frames, folders and globs.

    Folders are searched recursively, see ``group_videos``. Each video is returned once. A path that
    does not exist is returned unchanged: opening it reports the error for that video alone.
    """
    found: dict[str, Path] = {}
    for text in paths:
        if wrong := invalid_path_reason(text):
            raise InputError(f"{text:.60}: the path {wrong}")
        for path in _expand(text):
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def _expand(text: str) -> Iterable[Path]:
    path = Path(text)
    if os.path.isdir(path):  # noqa: PTH112 - unlike pathlib's, these never raise.
        return _search(path) or [path]
    if os.path.exists(path) or not glob.has_magic(text):  # noqa: PTH110
        return [path]
    matches = [Path(match) for match in glob.glob(text, recursive=True)]  # noqa: PTH207
    if not matches:
        return [path]
    videos: list[Path] = []
    for match in sorted(matches, key=lambda path: (str(path.parent), natural_sort_key(path))):
        videos += _search(match) if match.is_dir() else [match]
    return videos


def _search(folder: Path) -> list[Path]:
    files: list[Path] = []
    unreadable: list[Path] = []  # Listed as videos, so that opening them reports the reason.
    _list_files(folder, frozenset(), files, unreadable)
    relative, known = ([path.relative_to(folder) for path in some] for some in (files, unreadable))
    return [folder / path for path in group_videos(relative, known)]


def _list_files(
    folder: Path, parents: frozenset[str], files: list[Path], unreadable: list[Path]
) -> None:
    real_path = os.path.realpath(folder)  # Unlike pathlib's, it never raises.
    if real_path in parents:  # A link to a folder above would never end.
        return
    try:
        entries = list(folder.iterdir())
    except OSError:
        unreadable.append(folder)
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            _list_files(entry, parents | {real_path}, files, unreadable)
        else:
            files.append(entry)


# Is written into the comment of every video that oddframe writes.
GENERATED_MARK = "oddframe wrote this to show what it found; it is no recording"
_ENDINGS = ("annotated.mp4", "preview.mp4", "preview.webm")
_BLOCK_BYTES = 2**20


def is_generated(path: Path) -> bool:
    """Whether a file is an annotated video or a preview of oddframe, by its name and its comment.

    False for a file that cannot be read. The bytes are searched without a decoder, since untrusted
    files are only decoded in a child process.
    """
    if not path.name.endswith(_ENDINGS):
        return False
    mark, tail = GENERATED_MARK.encode(), b""
    with suppress(InputError, OSError):
        check_readable(path)
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                tail = tail[-len(mark) :] + block
                if mark in tail:
                    return True
    return False
