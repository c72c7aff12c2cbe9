"""A research session: a data set with its features, split by the protocol of its benchmark.

``oddframe reproduce`` and ``oddframe league`` both prepare a session, run a grid of trainings on it
(``grid``), and read the records (``records``) that the grid writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from oddframe._utils.progress import (
    MessageCallback,
    ProgressCallback,
    ignore_message,
    ignore_progress,
)
from oddframe.backbones.engines import DeviceName
from oddframe.datasets.labelled import Dataset
from oddframe.research.benchmarks import get_benchmark
from oddframe.research.clips import BenchmarkClip, ClipSource
from oddframe.research.grid_task import GridSetting, GridTask, find_training, record_path
from oddframe.research.protocol import TrainTestPart
from oddframe.research.provenance import videos_digest
from oddframe.training.config import TrainConfig, read_config
from oddframe.training.config_files import find_config, shipped_config

TRAININGS_FOLDER = "trainings"


@dataclass(frozen=True)
class Session:
    """A data set that is ready for trainings.

    Attributes:
        config: The configuration of the whole method.
        setting: What all trainings share.
        source: Where other processes get the clips from.
        clips: The clips with their features.
        parts: What is trained and tested on, one training each.
    """

    config: TrainConfig
    setting: GridSetting
    source: ClipSource
    clips: tuple[BenchmarkClip, ...]
    parts: tuple[TrainTestPart, ...]

    def distinct(self, tasks: Sequence[GridTask]) -> list[GridTask]:
        """The tasks, each training once: rows of several tables share some."""
        return list({record_path(task, self.setting): task for task in tasks}.values())

    def missing(self, tasks: Sequence[GridTask]) -> list[GridTask]:
        """The distinct tasks that have no record yet."""
        tasks = self.distinct(tasks)
        return [task for task in tasks if find_training(task, self.setting) is None]


def benchmark_config(name: str, config: str | None = None) -> TrainConfig:
    """The configuration of a benchmark, or ``config``: a file, or a shipped one's name.

    Raises:
        UsageError: there is no such benchmark, or the file is wrong.
    """
    benchmark = get_benchmark(name)
    return read_config(find_config(config) if config else shipped_config(benchmark.config))


def prepare_session(
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
    """Extract or find the features, and split the data set by the protocol of its benchmark.

    Args:
        dataset: Its name is that of a benchmark.
        config: What is trained, and on which features.
        out: Folder of the results; records of trainings are below it.
        store: Folder of the feature store.
        seeds: Repeats of the protocol, each with another seed (and other draws or folds, where the
            protocol draws); None: as many as the benchmark has.
        device: Where backbone and trainings run.
        decoders: Videos that are decoded at the same time.
        best_on_test: Whether networks are tested during the training, too.
        progress: Called after each video.
        message: Called with what extraction reported.

    Raises:
        InputError: a video cannot be read.
        UsageError: the data cannot be split this way.
    """
    benchmark = get_benchmark(dataset.name)
    protocol = benchmark.protocol_for(dataset)
    if seeds is not None:
        protocol = replace(protocol, repeats=seeds)
    source = ClipSource(dataset, config, store, device)
    clips, found = source.load(decoders, progress, message)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    setting = GridSetting(
        dataset=dataset.name,
        protocol=protocol,
        lead=benchmark.training_columns[0].field,
        features_sha256=videos_digest(found),
        folder=out / TRAININGS_FOLDER,
        device=device,
        best_on_test=best_on_test,
    )
    return Session(config, setting, source, clips, tuple(protocol.parts(clips)))
