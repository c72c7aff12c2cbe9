"""``oddframe league``: every method on equal terms, on a benchmark of its own features."""

from __future__ import annotations

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
    JobsOption,
    MemoryOption,
    MethodsOption,
    PatienceOption,
    QuietOption,
    SeedsOption,
    StoreOption,
    split_list,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oddframe.errors import OddframeError
    from oddframe.research.grid import Outcome
    from oddframe.research.grid_task import Task
    from oddframe.research.leaderboard.league import Clock, Heat

RATES = "rates.json"
LEAGUE_EXAMPLE = (
    "Example: nohup oddframe league --dataset ped2 --data /data/ped2 >league.log 2>&1 &"
)


class DatasetName(StrEnum):
    ped2 = "ped2"
    ur_fall = "ur_fall"
    surveillance_fight = "surveillance_fight"
    shanghaitech_tracks = "shanghaitech_tracks"
    fight = "fight"  # The former name of surveillance_fight; help does not list it.


_SHOWN = [name.value for name in DatasetName if name is not DatasetName.fight]


def league(
    dataset: Annotated[
        DatasetName,
        typer.Option(help="What to train and test on.", metavar=f"[{'|'.join(_SHOWN)}]"),
    ],
    data: DataOption,
    methods: MethodsOption = "",
    seeds: SeedsOption = None,
    draws: Annotated[
        int | None,
        typer.Option(
            min=1, max=1000, help="Draws of Ped2's clips; default: 10.", show_default=False
        ),
    ] = None,
    choose_rates: Annotated[
        bool,
        typer.Option(
            "--choose-rates",
            help="Try learning rates on validation recordings, and rank nothing: OUT/rates.json "
            "is what a league into the same --out takes.",
        ),
    ] = False,
    jobs: JobsOption = 1,
    memory: MemoryOption = None,  # noqa: ARG001 - its callback sets the limit
    patience: PatienceOption = DEFAULT_PATIENCE_S,  # noqa: ARG001
    out: Annotated[
        Path, typer.Option(help="Trainings, and a record of each benchmark; a table of all.")
    ] = Path("league"),
    table: Annotated[
        Path | None,
        typer.Option(help="Where the table goes; default: OUT/LEAGUE.md.", show_default=False),
    ] = None,
    config: ConfigOption = "",
    store: StoreOption = STORE_DEFAULT,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001
) -> None:
    """Train every method on the same draws, seeds, features and bags, and rank them.

    Each training is written down when it is done; the same command goes on after it was killed.
    Figures are those of the last step. Benchmarks are run one after the other into one --out, and
    LEAGUE.md is of all that are there.
    """
    from oddframe.datasets.precomputed import has_precomputed_features
    from oddframe.datasets.registry import open_dataset
    from oddframe.research.benchmarks import BENCHMARKS
    from oddframe.research.leaderboard.league import Heat, by_features, entrants, repeats_of
    from oddframe.research.leaderboard.rates import read_rates
    from oddframe.research.leaderboard.record import read_league
    from oddframe.research.session import config_for, prepare

    if dataset is DatasetName.fight:
        dataset = DatasetName.surveillance_fight
    name = dataset.value
    settings = config_for(name, config)
    repeats = repeats_of(BENCHMARKS[name], draws, seeds)
    opened = open_dataset(f"{name}:{data}")
    rows = entrants(
        settings,
        split_list(methods),
        frames=not any(has_precomputed_features(video) for video in opened.videos),
        rates=None if choose_rates else read_rates(out / RATES),
    )
    record = out / f"{opened.name}.json"
    earlier = read_league(record) if record.exists() else None
    heats = []
    for group in by_features(rows):
        with progress_bar(quiet=quiet) as bar:
            progress = FeatureProgress(bar, opened, quiet=quiet)
            session = prepare(
                opened,
                group[0].config,
                out,
                store=store,
                seeds=repeats,
                device=device.value,
                decoders=jobs,
                progress=progress,
                message=progress.message,
            )
        heats.append(Heat(session, group, earlier))
    if choose_rates:
        _choose(heats, jobs, out / RATES, quiet)
    else:
        _rank(heats, jobs, out, table or out / "LEAGUE.md", quiet)


def _choose(heats: Sequence[Heat], jobs: int, path: Path, quiet: bool) -> None:
    """Try the rates of the rows of one kind of features, and write down what was chosen."""
    from oddframe.errors import UsageError
    from oddframe.research.grid import plan, run_grid
    from oddframe.research.leaderboard.rate_search import RateGrid, validating
    from oddframe.research.leaderboard.rates import joined, read_rates, write_rates
    from oddframe.research.records import Training

    if len(heats) > 1:
        raise UsageError("--choose-rates: name --methods that read the same features")
    grid = RateGrid(validating(heats[0].session), heats[0].rows)
    tasks, of = grid.tasks, grid.session
    if not tasks:
        raise UsageError("--choose-rates: no method with a learning rate is named")
    missing = of.missing(tasks)
    how = plan(jobs, missing, of.clips, of.config)
    print_note(f"{missing} of {len(tasks)} trainings to do", quiet=quiet)

    def told(done: int, total: int, task: Task, outcome: Outcome) -> None:
        line = format_training_line(done, total, task, outcome)
        if made := isinstance(outcome, Training):
            line += f", AUC of videos {100 * outcome.figures.clip_auc:.1f}"
        print_note(line, quiet=quiet and made)

    run_grid(tasks, of.setting, of.source, of.clips, how, told)
    write_rates(path, joined(read_rates(path), grid.collected()))
    print_answer(printable(str(path)))


def _rank(heats: Sequence[Heat], jobs: int, out: Path, table: Path, quiet: bool) -> None:
    """Train what is missing, and write record and table after each."""
    from oddframe.research.grid import plan, run_grid
    from oddframe.research.leaderboard.league import Clock

    plans = [
        plan(jobs, len(heat.missing), heat.session.clips, heat.session.config) for heat in heats
    ]
    clock = Clock(heats, min(how.jobs for how in plans))
    told = _Told(heats, clock, out, table, quiet)
    if told.pending:
        total = sum(len(heat.tasks) for heat in heats)
        print_note(
            f"{len(told.pending)} of {total} trainings to do, in {plans[0].about}", quiet=quiet
        )
        clock.guess(told.guess)
        print_note(f"about {_duration(clock.left(told.pending))} in all", quiet=quiet)
    for heat, how in zip(heats, plans, strict=True):
        of = heat.session
        run_grid(heat.missing, of.setting, of.source, of.clips, how, told.training)
    told.write()
    print_answer(printable(str(told.table)))


class _Told:
    """Says how far the league is, and keeps its table up to date."""

    def __init__(self, heats: Sequence[Heat], clock: Clock, out: Path, table: Path, quiet: bool):
        self.table = table
        self.pending = clock.todo()
        self._total, self._done = len(self.pending), 0
        self._heats, self._clock, self._out, self._quiet = heats, clock, out, quiet
        self._failed: list[tuple[Task, OddframeError]] = []

    def guess(self, name: str, seconds: float, number: int) -> None:
        """A method was timed."""
        words = f"{name}: {number} of about {_duration(seconds)} each"
        print_note(words if seconds else f"{name}: could not be timed", quiet=self._quiet)

    def training(self, _done: int, _total: int, task: Task, outcome: Outcome) -> None:
        """One more is done."""
        from oddframe.research.records import Training

        self._done += 1
        if isinstance(outcome, Training):
            self._clock.done(task.name, outcome.seconds)
        else:
            self._failed.append((task, outcome))
        self.pending = [each for each in self.pending if each != task]
        left = _duration(self._clock.left(self.pending))
        line = format_training_line(self._done, self._total, task, outcome)
        quiet = self._quiet and isinstance(outcome, Training)
        print_note(f"{line}; about {left} left", quiet=quiet)
        self.write()

    def write(self) -> None:
        """The record of this benchmark, and the table of all that are there."""
        from oddframe.research.leaderboard.league import collected
        from oddframe.research.leaderboard.rates import read_rates
        from oddframe.research.leaderboard.record import read_leagues, write_league
        from oddframe.research.reports.league_text import write_table

        found = collected(self._heats, self._failed)
        write_league(self._out / f"{found.dataset}.json", found)
        write_table(read_leagues(self._out), read_rates(self._out / RATES), self.table)


def _duration(seconds: float) -> str:
    from oddframe.training.search import format_time_budget

    return format_time_budget(seconds)
