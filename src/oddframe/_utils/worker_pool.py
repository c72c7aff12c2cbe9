"""Runs jobs in parallel worker processes and replaces a worker that dies or hangs.

A job is one video; the libraries that decode it may crash or hang. Then the worker is killed, the
job fails with the reason, and a new worker takes the next job.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any, Generic, TypeVar

from oddframe._utils.child_process import (
    HEARTBEAT_S,
    HeartbeatSender,
    describe_exit,
    describe_timeout,
)
from oddframe._utils.progress import call_periodically
from oddframe.errors import OddframeError

_JobT = TypeVar("_JobT")
_ResultT = TypeVar("_ResultT")
_ValueT = TypeVar("_ValueT")

Heartbeat = Callable[[int, int | None], None]  # Reports progress: (done, expected or None).
WorkFunction = Callable[[_JobT, Heartbeat], _ResultT]

# A worker that dies while it starts, for instance killed for lack of memory, is started again.
_MAX_FAILED_STARTS = 3
_POLL_S = 0.5


@dataclass(frozen=True)
class WorkerFailure:
    """The result of a job whose worker died or was killed, with the reason."""

    reason: str


class WorkerPool(Generic[_JobT, _ResultT]):
    """Runs jobs in up to ``processes`` worker processes.

    ``start`` is called once in each and returns the function that is called with each job and a
    heartbeat; it, jobs and results must be picklable. A job fails after ``timeout_s`` without a
    heartbeat; the reason ends with ``advice``. With ``keep``, workers stay until ``end`` is called.
    """

    def __init__(
        self,
        start: Callable[[], WorkFunction[_JobT, _ResultT]],
        processes: int,
        timeout_s: float,
        *,
        keep: bool = False,
        advice: str = "",
    ) -> None:
        self._start, self._processes, self._timeout_s = start, processes, timeout_s
        self._keep, self._advice = keep, advice
        self._workers: list[_Worker[_JobT]] = []
        self._failed_starts = 0
        # Progress (done, expected or None) of each running job, by its number.
        self.done: dict[int, tuple[int, int | None]] = {}

    def run(self, jobs: Sequence[_JobT]) -> Iterator[tuple[int, _ResultT | WorkerFailure] | None]:
        """Yield (number of the job, its result) as jobs end, and None regularly in between.

        OddframeError if ``start`` raised one in a worker, or several workers died in it.
        """
        waiting = deque(range(len(jobs)))
        try:
            while waiting or any(worker.job is not None for worker in self._workers):
                self._assign(waiting, jobs)
                ready = wait([worker.pipe for worker in self._workers], _POLL_S)
                for worker in [w for w in self._workers if w.pipe in ready or w.is_timed_out()]:
                    answer = worker.read(self.done)
                    if answer is None:
                        continue
                    number = worker.job
                    worker.job = None
                    self.done.pop(-1 if number is None else number, None)
                    if isinstance(answer, WorkerFailure):
                        worker.end()
                        self._workers.remove(worker)
                        if not worker.ready:
                            self._failed_starts += 1
                            if self._failed_starts > _MAX_FAILED_STARTS:
                                raise OddframeError(
                                    "no worker can start: processes die while they start"
                                )
                    if number is not None:
                        yield number, answer
                yield None
        except OddframeError:
            self.end()
            raise
        finally:
            if not self._keep or any(worker.job is not None for worker in self._workers):
                self.end()

    def end(self) -> None:
        """Kill all workers."""
        for worker in self._workers:
            worker.end()
        self._workers = []

    def _assign(self, waiting: deque[int], jobs: Sequence[_JobT]) -> None:
        for worker in self._workers:
            if waiting and worker.ready and worker.job is None:
                worker.assign(waiting.popleft(), jobs)
        starting = sum(not worker.ready for worker in self._workers)
        while len(self._workers) < self._processes and starting < len(waiting):
            self._workers.append(_Worker(self._start, self._timeout_s, self._advice))
            starting += 1


class _Worker(Generic[_JobT]):
    """The parent's side of a worker process."""

    def __init__(
        self, start: Callable[[], WorkFunction[_JobT, Any]], timeout_s: float, advice: str
    ) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.job: int | None = None
        self.ready = False
        self._timeout_s, self._advice = timeout_s, advice
        self._message_s = time.monotonic()  # When the latest message came.
        self._process: BaseProcess = context.Process(
            target=_serve, args=(theirs, start), daemon=True
        )
        # A spawned process imports the main script. One without ``if __name__ == "__main__"`` would
        # start the work once more in each process.
        with block_sigint(), _replaced(sys.modules, "__main__", ModuleType("__main__")):
            self._process.start()
        theirs.close()

    def assign(self, number: int, jobs: Sequence[_JobT]) -> None:
        self.job, self._message_s = number, time.monotonic()
        with suppress(OSError):  # The process died: ``read`` reports it.
            self.pipe.send(jobs[number])

    def is_timed_out(self) -> bool:
        return self.job is not None and time.monotonic() - self._message_s > self._timeout_s

    def read(self, done: dict[int, tuple[int, int | None]]) -> Any:
        """Read one message: None for a heartbeat, else the result or the failure."""
        if not self.pipe.poll():
            return WorkerFailure(describe_timeout(self._timeout_s, self._advice))
        try:
            kind, value = self.pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            return WorkerFailure(describe_exit(self._process.exitcode or 0))
        self._message_s = time.monotonic()
        if kind == "ready":
            self.ready = True
        elif kind == "heartbeat" and self.job is not None:
            done[self.job] = value
        elif kind == "failed":
            raise OddframeError(f"no worker can start: {value}")
        return value if kind == "result" else None

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _serve(pipe: Connection, start: Callable[[], WorkFunction[Any, Any]]) -> None:
    """The main loop of a worker process; it ends when its parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent handles Ctrl-C.
    with suppress(EOFError, OSError):
        try:
            work = start()
        except OddframeError as error:
            pipe.send(("failed", str(error)))
            return
        pipe.send(("ready", None))
        while True:
            job = pipe.recv()
            heartbeat = HeartbeatSender(lambda *progress: pipe.send(("heartbeat", progress)))
            result = work(job, heartbeat)
            heartbeat.stop()
            pipe.send(("result", result))


@contextmanager
def send_heartbeats(heartbeat: Heartbeat) -> Iterator[None]:
    """Send heartbeats during the block, for trusted work that sends none itself."""

    def send() -> None:
        with suppress(OSError):  # The parent has ended: the work finds out itself.
            heartbeat(0, None)

    with call_periodically(2 * HEARTBEAT_S, send):
        yield


@contextmanager
def _replaced(mapping: MutableMapping[str, _ValueT], key: str, value: _ValueT) -> Iterator[None]:
    """Replace an entry of a mapping during the block."""
    before = mapping.get(key)
    mapping[key] = value
    try:
        yield
    finally:
        mapping.pop(key, None)
        if before is not None:
            mapping[key] = before


def threads_per_process(count: int) -> AbstractContextManager[None]:
    """Processes that are started in the block use ``count`` threads each."""
    return _replaced(os.environ, "OMP_NUM_THREADS", str(count))  # PyTorch reads it once.


@contextmanager
def share_cores(processes: int) -> Iterator[None]:
    """Divide the CPU cores among several processes started in the block; do nothing for one."""
    threads = max(1, (os.cpu_count() or 1) // max(1, processes))
    with threads_per_process(threads) if processes > 1 else nullcontext():
        yield


@contextmanager
def block_sigint() -> Iterator[None]:
    """Block SIGINT for processes that are started in the block, which would print tracebacks.

    This process handles Ctrl-C at the end of the block.
    """
    with _delay_sigint():
        if not hasattr(signal, "pthread_sigmask"):  # Windows
            yield
            return
        resource_tracker.ensure_running()  # Its start would unblock the signal again.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _delay_sigint() -> Iterator[None]:
    """Delay the handling of Ctrl-C until the end of the block, in the main thread."""
    if threading.current_thread() is not threading.main_thread():  # It handles no signals.
        yield
        return
    received: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if received:
            signal.raise_signal(signal.SIGINT)
