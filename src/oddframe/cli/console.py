"""Output of the verbs: answers on standard output, notes and progress on standard error."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from oddframe._utils.files import json_text
from oddframe._utils.progress import MessageCallback, ProgressCallback, call_periodically
from oddframe.errors import OddframeError
from oddframe.outputs.text import format_duration

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# Without a terminal, progress is a line every so many seconds.
_LINE_S = 30.0


def printable(text: str) -> str:
    """``text`` on one line, with control characters and invalid bytes of file names escaped.

    Text from files could otherwise send commands to the terminal.
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode()
        for c in text
    )


class _Stream:
    """A standard stream that may be closed, full, or without a reader: then it calls ``failed``."""

    def __init__(self, stream: TextIO | None, failed: Callable[[OSError], None] | None = None):
        self._stream, self._failed = stream, failed
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
        if self._failure is not None and self._failed is not None:
            self._failed(self._failure)


def _end_program(reason: OSError) -> None:
    """Standard output cannot be written: there is no answer."""
    if isinstance(reason, BrokenPipeError):  # The reader has closed it, as ``head`` does.
        raise SystemExit(0)
    why = (reason.strerror or str(reason)).lower()
    raise OddframeError(f"standard output cannot be written ({why})")


@contextmanager
def standard_streams() -> Iterator[None]:
    """Replace standard output and error by streams that may be closed or full.

    Text that standard error does not take is dropped.
    """
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Stream(streams[0], _end_program), _Stream(streams[1])
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams


def print_answer(text: str = "") -> None:
    """Print lines of the answer on standard output."""
    _write(sys.stdout, text)


def _write(stream: TextIO, text: str) -> None:
    stream.write("\n".join(map(printable, text.split("\n"))) + "\n")
    stream.flush()


def print_json(answer: object) -> None:
    """Print the answer as JSON; numbers that are not finite become ``null``."""
    print_answer(json_text(answer, indent=2))


def print_note(text: str, *, quiet: bool = False) -> None:
    """Print a line on standard error that is not part of the answer."""
    if not quiet:
        _write(sys.stderr, text)


def print_error(text: str) -> None:
    print_note(f"oddframe: {printable(text)}")


def message_printer(*, quiet: bool, always: str | None = None) -> MessageCallback:
    """A message callback that prints on standard error.

    If ``quiet``, only lines that begin with ``always``: what nothing else reports.
    """

    def message(line: str, /) -> None:
        wanted = always is not None and line.startswith(always)
        print_note(printable(line), quiet=quiet and not wanted)

    return message


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[ProgressCallback]:
    """Show progress on standard error: bars, or without a terminal lines every 30 seconds."""
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(bar_width=30),
        rich.TaskProgressColumn(),
        rich.TextColumn("{task.fields[note]}", markup=False),
        rich.TimeElapsedColumn(),
        rich.TextColumn("left"),
        rich.TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    plain = not console.is_terminal
    # Where answers are printed on the terminal, too, the bar must make room for them.
    redirect = sys.stdout.isatty()
    with rich.Progress(
        *columns, console=console, transient=True, disable=quiet or plain, redirect_stdout=redirect
    ) as bar:
        lines = call_periodically(_LINE_S, partial(_print_progress, bar))
        with lines if plain and not quiet else nullcontext():
            yield stage_bars(bar)


def stage_bars(bar: Progress) -> ProgressCallback:
    """A progress callback that draws one line of ``bar`` for each stage, as it begins.

    The stage is the text in front of the first colon; what follows is shown beside the bar. A call
    with neither a count nor a total starts the line again, for the next item.
    """
    tasks: dict[str, TaskID] = {}

    def update(done: int, total: int | None, text: str, /) -> None:
        stage, _, detail = text.partition(": ")
        if not done and total is None and stage in tasks:
            bar.remove_task(tasks.pop(stage))
        if stage not in tasks:  # The first use of a network converts it, which takes seconds.
            tasks[stage] = bar.add_task(printable(stage)[-40:], total=None, note="getting ready")
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
