"""``oddframe reproduce``: make the paper's tables and figures, beside the published ones."""

from __future__ import annotations

import sys
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
    split_list,
)
from oddframe.cli.research_options import GridProgressBar, benchmark_option
from oddframe.research.benchmarks import BENCHMARKS

REPRODUCE_EXAMPLE = (
    "Example: oddframe reproduce table3 table6 --dataset ped2 --data /data/ped2 --jobs 2    or: "
    "oddframe reproduce figure4 --dataset ped2 --data /data/ped2 --methods ur_dmu,linear"
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
    data: DataOption,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the results; default: reproduce/DATASET.", show_default=False),
    ] = None,
    seeds: SeedsOption = None,
    jobs: JobsOption = 1,
    memory: MemoryOption = None,  # noqa: ARG001 - its callback sets the limit
    patience: PatienceOption = DEFAULT_PATIENCE_S,  # noqa: ARG001
    best_on_test: Annotated[
        bool,
        typer.Option(
            "--best-on-test",
            help="Also show the step that is best on the test set, as published figures do.",
        ),
    ] = False,
    methods: MethodsOption = "",
    video: Annotated[
        list[str] | None,
        typer.Option(
            help="For figures 1 and 4: name of a test video; can be repeated.", show_default=False
        ),
    ] = None,
    frames: Annotated[
        Path | None,
        typer.Option(
            help="For figures 1 and 4: folder of the videos, if the data set has only features.",
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
    """Run tables of the UR-DMU paper on a data set, and show the published figures beside.

    Figures are those of the last step. Each finished training is saved, so the same command
    resumes after it was stopped. Rows that several tables share are trained once. Writes TABLE.md,
    .tex, .csv, .html and .json into --out; oddframe report show prints what was run.
    """
    import shlex

    from oddframe.datasets.attach_features import attach_features
    from oddframe.datasets.registry import open_dataset
    from oddframe.features.store.store import FeatureStore
    from oddframe.research.reproduce.run import ReproduceRequest, run_reproduction

    request = ReproduceRequest(
        what, split_list(methods), video or (), frames, fresh=fresh, best_on_test=best_on_test
    )
    opened = open_dataset(f"{dataset}:{data}")
    with progress_bar(quiet=quiet) as bar:
        result = run_reproduction(
            request,
            attach_features(opened, FeatureStore(store), features or None, sound),
            out or Path("reproduce") / dataset,
            store=store,
            config=config,
            seeds=seeds,
            device=device.value,
            jobs=jobs,
            command=shlex.join(["oddframe", *sys.argv[1:]]),
            progress=GridProgressBar(bar, quiet=quiet),
        )
    for line in result.lines:
        print_answer(printable(line))
    if not result.complete:
        raise typer.Exit(1)
