"""Write a result in the formats that were asked for, and check files that were written before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import cast

from oddframe._utils.files import file_sha256, make_folder, translate_os_errors
from oddframe.detector import VideoLike, VideoResult
from oddframe.errors import InputError, UsageError
from oddframe.outputs.registry import (
    SCORE_FILE,
    FileWriter,
    FrameConsumer,
    FrameConsumers,
    FrameWriter,
    OutputFormat,
    VideoTarget,
    format_names,
    get_format,
    side_name,
)
from oddframe.outputs.score_files import ScoreFile, read_score_file, result_to_dict, write_json
from oddframe.video.decoding.isolated import open_source
from oddframe.video.frame import Frame, FrameSource
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
    if video is not None:
        _refuse_overwriting_input(video, targets.values())
    make_folder(out_dir)

    def side_path(ending: str) -> Path:
        return out_dir / side_name(stem, ending)

    shown = {
        each: VideoTarget(path, video, True, mask is not None, side_path)
        for each, path in targets.items()
        if each.shows_video
    }
    for each, path in targets.items():
        if each not in shown and each.name != SCORE_FILE:
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

    Raises:
        InputError: the video ends in an error, or cannot be opened and a format needs it.
    """
    needed = any(each.needs_video for each in targets)
    source = _open(frames, result.track.timebase.fps, needed=needed)
    for target in targets.values():
        target.readable = source is not None
    with ExitStack() as stack:
        consumers = FrameConsumers(
            [
                stack.enter_context(cast(FrameWriter, each.load_writer())(result, target))
                for each, target in targets.items()
            ]
        )
        if source is not None:
            _decode(source, mask, consumers)


def _open(frames: VideoLike, fps: float, needed: bool) -> FrameSource | None:
    """The video; None if it cannot be opened and is not needed: scores may be of a feature file."""
    timed = isinstance(frames, str | Path) and not Path(frames).is_dir()
    try:
        return open_source(frames, fps=None if timed else fps)
    except InputError:
        if needed:
            raise
        return None


def _decode(source: FrameSource, mask: Mask | None, consumer: FrameConsumer) -> None:
    """Give every frame to the consumer until it is done."""
    for frame in source.frames():
        if consumer.done:
            break
        consumer.add(frame if mask is None else _masked(frame, mask))


def _masked(frame: Frame, mask: Mask) -> Frame:
    return Frame(lambda: mask.apply(frame.image), frame.time_s, frame.after_gap)


def output_path(out_dir: Path, stem: str | None, name: str) -> Path:
    """Path of the file that ``write`` makes for the format ``name``."""
    return get_format(name).path(out_dir, stem)


def find_wrong_files(
    found: ScoreFile, formats: Sequence[str], out_dir: Path, stem: str | None
) -> dict[str, str]:
    """Check the files of an earlier result.

    Args:
        found: The score file of that result.
        formats: The formats to check.
        out_dir: Folder of the files.
        stem: As for ``write``.

    Returns:
        For each format whose file must be written again, the reason, as what follows the file's
        name: ``was changed or damaged``, ``was missing``, ``was of other scores``; ``added`` where
        it was not written before. Empty: all files are as they were written.
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
    """Why a file that was written with this sha256 cannot be used; empty: it is unchanged."""
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
    """Keep or remove the files that an earlier call wrote and this one does not.

    Only names that ``write`` itself gives are touched, whatever the score file says.

    Returns:
        sha256 by name of the files that show this very result. Outdated files are removed.
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


def _refuse_overwriting_input(original: Path, targets: Iterable[Path]) -> None:
    for target in targets:
        if original.exists() and target.exists() and target.samefile(original):
            raise UsageError(f"{target}: this is the video itself; choose another place with --out")
