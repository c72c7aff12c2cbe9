"""A research session, and its grid: many trainings, in parallel as far as memory allows.

Each process opens the features itself. Processes share features that are mapped from files, and
hold all others in memory, which limits their number. A finished training is saved at once, so a
grid that was stopped resumes with the others.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from oddframe._utils.worker_pool import block_sigint, threads_per_process
from oddframe.backbones.engines import DeviceName
from oddframe.datasets.labelled import Dataset
from oddframe.errors import OddframeError, describe_unexpected_error
from oddframe.features.lazy_array import AnyFeatures, CropViews
from oddframe.research.benchmarks import get_benchmark
from oddframe.research.clips import BenchmarkClip, ClipSource
from oddframe.research.grid_task import (
    GridSetting,
    GridTask,
    find_training,
    record_path,
    train_task,
)
from oddframe.research.protocol import TrainTestPart
from oddframe.research.records import TrainingRecord, videos_digest
from oddframe.training.config import TrainConfig, read_config
from oddframe.training.configure import find_config, shipped_config

TRAININGS_FOLDER = "trainings"


@dataclass(frozen=True)
class Session:
    """A data set with its features, split into parts by its benchmark: one training for each.

    Other processes get the clips from ``source``.
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
        distinct = self.distinct(tasks)
        return [task for task in distinct if find_training(task, self.setting) is None]


def benchmark_config(name: str, config: str | None = None) -> TrainConfig:
    """The configuration of a benchmark, or ``config``: a file, or a shipped one's name."""
    shipped = get_benchmark(name).config
    return read_config(find_config(config) if config else shipped_config(shipped))


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
    progress: GridProgress | None = None,
) -> Session:
    """Extract or find the features, and split the data set by the protocol of its benchmark.

    ``seeds`` are repeats of the protocol, each with another seed and other draws or folds; None: as
    many as the benchmark has. ``decoders`` videos are decoded at the same time.
    """
    benchmark = get_benchmark(dataset.name)
    protocol = benchmark.protocol_for(dataset)
    if seeds is not None:
        protocol = replace(protocol, repeats=seeds)
    source = ClipSource(dataset, config, store, device)
    report = (progress.features, progress.message) if progress else ()
    clips, found = source.load(decoders, *report)
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


# Memory of PyTorch, a network and its optimiser (bytes).
_PROCESS_BYTES = 1_000_000_000
# Memory of a step, as a multiple of its bags: 12 for UR-DMU, which computes them in parts, 30 for
# most methods, which do not (benchmarks/RESULTS.md).
_STEP_FACTOR = 30
# Share of the free memory that stays free.
_SPARE_SHARE = 0.15

TrainingOutcome = TrainingRecord | OddframeError
"""The record of a training, or why there is none."""

OnTraining = Callable[[int, int, GridTask, TrainingOutcome], None]
"""Called after each training with the number of finished ones, of all, the task, its outcome."""

FailedTask = tuple[GridTask, OddframeError]
"""A training that failed, and why."""


class GridProgress(Protocol):
    """Progress of a session and its grid: features first, then trainings."""

    def features(self, done: int, total: int | None, text: str, /) -> None:
        """``done`` of ``total`` videos have features, ``text`` names the latest."""

    def message(self, line: str, /) -> None:
        """A line for the user."""

    def training(
        self, done: int, total: int, task: GridTask, outcome: TrainingOutcome, note: str = ""
    ) -> None:
        """``done`` of ``total`` trainings are finished, the latest one with this outcome."""


@dataclass(frozen=True)
class GridPlan:
    """How a grid is run, and the reason in words."""

    jobs: int
    threads: int
    about: str = ""


def plan_grid(
    jobs: int,
    tasks: int,
    clips: Sequence[BenchmarkClip],
    config: TrainConfig,
    free: int | None = None,
) -> GridPlan:
    """Plan the processes of a grid: ``jobs`` of them, or fewer if work or memory is short.

    ``config`` gives the size of the bags; ``free`` bytes of memory, None: those of this machine.
    """
    free = free_memory() if free is None else free
    recipe = config.full_recipe()
    bags = recipe.normal_bags + recipe.abnormal_bags
    bag_bytes = bags * recipe.segments * clips[0].array.shape[-1] * 4  # In float32.
    # Training works on a copy in float32.
    needed = _PROCESS_BYTES + 2 * resident_bytes(clips) + _STEP_FACTOR * bag_bytes
    fit = max(1, int(free * (1 - _SPARE_SHARE) // needed)) if free else jobs
    processes = max(1, min(jobs, tasks, fit))
    threads = max(1, torch.get_num_threads() // processes)
    about = f"{processes} process{'es' if processes > 1 else ''} of {threads} thread"
    about += "s" * (threads > 1)
    if free:
        about += f": some {needed / 1e9:.1f} GB each, {free / 1e9:.1f} GB are free"
    if processes < jobs:
        about += f"; {jobs} were asked for"
    if free and needed > free:
        about += "; warning: not even one may fit"
    return GridPlan(processes, threads, about)


def resident_bytes(clips: Sequence[BenchmarkClip]) -> int:
    """Bytes of features in memory; those that are mapped from disk count nothing."""
    arrays: dict[int, AnyFeatures] = {}
    for clip in clips:
        views = clip.other_views
        others = views.arrays if isinstance(views, CropViews) else views
        arrays |= {id(array): array for array in (clip.array, *others)}
    loaded = (array for array in arrays.values() if isinstance(array, np.ndarray))
    return sum(array.nbytes for array in loaded if not isinstance(array, np.memmap))


def free_memory() -> int:
    """Bytes of memory that are available; 0 where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return min(int(line.split()[1]) * 1024, _container_memory())
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def _container_memory() -> int:
    """Bytes that are left below the limit of a container, if there is one."""
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        return max(0, int(limit) - used) if limit != "max" else 1 << 62
    except (OSError, ValueError):
        return 1 << 62


def run_grid(
    session: Session,
    tasks: Sequence[GridTask],
    plan: GridPlan,
    on_training: OnTraining | None = None,
) -> list[FailedTask]:
    """Run the trainings that have no record yet; the ones that failed, and why."""
    missing = session.missing(tasks)
    failed: list[FailedTask] = []

    def collect(outcomes: Iterator[tuple[GridTask, TrainingOutcome]]) -> None:
        for done, (task, outcome) in enumerate(outcomes, start=1):
            if isinstance(outcome, OddframeError):
                failed.append((task, outcome))
            if on_training is not None:
                on_training(done, len(missing), task, outcome)

    if plan.jobs == 1 or len(missing) < 2:
        collect((task, _attempt(session, task)) for task in missing)
        return failed
    with _pool(session, plan) as pool:
        with block_sigint():  # Submitting starts the processes.
            futures = {pool.submit(_attempt_in_process, task): task for task in missing}
        try:
            collect((futures[future], future.result()) for future in as_completed(futures))
        except BrokenProcessPool:
            raise OddframeError(
                "a process of the grid died, most likely for lack of memory; finished trainings "
                "are kept: run the command again with fewer --jobs"
            ) from None
    return failed


def _attempt(session: Session, task: GridTask) -> TrainingOutcome:
    try:
        part = next(part for part in session.parts if part.part_id == task.part_id)
        return train_task(task, part, session.setting)
    except OddframeError as error:
        return error
    except Exception as error:  # A fault in one method must not stop the others.
        return OddframeError(f"{task.name}: {describe_unexpected_error(error)}")


@contextmanager
def _pool(session: Session, plan: GridPlan) -> Iterator[ProcessPoolExecutor]:
    """Processes that hold the clips; they end with the block, however that ends."""
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    light = replace(session, clips=(), parts=())  # Each process loads the clips itself.
    pool = ProcessPoolExecutor(plan.jobs, context, _start_process, (light, plan.threads))
    with threads_per_process(plan.threads):
        try:
            yield pool
            pool.shutdown()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            raise


_worker_sessions: list[Session] = []  # One, in a worker process.


def _start_process(session: Session, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent handles Ctrl-C.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    clips, _ = session.source.load()
    parts = tuple(session.setting.protocol.parts(clips))
    _worker_sessions.append(replace(session, clips=clips, parts=parts))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _attempt_in_process(task: GridTask) -> TrainingOutcome:
    return _attempt(_worker_sessions[0], task)
