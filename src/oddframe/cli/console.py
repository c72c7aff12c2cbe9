"""Output of the verbs: answers on standard output, notes and progress on standard error."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from oddframe._utils.progress import call_periodically
from oddframe.errors import OddframeError
from oddframe.outputs.text import format_duration

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from oddframe._utils.progress import ProgressCallback
    from oddframe.research.grid import TrainingOutcome
    from oddframe.research.grid_task import GridTask


# Without a terminal, progress is a line every so many seconds.
_LINE_S = 30.0
# Shown while networks are loaded, before anything is counted.
LOADING_NOTE = "getting ready"


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


def print_note(text: str, *, quiet: bool = False) -> None:
    """Print a line on standard error that is not part of the answer."""
    if not quiet:
        sys.stderr.write(without_control_characters(text) + "\n")
        sys.stderr.flush()


def format_training_line(done: int, total: int, task: GridTask, outcome: TrainingOutcome) -> str:
    """A line about a finished training: its figures in per cent and its time, or why it failed."""
    line = f"{done} of {total}: {task.name}, repeat {task.repeat}, fold {task.fold}: "
    if isinstance(outcome, Exception):
        return printable(f"{line}failed: {outcome}")
    figures = outcome.figures
    return (
        f"{line}AUC {100 * figures.auc:.1f}, AUC_sub {100 * figures.auc_sub:.1f}, AP "
        f"{100 * figures.ap:.1f} ({outcome.seconds:.0f} s)"
    )


def print_error(text: str) -> None:
    """Print the line of an error on standard error."""
    print_note(f"oddframe: {printable(text)}")


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Progress]:
    """Show a progress bar on standard error; without a terminal, lines of progress."""
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
        if quiet or not plain:
            yield bar
        else:
            with _lines(bar):
                yield bar


@contextmanager
def _lines(bar: Progress) -> Iterator[None]:
    """Print the state of ``bar`` every 30 seconds, for output that goes into a file."""

    def print_lines() -> None:
        with suppress(OSError):  # The reader has closed it.
            for line in _progress_lines(bar):
                print_note(line)

    with call_periodically(_LINE_S, print_lines):
        yield


def _progress_lines(bar: Progress) -> list[str]:
    """A line for each task of a bar that has begun and is not finished."""
    lines = []
    for task in bar.tasks:
        note = task.fields.get("note", "")
        if task.finished or not (task.completed or note):
            continue
        share = f"{task.completed:.0f} done" if task.completed else ""
        if task.total:
            share = f"{task.percentage:.0f} %"
        left = "" if task.time_remaining is None else f"{format_duration(task.time_remaining)} left"
        lines.append(f"{task.description}: {', '.join(filter(None, (share, note, left)))}")
    return lines


def bar_progress(bar: Progress, description: str) -> Callable[[int, int | None], None]:
    """A progress callback (done, expected) that draws one line of ``bar``.

    Until it is first called, the line says ``getting ready``: the first use of a network converts
    it, which takes some seconds.
    """
    task = bar.add_task(printable(description)[-40:], total=None, note=LOADING_NOTE)

    def update(done: int, expected: int | None) -> None:
        bar.update(task, completed=done, total=expected and max(expected, done), note="")

    return update


def message_printer(*, quiet: bool) -> Callable[[str], None]:
    """A message callback that prints on standard error, with ``quiet`` only what was left out."""

    def message(line: str) -> None:
        print_note(printable(line), quiet=quiet and not line.startswith("left out: "))

    return message


def stage_bars(bar: Progress) -> ProgressCallback:
    """A progress callback that draws one line of ``bar`` for each stage, as it begins.

    The stage is the text in front of the first colon; what follows is shown beside the bar.
    """
    tasks: dict[str, TaskID] = {}

    def update(done: int, total: int | None, text: str, /) -> None:
        stage, _, detail = text.partition(": ")
        if stage not in tasks:
            tasks[stage] = bar.add_task(printable(stage)[-40:], total=None, note="")
        total = total and max(total, done)
        bar.update(tasks[stage], completed=done, total=total, note=printable(detail)[-24:])

    return update


def item_bar(bar: Progress) -> ProgressCallback:
    """A progress callback that draws one line of ``bar``: the item that is in progress.

    The item is what follows the first colon of the text, or the text itself. Until its first
    progress, the line says ``getting ready``: the first use of a network converts it, which takes
    some seconds.
    """
    current: tuple[str, TaskID] | None = None

    def update(done: int, total: int | None, text: str, /) -> None:
        nonlocal current
        started = current is None or text != current[0] or (not done and total is None)
        if current is not None and started:
            bar.remove_task(current[1])
        if current is None or started:
            item = printable(text.partition(": ")[2] or text)[-40:]
            current = text, bar.add_task(item, total=None, note=LOADING_NOTE)
        if done or total is not None:
            bar.update(current[1], completed=done, total=total and max(total, done), note="")

    return update
