"""One result -> the files that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from oddframe.detector import VideoLike, VideoResult
from oddframe.errors import InputError, UsageError, nearest_name
from oddframe.files import file_sha256, make_folder, told
from oddframe.outputs.csv_file import write_csv
from oddframe.outputs.json_file import ScoreFile, read_score_file, to_dict, write_json
from oddframe.outputs.pictures import write_pictures
from oddframe.outputs.webvtt import write_vtt
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
    targets = {name: path_of(out_dir, stem, name) for name in _checked(formats)}
    frames: VideoLike = result.video if source is None else source
    if isinstance(frames, str | Path):
        _spare(Path(frames), targets.values())
    make_folder(out_dir)
    score_file = targets.get("json")
    for name, write_one in _TEXT.items():
        if name in targets:
            write_one(result, targets[name])
    extra: list[Path] = []
    if targets.keys() - _TEXT.keys() - {"json"}:
        preview = out_dir / ("preview" if stem is None else f"{stem}.preview")
        extra = write_pictures(result, targets, preview, frames, mask)
    if score_file is not None:
        others = [path for path in (*targets.values(), *extra) if path != score_file]
        hashes = {path.name: file_sha256(path) for path in others}
        kept = _settle_earlier(result, score_file, stem, set(hashes), frames)
        write_json(result, score_file, kept | hashes)
    return [*targets.values(), *extra]


def check_files(
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
        path = path_of(out_dir, stem, name)
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
    ours = {path_of(score_file.parent, stem, name).name for name in FORMATS if name != "json"}
    ours |= set(_preview_names(stem))
    same = to_dict(old.result) == to_dict(result)
    kept = {}
    for name, digest in old.files.items():
        path = score_file.parent / name
        if name not in ours - new or not _has_hash(path, digest):
            continue
        if same:
            kept[name] = digest
        elif not _is_file(frames, path):
            with told(path), suppress(FileNotFoundError):
                path.unlink()
    return kept


def _preview_names(stem: str | None) -> tuple[str, ...]:
    return tuple(name if stem is None else f"{stem}.{name}" for name in _PREVIEWS)


def _is_file(frames: VideoLike, path: Path) -> bool:
    return isinstance(frames, str | Path) and Path(frames).exists() and path.samefile(frames)


def path_of(out_dir: Path, stem: str | None, name: str) -> Path:
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


def _spare(original: Path, targets: Iterable[Path]) -> None:
    """Refuse to write over the video."""
    for target in targets:
        if original.exists() and target.exists() and target.samefile(original):
            raise UsageError(f"{target}: this is the video itself; choose another place with --out")
