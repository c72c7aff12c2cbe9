"""Work in supervised processes: one that dies, hangs or takes all memory is replaced.

A decoder is half a million lines of C that read untrusted files. So it runs in a process
that may take so much memory and be silent for so long; else the process is ended, its video is
given up with the reason, and a fresh process goes on with the next.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from oddframe._utils.child_process import describe_exit, describe_timeout
from oddframe._utils.signals import block_sigint
from oddframe._utils.threads import call_periodically
from oddframe.errors import OddframeError

_JobT = TypeVar("_JobT")
_ResultT = TypeVar("_ResultT")

# Tells of work done so far: (done, expected or None).
Heartbeat = Callable[[int, int | None], None]
WorkFunction = Callable[[_JobT, Heartbeat], _ResultT]

_TELL_S = 0.2
# A process that dies while it starts, as one that the system ends for its memory, is started again.
_MOST_FAILED_STARTS = 3
_POLL_S = 0.5


@dataclass(frozen=True)
class WorkerFailure:
    """Stands for the result of a job whose process was ended or died; ``reason`` says why."""

    reason: str


class WorkerPool(Generic[_JobT, _ResultT]):
    """Runs jobs in up to ``joined_processes`` processes.

    Args:
        start: Called once in each process; gives what is then called with each job and a beat. It
            and the jobs must be picklable.
        processes: How many at a time.
        silence_s: Seconds without a beat after which a job is given up.
        keep: Leave the processes ready for another run, until ``end``.
        advice: What to do about a job that was given up.
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
        self._start, self._processes, self._silence_s = start, processes, timeout_s
        self._keep, self._advice = keep, advice
        self._workers: list[_Worker[_JobT]] = []
        self._failed_starts = 0
        self.done: dict[int, tuple[int, int | None]] = {}  # By a running job's number.

    def run(self, jobs: Sequence[_JobT]) -> Iterator[tuple[int, _ResultT | WorkerFailure] | None]:
        """(number of a job, what became of it) as they end; None now and then in between.

        Raises:
            OddframeError: ``start`` did, in a process; or several processes died in it.
        """
        waiting = deque(range(len(jobs)))
        try:
            while waiting or any(worker.job is not None for worker in self._workers):
                self._staff(waiting, jobs)
                for worker in self._heard_from():
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
                            self._count_failed_start(answer, refused=worker.refused)
                    if number is not None:
                        yield number, answer
                yield None
        finally:
            if not self._keep or any(worker.job is not None for worker in self._workers):
                self.end()

    def _count_failed_start(self, answer: WorkerFailure, *, refused: bool) -> None:
        self._failed_starts += 1
        if refused:
            raise OddframeError(f"nothing can be done: {answer.reason}")
        if self._failed_starts > _MOST_FAILED_STARTS:
            raise OddframeError("nothing can be done: processes die while they start")

    def end(self) -> None:
        """End all processes."""
        for worker in self._workers:
            worker.end()
        self._workers = []

    def _staff(self, waiting: deque[int], jobs: Sequence[_JobT]) -> None:
        for worker in self._workers:
            if waiting and worker.ready and worker.job is None:
                worker.give(waiting.popleft(), jobs)
        starting = sum(not worker.ready for worker in self._workers)
        while len(self._workers) < self._processes and starting < len(waiting):
            self._workers.append(_Worker(self._start, self._silence_s, self._advice))
            starting += 1

    def _heard_from(self) -> list[_Worker[_JobT]]:
        """Those that said something, and those that have been silent for too long."""
        heard = wait([worker.pipe for worker in self._workers], _POLL_S)
        return [w for w in self._workers if w.pipe in heard or w.is_silent()]


class _Worker(Generic[_JobT]):
    """A process, seen from outside."""

    def __init__(
        self, start: Callable[[], WorkFunction[_JobT, Any]], timeout_s: float, advice: str
    ) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.job: int | None = None
        self.ready = self.refused = False
        self._silence_s, self._advice = timeout_s, advice
        self._heard = time.monotonic()
        self._process: BaseProcess = context.Process(
            target=_serve, args=(theirs, start), daemon=True
        )
        with block_sigint():
            self._process.start()
        theirs.close()

    def give(self, number: int, jobs: Sequence[_JobT]) -> None:
        self.job, self._heard = number, time.monotonic()
        with suppress(OSError):  # It died: reading says so.
            self.pipe.send(jobs[number])

    def is_silent(self) -> bool:
        return self.job is not None and time.monotonic() - self._heard > self._silence_s

    def read(self, done: dict[int, tuple[int, int | None]]) -> Any:
        """What came: None for a beat, else the result or why there is none."""
        if not self.pipe.poll():
            return WorkerFailure(describe_timeout(self._silence_s, self._advice))
        try:
            kind, value = self.pipe.recv()
        except (EOFError, OSError):
            return WorkerFailure(self._death())
        self._heard = time.monotonic()
        if kind == "ready":
            self.ready = True
        elif kind == "beat" and self.job is not None:
            done[self.job] = value
        elif kind == "failed":
            self.refused = True
            return WorkerFailure(value)
        return value if kind == "result" else None

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()

    def _death(self) -> str:
        self._process.join()
        return describe_exit(self._process.exitcode or 0)


def _serve(pipe: Connection, start: Callable[[], WorkFunction[Any, Any]]) -> None:
    """The main loop of a process; it ends when its parent ends."""
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
            beat = _HeartbeatSender(pipe)
            result = work(job, beat)
            beat.stop()
            pipe.send(("result", result))


class _HeartbeatSender:
    """Sends what is done, not too often, whichever thread it is done in."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._lock = pipe, threading.Lock()
        self._told, self._stopped = 0.0, False

    def __call__(self, done: int, expected: int | None) -> None:
        with self._lock:
            now = time.monotonic()
            if not self._stopped and now - self._told >= _TELL_S:
                self._told = now
                self._pipe.send(("beat", (done, expected)))

    def stop(self) -> None:
        with self._lock:
            self._stopped = True


@contextmanager
def send_heartbeats(heartbeat: Heartbeat) -> Iterator[None]:
    """Send heartbeats during trusted work that sends none itself."""

    def act() -> None:
        with suppress(OSError):  # The parent has ended: the work finds out itself.
            heartbeat(0, None)

    with call_periodically(2 * _TELL_S, act):
        yield
