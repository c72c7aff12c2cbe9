"""``oddframe reproduce``: the paper's tables and figures, ours beside what was published."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oddframe.cli.console import (
    FeatureProgress,
    format_training_line,
    print_answer,
    print_note,
    printable,
    progress_bar,
)
from oddframe.cli.options import (
    DEFAULT_PATIENCE_S,
    STORE_DEFAULT,
    ConfigOption,
    DataOption,
    DebugOption,
    Device,
    DeviceOption,
    FeaturesOption,
    FreshOption,
    JobsOption,
    MemoryOption,
    MethodsOption,
    PatienceOption,
    QuietOption,
    SeedsOption,
    SoundOption,
    StoreOption,
)

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from oddframe.datasets.labelled import Dataset
    from oddframe.research.grid import Outcome
    from oddframe.research.grid_task import Task
    from oddframe.research.reproduce.reproduce import Reproduced

REPRODUCE_EXAMPLE = (
    "Example: oddframe reproduce table3 table6 --dataset ped2 --data /data/ped2 --jobs 2    or: "
    "oddframe reproduce figure4 --dataset ped2 --data /data/ped2 --methods ur_dmu,linear"
)


class DatasetName(StrEnum):
    ucf_crime = "ucf_crime"
    xd_violence = "xd_violence"
    ped2 = "ped2"
    ur_fall = "ur_fall"
    surveillance_fight = "surveillance_fight"
    shanghaitech_tracks = "shanghaitech_tracks"


def reproduce(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="TABLE",
            help="table1 ... table6, settings (published code against equations), all; or one of "
            "figure1, figure3, figure4.",
        ),
    ],
    dataset: Annotated[DatasetName, typer.Option(help="What to train and test on.")],
    data: DataOption,
    out: Annotated[
        Path | None,
        typer.Option(help="Where results go; default: reproduce/DATASET.", show_default=False),
    ] = None,
    seeds: SeedsOption = None,
    jobs: JobsOption = 1,
    memory: MemoryOption = None,  # noqa: ARG001 - its callback sets the limit
    patience: PatienceOption = DEFAULT_PATIENCE_S,  # noqa: ARG001
    best_on_test: Annotated[
        bool,
        typer.Option(
            "--best-on-test",
            help="Show the best step on the test set, too, as published figures are chosen.",
        ),
    ] = False,
    methods: MethodsOption = "",
    video: Annotated[
        list[str] | None,
        typer.Option(
            help="Of figures 1 and 4: a test video by name; again for more.", show_default=False
        ),
    ] = None,
    frames: Annotated[
        Path | None,
        typer.Option(
            help="Of figures 1 and 4: where videos lie of a data set of features.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = "",
    fresh: FreshOption = False,
    features: FeaturesOption = "",
    sound: SoundOption = None,
    store: StoreOption = STORE_DEFAULT,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001
) -> None:
    """Run a table of the UR-DMU paper on a data set: our figures beside the published ones.

    Figures are those of the last step. Each training is written down when it is done, so a grid
    that was stopped goes on; rows of several tables that are the same are trained once. Writes
    TABLE.md, .tex, .csv, .html and .json into --out; oddframe report show says what was run.
    """
    from functools import partial

    from oddframe.cli.reproduce_figures import Asked, draw
    from oddframe.datasets.attach_features import attach_features
    from oddframe.datasets.registry import open_dataset
    from oddframe.features.store.store import FeatureStore
    from oddframe.research.reproduce.tables import table_of
    from oddframe.research.session import collect, config_for, plan_for, prepare
    from oddframe.research.session import reproduce as run

    folder = out or Path("reproduce") / dataset.value
    asked = Asked(tuple(what), methods, tuple(video or ()), frames, folder, fresh, best_on_test)
    asked.check()
    settings = config_for(dataset.value, config)
    opened = open_dataset(f"{dataset.value}:{data}")
    ready = partial(
        prepare,
        attach_features(opened, FeatureStore(store), features or None, sound),
        settings,
        folder,
        store=store,
        seeds=seeds,
        device=device.value,
        decoders=jobs,
    )
    if asked.figures:
        with progress_bar(quiet=quiet) as bar:
            told = _Progress(bar, opened, quiet=quiet)
            session = ready(progress=told, message=told.message)
            written = draw(asked, session, jobs, told.training)
        for line in written:
            print_answer(printable(line))
        return
    names = _tables(what, dataset.value)
    specs = [table_of(name, dataset.value, settings, asked.named) for name in names]
    with progress_bar(quiet=quiet) as bar:
        told = _Progress(bar, opened, quiet=quiet)
        session = ready(best_on_test=best_on_test, progress=told, message=told.message)
        how, tasks = plan_for(session, specs, jobs)
        if fresh:
            session.forget(tasks)
            how, tasks = plan_for(session, specs, jobs)
        missing = session.missing(tasks)
        words = f"{missing} to do, in {how.about}" if missing else "all of them are there"
        where = "the table" if len(specs) == 1 else "the tables"
        print_note(f"{session.count(tasks)} trainings in {where}: {words}", quiet=quiet)
        try:
            tables = run(session, specs, tasks, how, told.training)
        except KeyboardInterrupt:
            if session.missing(tasks) < session.count(tasks):
                for table in collect(session, specs):
                    _write(table, folder)
                print_note(f"tables of what is there by now: {printable(str(folder))}", quiet=quiet)
            raise
    for table in tables:
        _write(table, folder)
        print_answer(f"{printable(str(folder / table.spec.name))}.html")
    if any(line.trainings == () for table in tables for line in table.trained):
        raise typer.Exit(1)


def _tables(what: list[str], dataset: str) -> list[str]:
    from oddframe.research.reproduce.tables import COMPARISONS, TABLES

    if "all" not in what:
        return list(dict.fromkeys(what))
    other = COMPARISONS[0] if dataset == "xd_violence" else COMPARISONS[1]
    return [name for name in TABLES if name != other]


def _write(table: Reproduced, folder: Path) -> None:
    import shlex

    from oddframe._utils.files import write_text
    from oddframe.research.reports.table_page import write_page
    from oddframe.research.reports.table_text import WRITERS, to_json

    command = shlex.join(["oddframe", *sys.argv[1:]])
    for ending, writer in WRITERS.items():
        write_text(folder / f"{table.spec.name}.{ending}", writer(table))
    write_page(table, folder / f"{table.spec.name}.html", command)
    # Last: where it is, the others are.
    write_text(folder / f"{table.spec.name}.json", to_json(table, folder, command))


class _Progress(FeatureProgress):
    """A bar over the videos, then one over the trainings, and a line for each training."""

    def __init__(self, bar: Bar, dataset: Dataset, *, quiet: bool):
        super().__init__(bar, dataset, quiet=quiet)
        self._trainings = bar.add_task("trainings", total=None, note="", visible=False)

    def training(self, done: int, total: int, task: Task, outcome: Outcome) -> None:
        """``done`` of ``total`` trainings are done."""
        self._bar.update(self._trainings, completed=done, total=total, visible=True)
        print_note(format_training_line(done, total, task, outcome), quiet=self._quiet)
