"""Run ``oddframe reproduce``: train, then write tables or draw figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from oddframe.backbones.engines import DeviceName
from oddframe.datasets.labelled import Dataset
from oddframe.errors import UsageError
from oddframe.methods.registry import get_method, method_names
from oddframe.research.grid import (
    GridProgress,
    Session,
    benchmark_config,
    plan_grid,
    prepare_session,
    run_grid,
)
from oddframe.research.grid_task import remove_records
from oddframe.research.reproduce.figures import (
    PAPER_FIGURES,
    TrainedNetwork,
    compute_curves,
    figure_tasks,
    named_test_videos,
    select_videos,
    train_networks,
    write_curves,
    write_memory_figure,
)
from oddframe.research.reproduce.memory_analysis import analyse_memories
from oddframe.research.reproduce.report import write_table
from oddframe.research.reproduce.tables import (
    COMPARISON_TABLES,
    TABLE_NAMES,
    UR_DMU,
    TableSpec,
    collect_table,
    table_spec,
    table_tasks,
)
from oddframe.training.config import TrainConfig


@dataclass(frozen=True)
class ReproduceRequest:
    """What is to be reproduced; UsageError where an option does not apply to these names."""

    names: Sequence[str]  # Tables (``all``: all of them) or figures.
    methods: Sequence[str] = ()  # Of tables 1 and 2 and figures 1 and 4; none: all.
    videos: Sequence[str] = ()  # Test videos in figures 1 and 4; none: evenly spaced ones.
    frames: Path | None = None  # Folder of the videos of a data set of features, for key frames.
    fresh: bool = False
    best_on_test: bool = False

    def __post_init__(self) -> None:
        options = {"--video": self.videos, "--methods": self.methods, "--frames": self.frames}
        given = [name for name, value in options.items() if value]
        if not self.has_figures:
            if self.methods and not {*COMPARISON_TABLES, "all"} & set(self.names):
                raise UsageError(
                    "--methods is only for tables 1 and 2 and figures 1 and 4; leave it out"
                )
            if others := [name for name in given if name != "--methods"]:
                raise UsageError(f"{others[0]} is only for figures 1 and 4; leave it out")
            return
        if unknown := [name for name in self.names if name not in PAPER_FIGURES]:
            names = ", ".join(PAPER_FIGURES)
            raise UsageError(
                f"{unknown[0]}: figures are {names}; tables need a command of their own"
            )
        if self.best_on_test:
            raise UsageError("--best-on-test: figures show the last step; leave it out")
        if "figure3" in self.names and self.videos:
            raise UsageError("--video: figure3 shows all test videos; run it without --video")
        if set(self.names) == {"figure3"} and given:
            raise UsageError(f"{given[0]} is only for figures 1 and 4; leave it out")

    @property
    def has_figures(self) -> bool:
        return any(name.startswith("figure") for name in self.names)

    def table_specs(self, dataset: str, config: TrainConfig) -> list[TableSpec]:
        names = list(dict.fromkeys(self.names))
        if "all" in names:
            other = COMPARISON_TABLES[dataset != "xd_violence"]
            names = [name for name in TABLE_NAMES if name != other]
        return [table_spec(name, dataset, config, self.methods) for name in names]


def run_reproduction(
    request: ReproduceRequest,
    dataset: Dataset,
    out: Path,
    *,
    store: Path,
    config: str | None = None,
    seeds: int | None = None,
    device: DeviceName = "auto",
    jobs: int = 1,
    command: str,
    progress: GridProgress,
) -> tuple[list[str], bool]:
    """Train what is missing, and write the tables or figures that are asked for.

    Returns what was written, a line each, and whether every row that is trained has a training. If
    it is interrupted, tables of the finished trainings are written.
    """
    settings = benchmark_config(dataset.name, config)
    specs = [] if request.has_figures else request.table_specs(dataset.name, settings)
    session = prepare_session(
        dataset,
        settings,
        out,
        store=store,
        seeds=seeds,
        device=device,
        decoders=jobs,
        best_on_test=request.best_on_test,
        progress=progress,
    )
    if request.has_figures:
        return list(_draw_figures(request, session, out, jobs, progress)), True
    tasks = [task for spec in specs for task in table_tasks(spec, session.parts)]
    tasks.sort(key=lambda task: task.part_id)  # A grid that is stopped early has some of every row.
    if request.fresh:
        remove_records(tasks, session.setting)
    total, missing = len(session.distinct(tasks)), len(session.missing(tasks))
    plan = plan_grid(jobs, missing, session.clips, session.config)
    about = f"{missing} to do, in {plan.about}" if missing else "all of them are done"
    progress.message(f"{total} trainings in the table{'s' * (len(specs) > 1)}: {about}")
    try:
        failed = run_grid(session, tasks, plan, progress.training)
    except KeyboardInterrupt:
        if len(session.missing(tasks)) < total:
            for spec in specs:
                write_table(collect_table(session, spec), out, command)
            progress.message(f"tables of the finished trainings: {out}")
        raise
    tables = [collect_table(session, spec, failed) for spec in specs]
    for table in tables:
        write_table(table, out, command)
    complete = all(line.trainings for table in tables for line in table.trained)
    return [f"{out / table.spec.name}.html" for table in tables], complete


def _draw_figures(
    request: ReproduceRequest, session: Session, out: Path, jobs: int, progress: GridProgress
) -> Iterator[str]:
    tasks = figure_tasks(session, _figure_methods(request))
    networks = train_networks(session, tasks, jobs, progress.training, fresh=request.fresh)
    for name in dict.fromkeys(request.names):
        if name == "figure3":
            yield from _draw_memories(session, networks, out)
        else:
            yield from _draw_curves(name, request, session, networks, out)


def _figure_methods(request: ReproduceRequest) -> list[str]:
    if set(request.names) == {"figure3"}:
        return [UR_DMU]
    if not request.methods:
        return [name for name in method_names() if not get_method(name).one_class]
    with_memories = [UR_DMU] if "figure3" in request.names else []
    return list(dict.fromkeys([*request.methods, *with_memories]))


def _draw_curves(
    name: str,
    request: ReproduceRequest,
    session: Session,
    networks: Sequence[TrainedNetwork],
    out: Path,
) -> list[str]:
    videos = select_videos(named_test_videos(session), request.videos, name)
    png = out / f"{name}.png"
    without = write_curves(compute_curves(session, networks, videos), png, request.frames)
    about = f"{', '.join(each.title for each in networks)} over {', '.join(videos)}"
    lines = [f"{png}, {name}.svg: {about}"]
    if without:
        lines.append(
            f"without key frames, because the video is missing (--frames): {', '.join(without)}"
        )
    return [*lines, *(f"  {each.title}: {each.record}" for each in networks)]


def _draw_memories(session: Session, networks: Sequence[TrainedNetwork], out: Path) -> list[str]:
    each = next(network for network in networks if network.config.method.name == UR_DMU)
    settings = each.config.chosen_method()[1]
    analysis = analyse_memories(each.network, settings, named_test_videos(session).values())
    png = out / "figure3.png"
    title = f"{each.title} on {session.setting.dataset}: latents of test snippets, slots in use"
    write_memory_figure(analysis, title, png)
    return [f"{png}, figure3.svg: {analysis}", f"  {each.title}: {each.record}"]
