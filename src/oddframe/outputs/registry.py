"""The registry of output formats: what ``oddframe.write`` and ``oddframe score --format`` write.

A new format is a writer in a module of its own and one line in ``_FORMATS``. Names, choices, help
and completion of the command line follow. Writers are imported when they are first used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Protocol

from oddframe.errors import UsageError, name_hint

if TYPE_CHECKING:
    from oddframe.detector import VideoResult
    from oddframe.video.frame import Frame

SCORE_FILE = "json"


class FrameConsumer(Protocol):
    """Takes the frames of a video in order of time."""

    @property
    def done(self) -> bool:
        """Whether no later frame is needed."""

    def add(self, frame: Frame) -> None:
        """Take the next frame."""


class FrameConsumers:
    """Several consumers as one."""

    def __init__(self, consumers: Sequence[FrameConsumer]) -> None:
        self._consumers = consumers

    @property
    def done(self) -> bool:
        return all(each.done for each in self._consumers)

    def add(self, frame: Frame) -> None:
        for each in self._consumers:
            each.add(frame)


@dataclass
class VideoTarget:
    """A file to write that shows a video.

    Attributes:
        path: The file.
        source: File or folder of the video's frames; None: they come from memory.
        readable: Whether the video can be opened; if not, the writer gets no frames.
        masked: Whether parts of the picture are ignored; frames come with the mask applied.
        stem: As for ``oddframe.write``.
        side_files: The further files that the writer wrote.
    """

    path: Path
    source: Path | None
    readable: bool
    masked: bool
    stem: str | None
    side_files: list[Path] = field(default_factory=list)

    def side_path(self, ending: str) -> Path:
        """Path of a further file by its ending: ``preview.mp4``."""
        return self.path.with_name(_side_name(self.stem and Path(self.stem).name, ending))


FileWriter = Callable[["VideoResult", Path], None]
FrameWriter = Callable[["VideoResult", VideoTarget], AbstractContextManager[FrameConsumer]]


@dataclass(frozen=True)
class OutputFormat:
    """A format that a result can be written in.

    Attributes:
        name: Name of the format: ``mp4``.
        ending: What follows the video's name in a file name: ``.annotated.mp4``.
        single_name: Name of the file in a folder for one video alone: ``annotated.mp4``.
        writer: A function, or ``module:function``, that is imported when it is needed. Either
            ``writer(result, path)``, which writes the file; or, with ``shows_video``,
            ``writer(result, target)``: a context manager that gives a ``FrameConsumer``, and writes
            ``target.path`` at the end of the block unless the block raised.
        shows_video: Whether the writer takes the frames of the video.
        needs_video: Whether it is refused where the video cannot be read.
        side_endings: Endings of further files that the writer may write beside the file.
    """

    name: str
    ending: str
    single_name: str
    writer: str | FileWriter | FrameWriter
    shows_video: bool = False
    needs_video: bool = False
    side_endings: tuple[str, ...] = ()

    def path(self, folder: Path, stem: str | None) -> Path:
        """The file for a video's ``stem``; None: the folder is for one video alone."""
        return folder / (self.single_name if stem is None else stem + self.ending)

    def side_names(self, stem: str | None) -> tuple[str, ...]:
        """Names of the further files that may belong to the file."""
        return tuple(_side_name(stem, ending) for ending in self.side_endings)

    def load_writer(self) -> FileWriter | FrameWriter:
        """The writer."""
        if not isinstance(self.writer, str):
            return self.writer
        found: FileWriter | FrameWriter = resolve_name(self.writer)
        return found


_OUTPUTS = "oddframe.outputs"
_FORMATS: dict[str, OutputFormat] = {
    each.name: each
    for each in (
        # The score file is written last, with the hashes of the other files; see ``write``.
        OutputFormat(SCORE_FILE, ".json", "scores.json", f"{_OUTPUTS}.score_files:write_json"),
        OutputFormat("csv", ".csv", "scores.csv", f"{_OUTPUTS}.score_files:write_csv"),
        OutputFormat("vtt", ".vtt", "events.vtt", f"{_OUTPUTS}.score_files:write_vtt"),
        OutputFormat(
            "png", ".png", "curve.png", f"{_OUTPUTS}.curve:curve_writer", shows_video=True
        ),
        OutputFormat(
            "html",
            ".html",
            "report.html",
            f"{_OUTPUTS}.pages.report:report_writer",
            shows_video=True,
            side_endings=("preview.mp4", "preview.webm"),
        ),
        OutputFormat(
            "mp4",
            ".annotated.mp4",
            "annotated.mp4",
            f"{_OUTPUTS}.overlay:annotated_video_writer",
            shows_video=True,
            needs_video=True,
        ),
    )
}


def _side_name(stem: str | None, ending: str) -> str:
    return ending if stem is None else f"{stem}.{ending}"


def format_names() -> tuple[str, ...]:
    """Names of all formats, the score file's first."""
    return tuple(_FORMATS)


def get_format(name: str) -> OutputFormat:
    """The format of this name; UsageError: there is none."""
    if name not in _FORMATS:
        raise UsageError(f"no format {name!r}; {name_hint(name, _FORMATS)}")
    return _FORMATS[name]


def register_format(new: OutputFormat) -> None:
    """Add a format, for a program that uses oddframe; UsageError: its name is in use."""
    if new.name in _FORMATS:
        raise UsageError(f"there is a format {new.name!r} already")
    _FORMATS[new.name] = new
