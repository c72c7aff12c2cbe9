"""One result -> the files that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from oddframe.detector import VideoLike, VideoResult
from oddframe.errors import UsageError, nearest_name
from oddframe.files import make_folder
from oddframe.outputs.csv_file import write_csv
from oddframe.outputs.json_file import write_json
from oddframe.outputs.pictures import write_pictures
from oddframe.outputs.webvtt import write_vtt
from oddframe.video.mask import Mask

_TEXT: dict[str, Callable[[VideoResult, Path], None]] = {
    "json": write_json,
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

    However many of them show the video, it is decoded once.

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
    for name, write_one in _TEXT.items():
        if name in targets:
            write_one(result, targets[name])
    extra: list[Path] = []
    if targets.keys() - _TEXT.keys():
        preview = out_dir / ("preview" if stem is None else f"{stem}.preview")
        extra = write_pictures(result, targets, preview, frames, mask)
    return [*targets.values(), *extra]


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
