"""Write a result in the formats that were asked for, and check files that were written before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import cast

from oddframe._utils.files import file_sha256, make_folder, translate_os_errors
from oddframe.detector import VideoLike, VideoResult
from oddframe.errors import InputError, UsageError
from oddframe.outputs.registry import (
    SCORE_FILE,
    FileWriter,
    FrameConsumers,
    FrameWriter,
    OutputFormat,
    VideoTarget,
    format_names,
    get_format,
)
from oddframe.outputs.score_files import ScoreFile, read_score_file, result_to_dict, write_json
from oddframe.video.decoding.isolated import open_source
from oddframe.video.frame import Frame
from oddframe.video.mask import Mask


def write(
    result: VideoResult,
    formats: Sequence[str],
    out_dir: Path,
    stem: str | None,
    *,
    source: VideoLike | None = None,
    mask: Mask | None = None,
) -> list[Path]:
    """Write a result in each of ``formats``; each file is written whole or not at all.

    The video is decoded once for all formats that show it. The score file is written last, with
    the sha256 of each other file (``files``): where they agree, the result is complete, and all
    files show the same scores. Files of the same result that an earlier call wrote stay listed.
    Files of an older result that are not written now would contradict the new scores: they are
    removed, unless they were changed since they were written.

    Args:
        result: What to write.
        formats: Names of formats: json, csv, vtt, png, html, mp4.
        out_dir: Folder; it is made if it does not exist.
        stem: Files are ``<stem>.json`` … ``<stem>.annotated.mp4``; None: ``scores.json``,
            ``scores.csv``, ``events.vtt``, ``curve.png``, ``report.html``, ``annotated.mp4``.
        source: Where the frames come from, if not from the file ``result.video``. Without frames
            the figure and the page have no pictures, and an annotated video is refused.
        mask: Ignored parts of the picture; they are shown as the detector saw them.

    Returns:
        The files written, in the order of ``formats``. The page of a long video may need one more,
        ``<stem>.preview.mp4``, which comes last.

    Raises:
        UsageError: an unknown format, or an output that would overwrite the video itself.
        InputError: the video cannot be read.
        OddframeError: a file cannot be written.
    """
    chosen = [get_format(name) for name in dict.fromkeys(formats)]
    targets = {each: each.path(out_dir, stem) for each in chosen}
    frames: VideoLike = result.video if source is None else source
    video = Path(frames) if isinstance(frames, str | Path) else None
    for path in targets.values():
        if path.exists() and _is_file(frames, path):
            raise UsageError(f"{path}: this is the video itself; choose another place with --out")
    make_folder(out_dir)
    shown: dict[OutputFormat, VideoTarget] = {}
    for each, path in targets.items():
        if each.shows_video:
            shown[each] = VideoTarget(path, video, True, mask is not None, stem)
        elif each.name != SCORE_FILE:
            cast(FileWriter, each.load_writer())(result, path)
    if shown:
        _write_video_formats(result, shown, frames, mask)
    extra = [path for target in shown.values() for path in target.side_files]
    written = [*targets.values(), *extra]
    if (score_format := get_format(SCORE_FILE)) in targets:
        score_file = targets[score_format]
        hashes = {path.name: file_sha256(path) for path in written if path != score_file}
        kept = _settle_earlier(result, score_file, stem, set(hashes), frames)
        write_json(result, score_file, kept | hashes)
    return written


def _write_video_formats(
    result: VideoResult,
    targets: Mapping[OutputFormat, VideoTarget],
    frames: VideoLike,
    mask: Mask | None,
) -> None:
    """Write the formats that show the video, decoding it once.

    A video that cannot be opened is an error only where a format needs it: the scores may be of a
    feature file.
    """
    timed = isinstance(frames, str | Path) and not Path(frames).is_dir()
    source = None
    try:
        source = open_source(frames, fps=None if timed else result.track.timebase.fps)
    except InputError:
        if any(each.needs_video for each in targets):
            raise
    for target in targets.values():
        target.readable = source is not None
    with ExitStack() as stack:
        consumers = FrameConsumers(
            [
                stack.enter_context(cast(FrameWriter, each.load_writer())(result, target))
                for each, target in targets.items()
            ]
        )
        for frame in source.frames() if source is not None else ():
            if consumers.done:
                break
            consumers.add(frame if mask is None else _masked(frame, mask))


def _masked(frame: Frame, mask: Mask) -> Frame:
    return Frame(lambda: mask.apply(frame.image), frame.time_s, frame.after_gap)


def output_path(out_dir: Path, stem: str | None, name: str) -> Path:
    """Path of the file that ``write`` makes for the format ``name``."""
    return get_format(name).path(out_dir, stem)


def find_wrong_files(
    found: ScoreFile, formats: Sequence[str], out_dir: Path, stem: str | None
) -> dict[str, str]:
    """Check the files of an earlier result: ``formats`` of a score file, with ``write``'s stem.

    Returns for each format whose file must be written again the reason, as what follows the file's
    name: ``was changed or damaged``, ``was missing``, ``was of other scores``; ``added`` where it
    was not written before.
    """
    wrong = {}
    for name in formats:
        if name == SCORE_FILE:
            continue
        path = output_path(out_dir, stem, name)
        if path.name not in found.files:
            wrong[name] = "was of other scores" if path.exists() else "added"
            continue
        beside = [side for side in get_format(name).side_names(stem) if side in found.files]
        states = [_state(out_dir / part, found.files[part]) for part in (path.name, *beside)]
        if any(states):
            wrong[name] = next(filter(None, states))
    return wrong


def _state(path: Path, digest: str) -> str:
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
    """Remove outdated files of an earlier call; return the sha256 by name of those to keep.

    Only names that ``write`` itself gives are touched, whatever the score file says.
    """
    try:
        old = read_score_file(score_file)
    except InputError:
        return {}
    ours: set[str] = set()
    for each in map(get_format, format_names()):
        ours |= {each.path(score_file.parent, stem).name, *each.side_names(stem)}
    ours -= {score_file.name, *new}
    same = result_to_dict(old.result) == result_to_dict(result)
    kept = {}
    for name, digest in old.files.items():
        path = score_file.parent / name
        if name not in ours or not _has_hash(path, digest):
            continue
        if same:
            kept[name] = digest
        elif not _is_file(frames, path):
            with translate_os_errors(path), suppress(FileNotFoundError):
                path.unlink()
    return kept


def _is_file(frames: VideoLike, path: Path) -> bool:
    return isinstance(frames, str | Path) and Path(frames).exists() and path.samefile(frames)
