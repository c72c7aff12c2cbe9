"""``oddframe league``: train all methods under equal conditions, and rank them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oddframe.cli.console import print_answer, printable, progress_bar
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
from oddframe.cli.research_options import GridProgressBar, benchmark_option
from oddframe.research.benchmarks import league_benchmarks

LEAGUE_EXAMPLE = (
    "Example: nohup oddframe league --dataset ped2 --data /data/ped2 >league.log 2>&1 &"
)


def league(
    dataset: Annotated[str, benchmark_option(league_benchmarks())],
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
            help="Only try learning rates on validation recordings, and write the best ones to "
            "OUT/rates.json; later runs with the same --out use them.",
        ),
    ] = False,
    jobs: JobsOption = 1,
    memory: MemoryOption = None,  # noqa: ARG001 - its callback sets the limit
    patience: PatienceOption = DEFAULT_PATIENCE_S,  # noqa: ARG001
    out: Annotated[
        Path, typer.Option(help="Folder of the trainings, the records of benchmarks and the table.")
    ] = Path("league"),
    table: Annotated[
        Path | None,
        typer.Option(help="File of the table; default: OUT/LEAGUE.md.", show_default=False),
    ] = None,
    config: ConfigOption = "",
    store: StoreOption = STORE_DEFAULT,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001
) -> None:
    """Train every method on the same draws, seeds, features and bags, and rank them.

    Each finished training is saved, so the same command resumes after it was killed. Figures are
    those of the last step. Run the benchmarks one after the other with the same --out: LEAGUE.md
    shows all of them.
    """
    from oddframe.datasets.registry import open_dataset
    from oddframe.research.leaderboard import league as runner

    table = table or out / "LEAGUE.md"
    with progress_bar(quiet=quiet) as bar:
        progress = GridProgressBar(bar, quiet=quiet)
        groups = runner.prepare_league(
            open_dataset(f"{dataset}:{data}"),
            out,
            store=store,
            methods=split_list(methods),
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
