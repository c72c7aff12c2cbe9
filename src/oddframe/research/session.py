"""From a data set to tables: features, parts, the grid, what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from oddframe._utils.files import translate_os_errors as file_told
from oddframe._utils.progress import (
    MessageCallback,
    ProgressCallback,
    ignore_message,
    ignore_progress,
)
from oddframe.backbones.engines import DeviceName
from oddframe.datasets.labelled import Dataset
from oddframe.errors import OddframeError, UsageError
from oddframe.research.benchmarks import (
    BENCHMARKS,
    clips_from,
    extractor_of,
    gathered,
    protocol_of,
)
from oddframe.research.grid import Plan, Source, Told, known, plan, run_grid
from oddframe.research.grid_task import Setting, Task, discard, record_path
from oddframe.research.protocol import parts_of
from oddframe.research.provenance import features_digest
from oddframe.research.reproduce.reproduce import Reproduced, collected, columns_of, tasks_of
from oddframe.research.reproduce.tables import TableSpec
from oddframe.research.splice import Clip
from oddframe.research.splits import Part, with_bags
from oddframe.training.config import TrainConfig, read_config
from oddframe.training.config_files import find_config, shipped_config

TRAININGS = "trainings"


@dataclass(frozen=True)
class Session:
    """A data set that is ready to be trained on.

    Attributes:
        config: The whole method and its recipe.
        setting: What all trainings share.
        source: Where other processes get the features from.
        clips: The clips with their features.
        parts: What is trained and tested on, one training each.
    """

    config: TrainConfig
    setting: Setting
    source: Source
    clips: tuple[Clip, ...]
    parts: tuple[Part, ...]

    def forget(self, tasks: Sequence[Task]) -> None:
        """Remove the records of these trainings, so that they are made anew.

        Raises:
            OddframeError: one cannot be removed.
        """
        forget(tasks, self.setting)

    def missing(self, tasks: Sequence[Task]) -> int:
        """How many trainings are not there yet, each counted once."""
        return sum(known(task, self.setting) is None for task in self._once(tasks))

    def count(self, tasks: Sequence[Task]) -> int:
        """How many trainings these are, each counted once: rows of several tables share some."""
        return len(self._once(tasks))

    def _once(self, tasks: Sequence[Task]) -> list[Task]:
        return list({record_path(task, self.setting): task for task in tasks}.values())


def forget(tasks: Sequence[Task], setting: Setting) -> None:
    """Remove the records of these trainings, and what is kept of those on their way.

    Raises:
        OddframeError: one cannot be removed.
    """
    for task in tasks:
        path = record_path(task, setting)
        with file_told(path):
            path.unlink(missing_ok=True)
        discard(path)


def config_for(name: str, config: str | None) -> TrainConfig:
    """The configuration of a benchmark, or another one by its file or shipped name.

    Raises:
        UsageError: there is no such benchmark, or the file is wrong.
    """
    if name not in BENCHMARKS:
        raise UsageError(f"no benchmark is called {name}, only {', '.join(BENCHMARKS)}")
    return read_config(find_config(config) if config else shipped_config(BENCHMARKS[name].config))


def prepare(
    dataset: Dataset,
    config: TrainConfig,
    out: Path,
    *,
    store: Path,
    seeds: int | None = None,
    device: DeviceName = "auto",
    decoders: int = 1,
    best_on_test: bool = False,
    progress: ProgressCallback = ignore_progress,
    message: MessageCallback = ignore_message,
) -> Session:
    """Make or find the features, and split them by the protocol of the data set's benchmark.

    Args:
        dataset: Its name is that of a benchmark.
        config: What is trained, and on which features.
        out: Folder of the results; records of trainings lie below.
        store: Where features are kept.
        seeds: Repeats of the protocol, each with another seed (and other draws or folds, where the
            protocol draws); None: as many as the benchmark has.
        device: Where backbone and trainings run.
        decoders: Videos that are decoded side by side.
        best_on_test: Look at the test set on the way, too.
        progress: Called after each video.
        message: Called with what extraction reported.

    Raises:
        InputError: a video cannot be read.
        UsageError: the data cannot be split so.
    """
    benchmark = BENCHMARKS[dataset.name]
    protocol = protocol_of(benchmark, dataset)
    if seeds is not None:
        protocol = replace(protocol, repeats=seeds)
    extractor = extractor_of(store, device)
    found = gathered(dataset, config, extractor, jobs=decoders, progress=progress, message=message)
    clips = clips_from(dataset, config, found)
    clips = with_bags(clips, found, config, store, progress)
    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    setting = Setting(
        dataset=dataset.name,
        protocol=protocol,
        lead=columns_of(benchmark)[0].field,
        features_sha256=features_digest(found),
        folder=out / TRAININGS,
        device=where,
        best_on_test=best_on_test,
    )
    source = Source(dataset, config, store, device)
    return Session(config, setting, source, clips, tuple(parts_of(clips, protocol)))


def plan_for(session: Session, specs: Sequence[TableSpec], jobs: int) -> tuple[Plan, list[Task]]:
    """How the grid of these tables would be run, and its trainings."""
    tasks = [task for spec in specs for task in tasks_of(spec, session.parts)]
    tasks.sort(key=lambda task: (task.repeat, task.fold))  # Stopped early, all rows have some.
    return plan(jobs, session.missing(tasks), session.clips, session.config), tasks


def reproduce(
    session: Session,
    specs: Sequence[TableSpec],
    tasks: Sequence[Task],
    how: Plan,
    told: Told | None = None,
) -> list[Reproduced]:
    """Run what is missing of the grid, and collect the tables.

    Raises:
        OddframeError: a process died, or a record cannot be written.
    """
    failed = run_grid(tasks, session.setting, session.source, session.clips, how, told)
    return collect(session, specs, failed)


def collect(
    session: Session,
    specs: Sequence[TableSpec],
    failed: Sequence[tuple[Task, OddframeError]] = (),
) -> list[Reproduced]:
    """The tables of the trainings that are there by now; each says what it lacks."""
    return [collected(spec, session.setting, session.parts, failed) for spec in specs]
