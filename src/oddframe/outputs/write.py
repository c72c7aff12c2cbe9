"""One result -> the files that were asked for.

Names of output files: safe, readable, one for each input.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from oddframe._utils.files import file_sha256, make_folder, translate_os_errors
from oddframe.detector import VideoLike, VideoResult
from oddframe.errors import InputError, UsageError, nearest_name
from oddframe.outputs.scores.csv_file import write_csv
from oddframe.outputs.scores.json_file import ScoreFile, read_score_file, result_to_dict, write_json
from oddframe.outputs.scores.webvtt import write_vtt
from oddframe.outputs.visual_files import write_visual_files
from oddframe.video.mask import Mask

_TEXT: dict[str, Callable[[VideoResult, Path], None]] = {
    "csv": write_csv,
    "vtt": write_vtt,
}
# What follows the stem, and the name in a folder that is for one video alone.
_NAMES = {
    "json": (".json", "scores.json"),
    "csv": (".csv", "scores.csv"),
    "vtt": (".vtt", "events.vtt"),
    "png": (".png", "curve.png"),
    "html": (".html", "report.html"),
    "mp4": (".annotated.mp4", "annotated.mp4"),
}
FORMATS = tuple(_NAMES)
_PREVIEWS = ("preview.mp4", "preview.webm")


def write(
    result: VideoResult,
    formats: Sequence[str],
    out_dir: Path,
    stem: str | None,
    *,
    source: VideoLike | None = None,
    mask: Mask | None = None,
) -> list[Path]:
    """Write a result in each of ``formats``; each file is there whole or not at all.

    However many of them show the video, it is decoded once. The score file comes last and has the
    sha256 of each of the others (``files``): where they agree, the result is complete, and all
    files show the same scores. Files of the same result that an earlier call wrote stay listed.
    Those of an older result that are not written now would contradict the new scores: they are
    removed, unless they were changed since they were written.

    Args:
        result: What to write.
        formats: Any of ``FORMATS``: json, csv, vtt, png, html, mp4.
        out_dir: Folder, made if it is not there.
        stem: Files are ``<stem>.json`` … ``<stem>.annotated.mp4``; None: ``scores.json``,
            ``scores.csv``, ``events.vtt``, ``curve.png``, ``report.html``, ``annotated.mp4``.
        source: Where the frames come from, if not from the file ``result.video``. Without frames
            the figure and the page go without pictures; an annotated video is refused.
        mask: Parts of the picture that were ignored; they are shown as the detector saw them.

    Returns:
        The files written, in the order of ``formats``. The page of a long video may need one more,
        ``<stem>.preview.mp4``, which comes last.

    Raises:
        UsageError: an unknown format, or an output that would overwrite the video itself.
        InputError: the video cannot be read.
        OddframeError: a file cannot be written.
    """
    targets = {name: output_path(out_dir, stem, name) for name in _checked(formats)}
    frames: VideoLike = result.video if source is None else source
    if isinstance(frames, str | Path):
        _refuse_overwriting_input(Path(frames), targets.values())
    make_folder(out_dir)
    score_file = targets.get("json")
    for name, write_one in _TEXT.items():
        if name in targets:
            write_one(result, targets[name])
    extra: list[Path] = []
    if targets.keys() - _TEXT.keys() - {"json"}:
        preview = out_dir / ("preview" if stem is None else f"{stem}.preview")
        extra = write_visual_files(result, targets, preview, frames, mask)
    if score_file is not None:
        others = [path for path in (*targets.values(), *extra) if path != score_file]
        hashes = {path.name: file_sha256(path) for path in others}
        kept = _settle_earlier(result, score_file, stem, set(hashes), frames)
        write_json(result, score_file, kept | hashes)
    return [*targets.values(), *extra]


def find_wrong_files(
    found: ScoreFile, formats: Sequence[str], out_dir: Path, stem: str | None
) -> dict[str, str]:
    """What is wrong with the files of an earlier result, by format; empty: all is well.

    Args:
        found: The score file of that result.
        formats: The formats to look at.
        out_dir: Where it lies.
        stem: As for ``write``.

    Returns:
        For each format whose file must be written anew, why, to follow the file's name:
        ``was changed or damaged``, ``was missing``, ``was of other scores``; ``added`` where it
        was not written so far.
    """
    previews = [name for name in found.files if name in _preview_names(stem)]
    wrong = {}
    for name in formats:
        if name == "json":
            continue
        path = output_path(out_dir, stem, name)
        if path.name not in found.files:
            wrong[name] = "was of other scores" if path.exists() else "added"
            continue
        parts = [path.name, *(previews if name == "html" else ())]
        states = [_state(out_dir / part, found.files[part]) for part in parts]
        if any(states):
            wrong[name] = next(filter(None, states))
    return wrong


def _state(path: Path, digest: str) -> str:
    """What became of a file that was written with this sha256; "": it is as it was."""
    if not path.is_file():
        return "was missing"
    return "" if _has_hash(path, digest) else "was changed or damaged"


def _has_hash(path: Path, digest: str) -> bool:
    try:
        return file_sha256(path) == digest
    except InputError:
        return False


def _settle_earlier(
    result: VideoResult, score_file: Path, stem: str | None, new: set[str], frames: VideoLike
) -> dict[str, str]:
    """Files that an earlier call wrote and this one does not: list those that still hold.

    Only names that ``write`` itself gives are touched, whatever the score file says.

    Returns:
        sha256 by name of those that show this very result. Outdated ones are removed.
    """
    try:
        old = read_score_file(score_file)
    except InputError:
        return {}
    ours = {output_path(score_file.parent, stem, name).name for name in FORMATS if name != "json"}
    ours |= set(_preview_names(stem))
    same = result_to_dict(old.result) == result_to_dict(result)
    kept = {}
    for name, digest in old.files.items():
        path = score_file.parent / name
        if name not in ours - new or not _has_hash(path, digest):
            continue
        if same:
            kept[name] = digest
        elif not _is_file(frames, path):
            with translate_os_errors(path), suppress(FileNotFoundError):
                path.unlink()
    return kept


def _preview_names(stem: str | None) -> tuple[str, ...]:
    return tuple(name if stem is None else f"{stem}.{name}" for name in _PREVIEWS)


def _is_file(frames: VideoLike, path: Path) -> bool:
    return isinstance(frames, str | Path) and Path(frames).exists() and path.samefile(frames)


def output_path(out_dir: Path, stem: str | None, name: str) -> Path:
    """Where ``write`` puts the format ``name``."""
    ending, alone = _NAMES[name]
    return out_dir / (alone if stem is None else stem + ending)


def _checked(formats: Sequence[str]) -> list[str]:
    for name in formats:
        if name not in _NAMES:
            near = nearest_name(name, FORMATS)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(FORMATS)}"
            raise UsageError(f"no format {name!r}; {hint}")
    return list(dict.fromkeys(formats))


def _refuse_overwriting_input(original: Path, targets: Iterable[Path]) -> None:
    """Refuse to write over the video."""
    for target in targets:
        if original.exists() and target.exists() and target.samefile(original):
            raise UsageError(f"{target}: this is the video itself; choose another place with --out")


# What some file system or shell cannot bear: separators, wildcards, control characters, bytes that
# are no text (Python hands those on as surrogates).
_UNSAFE = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f\ud800-\udfff]+')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
# File names end at 255 bytes; an ending such as ".annotated.mp4" has to fit as well.
_LONGEST = 180


def safe_file_name(name: str) -> str:
    """A file name that every file system takes: no separator, no leading dash or dot, not empty."""
    name = _UNSAFE.sub("_", unicodedata.normalize("NFC", name)).strip(" ").rstrip(".")
    if name.startswith(("-", ".")):
        name = "_" + name[1:]
    if _RESERVED.fullmatch(name):
        name = f"_{name}"
    if len(name.encode()) > _LONGEST:
        mark = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = name.encode()[: _LONGEST - 9].decode(errors="ignore") + "-" + mark
    return name or "video"


def unique_stems(paths: Sequence[Path], reserved: Sequence[str] = ()) -> list[str]:
    """A name without ending for each input, all different, also where case does not count.

    None is one of ``name_taken_error``, which are lower-case.

    An input keeps its own name as long as no other has it. Those that share one are told apart by
    their endings (``a_mp4``, ``a_mkv``), else by as many folders above as it takes (``cam1_a``,
    ``cam2_a``), else by number. The same paths always give the same names.
    """
    names = [safe_file_name(path.name if _is_folder(path) else path.stem) for path in paths]
    deepest = max((len(path.parts) for path in paths), default=1)
    ways = [(0, True), *((depth, ending) for depth in range(1, deepest) for ending in (0, 1))]
    result = list(names)
    for group in _groups([name.casefold() for name in names]):
        most = 1  # The shortest way that tells the most apart.
        for folders, ending in ways:
            told = [_longer(paths[i], names[i], folders, bool(ending)) for i in group]
            if (apart := len({name.casefold() for name in told})) > most:
                most = apart
                for i, name in zip(group, told, strict=True):
                    result[i] = name
    return _numbered(result, reserved)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # Such as a name that no file can have.
        return False


def _longer(path: Path, name: str, folders: int, ending: bool) -> str:
    above = [part for part in path.parts[:-1] if part not in (path.anchor, ".", "..")]
    end = path.suffix.replace(".", "_") if ending else ""
    return safe_file_name("_".join([*(above[-folders:] if folders else []), name + end]))


def _groups(keys: Sequence[Hashable]) -> list[list[int]]:
    """Positions of equal keys, only where there are two or more."""
    found: defaultdict[Hashable, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        found[key].append(position)
    return [group for group in found.values() if len(group) > 1]


def _numbered(names: Sequence[str], reserved: Sequence[str]) -> list[str]:
    """Whatever still collides gets -2, -3 …; a name that was unique before keeps its form."""
    taken = {name.casefold() for name in names}
    seen = set(reserved)
    result = []
    for name in names:
        unique, number = name, 1
        while unique.casefold() in seen or (number > 1 and unique.casefold() in taken):
            number += 1
            unique = f"{name}-{number}"
        seen.add(unique.casefold())
        result.append(unique)
    return result
