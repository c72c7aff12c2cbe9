"""What ``reproduce`` and ``league`` share: the choice of a benchmark, and progress of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from oddframe.cli.console import format_training_line, print_note, printable, stage_bars

if TYPE_CHECKING:
    from rich.progress import Progress

    from oddframe.research.grid import TrainingOutcome
    from oddframe.research.grid_task import GridTask


def benchmark_option(names: Sequence[str]) -> Any:
    """The option ``--dataset``, with the names of benchmarks to choose from."""

    def check(name: str) -> str:
        from oddframe.research.benchmarks import FORMER_NAMES

        current = FORMER_NAMES.get(name, name)
        if current not in names:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(map(repr, names))}.")
        return current

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return typer.Option(
        "--dataset",
        metavar="BENCHMARK",
        help=f"What to train and test on: {', '.join(names)}.",
        callback=check,
        autocompletion=complete,
    )


class GridProgressBar:
    """A bar over the videos, then one over the trainings, and a line for each training.

    Args:
        bar: From ``progress_bar``.
        quiet: Print only lines of trainings that failed.
    """

    def __init__(self, bar: Progress, *, quiet: bool):
        self._quiet, self._update = quiet, stage_bars(bar)

    def features(self, done: int, total: int | None, text: str, /) -> None:
        """``done`` of ``total`` videos have features, ``text`` names the latest."""
        self._update(done, total, f"features: {text}")

    def message(self, line: str, /) -> None:
        """Print a line for the user."""
        print_note(printable(line), quiet=self._quiet)

    def training(
        self, done: int, total: int, task: GridTask, outcome: TrainingOutcome, note: str = ""
    ) -> None:
        """``done`` of ``total`` trainings are finished, the latest one with this outcome."""
        self._update(done, total, "trainings")
        quiet = self._quiet and not isinstance(outcome, Exception)
        print_note(format_training_line(done, total, task, outcome) + note, quiet=quiet)
