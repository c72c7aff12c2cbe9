"""What a verb says and where: answers on standard output, everything else on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from oddframe.meanwhile import meanwhile
from oddframe.outputs.clock import length

if TYPE_CHECKING:
    from rich.progress import Progress

    from oddframe.experiments.reproduce_grid import Outcome
    from oddframe.experiments.reproduce_train import Task


# Without a terminal a line is written so often (s).
_LINE_S = 30.0


def printable(text: str) -> str:
    """``text`` on one line, whatever a file name holds: control and broken characters escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode()
        for c in text
    )


def say(text: str = "") -> None:
    """One line of the answer; if its reader went away, as ``head`` does, that is the end."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Nothing left to flush.
        raise SystemExit(0) from None


def note(text: str, *, quiet: bool = False) -> None:
    """One line that is no answer: what goes on, on standard error."""
    if not quiet:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def training_line(done: int, total: int, task: Task, outcome: Outcome) -> str:
    """One of several trainings is done: which, what it gave in per cent, and how long it took;
    or why it gave nothing."""
    line = f"{done} of {total}: {task.name}, repeat {task.repeat}, fold {task.fold}: "
    if isinstance(outcome, Exception):
        return printable(f"{line}failed: {outcome}")
    figures = outcome.figures
    return (
        f"{line}AUC {100 * figures.auc:.1f}, AUC_sub {100 * figures.auc_sub:.1f}, AP "
        f"{100 * figures.ap:.1f} ({outcome.seconds:.0f} s)"
    )


def say_error(text: str) -> None:
    """One line that says what went wrong."""
    note(f"oddframe: {printable(text)}")


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Progress]:
    """A bar with time spent and time left on standard error; without a terminal, lines instead."""
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
    # Answers go where standard output goes; only on a terminal must the bar make room for them.
    room = sys.stdout.isatty()
    with RichProgress(
        *columns, console=console, transient=True, disable=quiet or plain, redirect_stdout=room
    ) as bar:
        if quiet or not plain:
            yield bar
        else:
            with _lines(bar):
                yield bar


@contextmanager
def _lines(bar: Progress) -> Iterator[None]:
    """Say now and then how far ``bar`` is, for whoever reads it in a file."""

    def tell() -> None:
        with suppress(OSError):  # Nobody reads it any more.
            for line in _progress_lines(bar):
                note(line)

    with meanwhile(_LINE_S, tell):
        yield


def _progress_lines(bar: Progress) -> list[str]:
    """What a bar shows of all that has begun and is not over, a line each."""
    lines = []
    for task in bar.tasks:
        told = task.fields.get("note", "")
        if task.finished or not (task.completed or told):
            continue
        share = f"{task.percentage:.0f} %" if task.total else f"{task.completed:.0f} done"
        left = "" if task.time_remaining is None else f"{length(task.time_remaining)} left"
        lines.append(f"{task.description}: {', '.join(filter(None, (share, told, left)))}")
    return lines


def follow(bar: Progress, description: str) -> Callable[[int, int | None], None]:
    """A progress callback (done, expected) that draws one line of ``bar``."""
    task = bar.add_task(printable(description)[-40:], total=None, note="")

    def update(done: int, expected: int | None) -> None:
        bar.update(task, completed=done, total=expected and max(expected, done))

    return update
