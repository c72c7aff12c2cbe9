"""The verbs of research: ``oddframe reproduce``, ``oddframe league`` and ``oddframe report``."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oddframe.cli import options as opt
from oddframe.cli.console import print_answer, print_note, printable, progress_bar
from oddframe.research.benchmarks import BENCHMARKS, FORMER_NAMES, league_benchmarks

if TYPE_CHECKING:
    from oddframe._utils.progress import ProgressCallback
    from oddframe.research.grid import TrainingOutcome
    from oddframe.research.grid_task import GridTask

REPORT_EXAMPLE = "Example: oddframe report show reproduce/ped2/table3.json"


def benchmark_option(names: Sequence[str]) -> Any:
    """The option ``--dataset``, with the names of benchmarks to choose from."""

    def check(name: str) -> str:
        current = FORMER_NAMES.get(name, name)
        if current not in names:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(map(repr, names))}.")
        return current

    return typer.Option(
        "--dataset",
        metavar="BENCHMARK",
        help=f"What to train and test on: {', '.join(names)}.",
        callback=check,
        autocompletion=lambda incomplete: [n for n in names if n.startswith(incomplete)],
    )


class _GridProgressBar:
    """A bar over the videos, then one over the trainings, and a line for each training.

    If ``quiet``, only those of trainings that failed. It implements ``research.grid.GridProgress``.
    """

    def __init__(self, update: ProgressCallback, *, quiet: bool):
        self._quiet, self._update = quiet, update

    def features(self, done: int, total: int | None, text: str, /) -> None:
        self._update(done, total, f"features: {text}")

    def message(self, line: str, /) -> None:
        print_note(printable(line), quiet=self._quiet)

    def training(
        self, done: int, total: int, task: GridTask, outcome: TrainingOutcome, note: str = ""
    ) -> None:
        self._update(done, total, "trainings")
        quiet = self._quiet and not isinstance(outcome, Exception)
        print_note(format_training_line(done, total, task, outcome) + note, quiet=quiet)


def format_training_line(done: int, total: int, task: GridTask, outcome: TrainingOutcome) -> str:
    """The figures of a finished training in per cent and its time, or why it failed."""
    line = f"{done} of {total}: {task.name}, repeat {task.repeat}, fold {task.fold}: "
    if isinstance(outcome, Exception):
        return printable(f"{line}failed: {outcome}")
    figures = outcome.figures
    return (
        f"{line}AUC {100 * figures.auc:.1f}, AUC_sub {100 * figures.auc_sub:.1f}, AP "
        f"{100 * figures.ap:.1f} ({outcome.seconds:.0f} s)"
    )


def reproduce(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="TABLE",
            help="table1 ... table6, settings (published code against equations), all; or one of "
            "figure1, figure3, figure4.",
        ),
    ],
    dataset: Annotated[str, benchmark_option(tuple(BENCHMARKS))],
    data: opt.DataOption,
    out: Annotated[
        Path | None, opt.optional(help="Folder of the results; default: reproduce/DATASET.")
    ] = None,
    seeds: opt.SeedsOption = None,
    jobs: opt.JobsOption = 1,
    memory: opt.MemoryOption = None,
    patience: opt.PatienceOption = opt.DEFAULT_PATIENCE_S,
    best_on_test: Annotated[
        bool,
        typer.Option(
            "--best-on-test",
            help="Also show the step that is best on the test set, as published figures do.",
        ),
    ] = False,
    methods: opt.MethodsOption = "",
    video: Annotated[
        list[str] | None,
        opt.optional(help="For figures 1 and 4: name of a test video; can be repeated."),
    ] = None,
    frames: Annotated[
        Path | None,
        opt.optional(
            help="For figures 1 and 4: folder of the videos, if the data set has only features."
        ),
    ] = None,
    config: opt.ConfigOption = "",
    fresh: opt.FreshOption = False,
    features: opt.FeaturesOption = "",
    sound: opt.SoundOption = None,
    store: opt.StoreOption = opt.STORE_DEFAULT,
    device: opt.DeviceOption = opt.Device.auto,
    quiet: opt.QuietOption = False,
    debug: opt.DebugOption = False,
) -> None:
    """Run tables of the UR-DMU paper on a data set, and show the published figures beside.

    Figures are those of the last step. Each finished training is saved, so the same command
    resumes after it was stopped. Rows that several tables share are trained once. Writes TABLE.md,
    .tex, .csv, .html and .json into --out; oddframe report show prints what was run.
    """
    from oddframe.datasets.precomputed import attach_features
    from oddframe.datasets.registry import open_dataset
    from oddframe.features.store.store import FeatureStore
    from oddframe.research.reproduce.run import ReproduceRequest, run_reproduction

    request = ReproduceRequest(
        what, opt.split_list(methods), video or (), frames, fresh=fresh, best_on_test=best_on_test
    )
    opened = open_dataset(f"{dataset}:{data}")
    with progress_bar(quiet=quiet) as update:
        lines, complete = run_reproduction(
            request,
            attach_features(opened, FeatureStore(Path(store)), features or None, sound),
            out or Path("reproduce") / dataset,
            store=Path(store),
            config=config,
            seeds=seeds,
            device=device.value,
            jobs=jobs,
            command=shlex.join(["oddframe", *sys.argv[1:]]),
            progress=_GridProgressBar(update, quiet=quiet),
        )
    for line in lines:
        print_answer(printable(line))
    if not complete:
        raise typer.Exit(1)


def league(
    dataset: Annotated[str, benchmark_option(league_benchmarks())],
    data: opt.DataOption,
    methods: opt.MethodsOption = "",
    seeds: opt.SeedsOption = None,
    draws: Annotated[
        int | None, opt.optional(min=1, max=1000, help="Draws of Ped2's clips; default: 10.")
    ] = None,
    choose_rates: Annotated[
        bool,
        typer.Option(
            "--choose-rates",
            help="Only try learning rates on validation recordings, and write the best ones to "
            "OUT/rates.json; later runs with the same --out use them.",
        ),
    ] = False,
    jobs: opt.JobsOption = 1,
    memory: opt.MemoryOption = None,
    patience: opt.PatienceOption = opt.DEFAULT_PATIENCE_S,
    out: Annotated[
        Path, typer.Option(help="Folder of the trainings, the records of benchmarks and the table.")
    ] = Path("league"),
    table: Annotated[
        Path | None, opt.optional(help="File of the table; default: OUT/LEAGUE.md.")
    ] = None,
    config: opt.ConfigOption = "",
    store: opt.StoreOption = opt.STORE_DEFAULT,
    device: opt.DeviceOption = opt.Device.auto,
    quiet: opt.QuietOption = False,
    debug: opt.DebugOption = False,
) -> None:
    """Train every method on the same draws, seeds, features and bags, and rank them.

    Each finished training is saved, so the same command resumes after it was killed. Figures are
    those of the last step. Run the benchmarks one after the other with the same --out: LEAGUE.md
    shows all of them.
    """
    from oddframe.datasets.registry import open_dataset
    from oddframe.research.leaderboard import league as runner

    table = table or out / "LEAGUE.md"
    with progress_bar(quiet=quiet) as update:
        progress = _GridProgressBar(update, quiet=quiet)
        groups = runner.prepare_league(
            open_dataset(f"{dataset}:{data}"),
            out,
            store=Path(store),
            methods=opt.split_list(methods),
            draws=draws,
            seeds=seeds,
            own_rates=choose_rates,
            config=config,
            device=device.value,
            decoders=jobs,
            progress=progress,
        )
        if choose_rates:
            written = runner.choose_rates(groups, out, jobs, progress)
        else:
            written = runner.rank_methods(groups, out, table, jobs, progress)
    print_answer(printable(str(written)))


report_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=REPORT_EXAMPLE)


@report_app.command("show", epilog=REPORT_EXAMPLE)
def show(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="A table's .json, a training's record, or a folder of oddframe reproduce.",
        ),
    ],
    as_json: opt.JsonOption = False,
    debug: opt.DebugOption = False,
) -> None:
    """Show what a figure depends on: configuration, seed, code version, digest of features."""
    from oddframe.research.reproduce.run_text import describe_run, run_as_json

    print_answer(json.dumps(run_as_json(run), indent=1) if as_json else describe_run(run))


@report_app.callback()
def _report() -> None:
    """Show what a recorded training depends on."""
