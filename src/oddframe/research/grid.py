"""Many trainings: those that are not there yet, side by side within the memory there is.

Each process opens the features for itself: what is mapped from files they share, the rest each has
of its own, and by that the number of processes is limited. A training that is done is on disk; a
grid that was stopped goes on with those that are not.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from oddframe._utils.signals import block_sigint
from oddframe._utils.threads import threads_per_process
from oddframe.backbones.engines import DeviceName, EngineName
from oddframe.datasets.labelled import Dataset
from oddframe.errors import InputError, OddframeError, describe_unexpected_error
from oddframe.features.lazy_array import AnyFeatures, CropViews, FeatureArray
from oddframe.research.benchmarks import clips_from, extractor_of, gathered
from oddframe.research.grid_task import (
    Setting,
    Task,
    record_path,
    train,
)
from oddframe.research.protocol import parts_of
from oddframe.research.records import Training, read_training
from oddframe.research.splice import Clip
from oddframe.research.splits import Part, with_bags
from oddframe.training.config import TrainConfig

# PyTorch, a network and its optimiser (bytes).
_PROCESS = 1_000_000_000
# What a step holds, in times the bags it learns from: 12 for UR-DMU, which takes them part by part,
# 30 where it would not (benchmarks/RESULTS.md), as most methods do not.
_STEP = 30
# Of the memory that is free, so much is not asked for.
_SPARE = 0.15

Outcome = Training | OddframeError
"""What became of a training: its record, or why there is none."""

Told = Callable[[int, int, Task, Outcome], None]
"""Trainings done, in all, the latest one."""


@dataclass(frozen=True)
class Source:
    """Where features come from, in a form that can be sent to another process.

    Attributes:
        dataset: The videos.
        config: Which features are asked for.
        store: Where they are kept.
        device: Where a backbone would run.
        engine: What would run it.
    """

    dataset: Dataset
    config: TrainConfig
    store: Path
    device: DeviceName = "auto"
    engine: EngineName = "auto"

    def clips(self) -> tuple[Clip, ...]:
        """The clips with their features.

        Raises:
            InputError: a video cannot be read.
        """
        extractor = extractor_of(self.store, self.device, self.engine)
        found = gathered(self.dataset, self.config, extractor)
        clips = clips_from(self.dataset, self.config, found)
        return with_bags(clips, found, self.config, self.store)


@dataclass(frozen=True)
class Plan:
    """How a grid is run.

    Attributes:
        jobs: Processes.
        threads: Threads of each.
        about: Why, in words.
    """

    jobs: int
    threads: int
    about: str


def plan(
    wanted: int, tasks: int, clips: Sequence[Clip], config: TrainConfig, free: int | None = None
) -> Plan:
    """As many processes as are wanted, as far as there is work and memory for them.

    Args:
        wanted: Processes.
        tasks: Trainings that are to be done.
        clips: What each process holds.
        config: What each process trains, as far as the size of its bags goes.
        free: Bytes of memory that are free; None: those of this machine.
    """
    free = free_memory() if free is None else free
    # Training works on a copy in float32.
    one = _PROCESS + 2 * resident(clips) + _STEP * _bags(clips, config)
    fit = max(1, int(free * (1 - _SPARE) // one)) if free else wanted
    jobs = max(1, min(wanted, tasks, fit))
    threads = max(1, torch.get_num_threads() // jobs)
    about = f"{jobs} process{'es' if jobs > 1 else ''} of {threads} thread{'s' * (threads > 1)}"
    if free:
        about += f": some {one / 1e9:.1f} GB each, {free / 1e9:.1f} GB are free"
    if jobs < wanted:
        about += f"; {wanted} were asked for"
    if free and one > free:
        about += "; beware, not even one may fit"
    return Plan(jobs, threads, about)


def _bags(clips: Sequence[Clip], config: TrainConfig) -> int:
    """Bytes of the bags of a step, in float32."""
    recipe = config.full_recipe()
    bags = recipe.normal_bags + recipe.abnormal_bags
    dim: int = clips[0].array.shape[-1]
    return bags * recipe.segments * dim * 4


def resident(clips: Sequence[Clip]) -> int:
    """Bytes that features take in memory; what lies on disk or is mapped from it takes none."""
    arrays = {id(a): a for clip in clips for a in (clip.array, *_arrays(clip.other_views))}
    return sum(
        a.nbytes
        for a in arrays.values()
        if isinstance(a, np.ndarray) and not isinstance(a, np.memmap)
    )


def _arrays(views: Sequence[FeatureArray]) -> Sequence[AnyFeatures]:
    return views.arrays if isinstance(views, CropViews) else views


def free_memory() -> int:
    """Bytes of memory that can be had, 0 where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return min(int(line.split()[1]) * 1024, _group_limit())
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def _group_limit() -> int:
    """What a container leaves, where there is one."""
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        return max(0, int(limit) - used) if limit != "max" else 1 << 62
    except (OSError, ValueError):
        return 1 << 62


def known(task: Task, setting: Setting) -> Training | None:
    """The record of a training if it is there and has all that is asked for."""
    path = record_path(task, setting)
    if not path.exists():
        return None
    try:
        found = read_training(path)
    except InputError:  # Of an older version, or damaged: it is made anew.
        return None
    return None if setting.best_on_test and found.best_on_test is None else found


def run_grid(
    tasks: Sequence[Task],
    setting: Setting,
    source: Source,
    clips: Sequence[Clip],
    how: Plan,
    told: Told | None = None,
) -> list[tuple[Task, OddframeError]]:
    """Do the trainings that are not there yet; what failed, and why.

    Args:
        tasks: What is wanted.
        setting: What they share.
        source: Where other processes get the clips from.
        clips: The clips, for this one.
        how: From ``plan``.
        told: Called after each.

    Raises:
        OddframeError: a process died.
    """
    # Rows of several tables are the same training.
    wanted = {record_path(task, setting): task for task in tasks}.values()
    todo = [task for task in wanted if known(task, setting) is None]
    failed: list[tuple[Task, OddframeError]] = []
    if how.jobs == 1 or len(todo) < 2:
        parts = {(p.repeat, p.fold): p for p in parts_of(clips, setting.protocol)}
        outcomes: Iterator[tuple[Task, Outcome]] = (
            (task, _attempt(task, parts, setting)) for task in todo
        )
        _collect(outcomes, failed, len(todo), told)
        return failed
    with _pool(setting, source, how) as pool:
        with block_sigint():  # Submitting starts the processes.
            futures = {pool.submit(_work, task): task for task in todo}
        _collect(_finished(futures), failed, len(todo), told)
    return failed


def _collect(
    outcomes: Iterator[tuple[Task, Outcome]],
    failed: list[tuple[Task, OddframeError]],
    total: int,
    told: Told | None,
) -> None:
    for done, (task, outcome) in enumerate(outcomes, start=1):
        if isinstance(outcome, OddframeError):
            failed.append((task, outcome))
        if told is not None:
            told(done, total, task, outcome)


def _finished(
    futures: Mapping[Future[Outcome], Task],
) -> Iterator[tuple[Task, Outcome]]:
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise OddframeError(
            "a process of the grid died, most likely for want of memory; what was finished is "
            "kept: give the command again with fewer --jobs"
        ) from None


def _attempt(task: Task, parts: Mapping[tuple[int, int], Part], setting: Setting) -> Outcome:
    try:
        return train(task, parts[task.repeat, task.fold], setting)
    except OddframeError as error:
        return error
    except Exception as error:  # A fault of ours in one method: the others go on.
        return OddframeError(f"{task.name}: {describe_unexpected_error(error)}")


@contextmanager
def _pool(setting: Setting, source: Source, how: Plan) -> Iterator[ProcessPoolExecutor]:
    """Processes that have the clips; they end with the block, however that ends."""
    context = multiprocessing.get_context("spawn")
    ours = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(how.jobs, context, _begin, (setting, source, how.threads))
    with threads_per_process(how.threads):
        try:
            yield pool
            pool.shutdown()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - ours:
                process.terminate()
            raise


_HELD: dict[str, tuple[dict[tuple[int, int], Part], Setting]] = {}


def _begin(setting: Setting, source: Source, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent handles Ctrl-C.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    parts = {(p.repeat, p.fold): p for p in parts_of(source.clips(), setting.protocol)}
    _HELD["grid"] = parts, setting


def _end_with_parent() -> None:
    """End this process when its parent has ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(task: Task) -> Outcome:
    return _attempt(task, *_HELD["grid"])
