"""Output of the verbs: answers on standard output, notes and progress on standard error."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from oddframe._utils.progress import MessageCallback, ProgressCallback, call_periodically
from oddframe.errors import OddframeError
from oddframe.outputs.text import format_duration

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# Without a terminal, progress is a line every so many seconds.
_LINE_S = 30.0
# Shown while networks are loaded, before anything is counted.
_LOADING_NOTE = "getting ready"


def printable(text: str) -> str:
    """``text`` on one line, with control characters and invalid bytes of file names escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode()
        for c in text
    )


def without_control_characters(text: str) -> str:
    """``text`` with control characters other than line feeds escaped.

    Text from files could otherwise send commands to the terminal.
    """
    return "\n".join(map(printable, text.split("\n")))


class _Stream:
    """A standard stream that may be closed, full, or without a reader."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._failure = None if stream is not None else OSError(errno.EBADF, "it is closed")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def write(self, text: str) -> int:
        self._try(lambda: self._stream and self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(lambda: self._stream and self._stream.flush())

    def _try(self, act: Callable[[], object]) -> None:
        if self._failure is None:
            try:
                act()
            except OSError as error:
                self._failure = error
                with suppress(OSError):  # Else Python fails again when it flushes at its end.
                    assert self._stream is not None
                    os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        if self._failure is not None:
            self._failed(self._failure)

    def _failed(self, reason: OSError) -> None:
        """Called where the stream cannot be written; does nothing."""


class _AnswerStream(_Stream):
    """Standard output: the program ends where it cannot be written, as there is no answer then."""

    def _failed(self, reason: OSError) -> None:
        if isinstance(reason, BrokenPipeError):  # The reader has closed it, as ``head`` does.
            raise SystemExit(0)
        why = (reason.strerror or str(reason)).lower()
        raise OddframeError(f"standard output cannot be written ({why})")


@contextmanager
def standard_streams() -> Iterator[None]:
    """Replace standard output and error by streams that may be closed or full.

    If standard output cannot be written, an OddframeError is raised, or SystemExit with code 0
    where its reader has closed it. Text that standard error does not take is dropped.
    """
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _AnswerStream(streams[0]), _Stream(streams[1])
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams


def print_answer(text: str = "") -> None:
    """Print a line of the answer on standard output."""
    sys.stdout.write(without_control_characters(text) + "\n")
    sys.stdout.flush()


def print_json(answer: object) -> None:
    """Print the answer as JSON; numbers that are not finite become ``null``."""
    from oddframe._utils.files import json_text

    print_answer(json_text(answer, indent=2))


def print_note(text: str, *, quiet: bool = False) -> None:
    """Print a line on standard error that is not part of the answer."""
    if not quiet:
        sys.stderr.write(without_control_characters(text) + "\n")
        sys.stderr.flush()


def print_error(text: str) -> None:
    """Print the line of an error on standard error."""
    print_note(f"oddframe: {printable(text)}")


def message_printer(*, quiet: bool, always: str | None = None) -> MessageCallback:
    """A message callback that prints on standard error.

    Args:
        quiet: Print nothing but lines that begin with ``always``.
        always: Such as ``left out: ``, where nothing else reports what was left out.
    """

    def message(line: str, /) -> None:
        wanted = always is not None and line.startswith(always)
        print_note(printable(line), quiet=quiet and not wanted)

    return message


def damage_notes(path: Path, packets: int, frames: int) -> list[str]:
    """Notes on damage of a video, or of a folder of frames.

    Args:
        path: The video or the folder.
        packets: Damaged packets, or pictures of the folder, that were skipped.
        frames: Damaged frames that were used as the decoder mended them.
    """
    notes = []
    if packets:
        what = "picture" if path.is_dir() else "packet"
        notes.append(f"{packets} damaged {what}{'s' if packets > 1 else ''} skipped")
    if frames:
        notes.append(f"{frames} damaged frame{'s' if frames > 1 else ''} mended by the decoder")
    return notes


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[ProgressCallback]:
    """Show progress on standard error: bars, or without a terminal lines every 30 seconds."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    plain = not console.is_terminal
    # Where answers are printed on the terminal, too, the bar must make room for them.
    redirect = sys.stdout.isatty()
    with RichProgress(
        *columns, console=console, transient=True, disable=quiet or plain, redirect_stdout=redirect
    ) as bar:
        lines = call_periodically(_LINE_S, partial(_print_progress, bar))
        with lines if plain and not quiet else nullcontext():
            yield stage_bars(bar)


def stage_bars(bar: Progress) -> ProgressCallback:
    """A progress callback that draws one line of ``bar`` for each stage, as it begins.

    The stage is the text in front of the first colon; what follows is shown beside the bar. Until
    something is counted, the line says ``getting ready``: the first use of a network converts it,
    which takes some seconds. A call with neither a count nor a total starts the line again, for the
    next item.
    """
    tasks: dict[str, TaskID] = {}

    def update(done: int, total: int | None, text: str, /) -> None:
        stage, _, detail = text.partition(": ")
        if not done and total is None and stage in tasks:
            bar.remove_task(tasks.pop(stage))
        if stage not in tasks:
            tasks[stage] = bar.add_task(printable(stage)[-40:], total=None, note=_LOADING_NOTE)
        if done or total is not None:
            total = total and max(total, done)
            bar.update(tasks[stage], completed=done, total=total, note=printable(detail)[-24:])

    return update


def _print_progress(bar: Progress) -> None:
    """Print a line for each task of a bar that has begun and is not finished."""
    for task in bar.tasks:
        if task.finished or not (task.completed or task.fields["note"]):
            continue
        share = f"{task.completed:.0f} done" if task.completed else ""
        if task.total:
            share = f"{task.percentage:.0f} %"
        left = "" if task.time_remaining is None else f"{format_duration(task.time_remaining)} left"
        parts = filter(None, (share, task.fields["note"], left))
        with suppress(OSError):  # The reader has closed it.
            print_note(f"{task.description}: {', '.join(parts)}")
