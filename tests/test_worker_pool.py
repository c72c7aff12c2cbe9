"""Worker processes: one that dies, hangs or exceeds its memory limit fails one job only."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from oddframe._utils.child_process import limit_memory
from oddframe._utils.worker_pool import Heartbeat, WorkerFailure, WorkerPool, send_heartbeats
from oddframe.errors import InputError, OddframeError
from tests.alone import alone


class Worker:
    """Does what the name of the job says."""

    def __call__(self, job: str, heartbeat: Heartbeat) -> str:
        match job:
            case "hang":
                time.sleep(1000)
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "leave":
                os._exit(7)
            case "beat":
                for _ in range(8):
                    time.sleep(0.5)
                    heartbeat(1, 2)
            case "load":
                with send_heartbeats(heartbeat):
                    time.sleep(4)
            case "eat":
                limit_memory(50_000_000)
                try:
                    return str(len(bytes(500_000_000)))
                except MemoryError:
                    return "refused"
        return f"{job} done"


def refuse() -> Worker:
    raise InputError("weights.bin: cannot be read")


def test_failures_of_some_jobs_do_not_affect_the_others() -> None:
    jobs = ["a", "crash", "hang", "beat", "leave", "load", "b"]
    pool: WorkerPool[str, str] = WorkerPool(Worker, 2, timeout_s=2.5)
    results = dict(result for result in pool.run(jobs) if result is not None)
    assert sorted(results) == list(range(len(jobs)))
    assert [results[i] for i in (0, 3, 5, 6)] == ["a done", "beat done", "load done", "b done"]
    reasons = {jobs[i]: a.reason for i, a in results.items() if isinstance(a, WorkerFailure)}
    assert "SIGSEGV" in reasons["crash"]
    assert "for 2.5 s" in reasons["hang"]
    assert "exit code 7" in reasons["leave"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts memory as Linux does")
def test_memory_is_limited() -> None:
    results = [a for a in WorkerPool(Worker, 1, timeout_s=60).run(["eat"]) if a is not None]
    assert results == [(0, "refused")]


def test_an_error_at_the_start_is_raised_once() -> None:
    with pytest.raises(OddframeError, match=r"weights\.bin: cannot be read"):
        list(WorkerPool(refuse, 2, timeout_s=60).run(["a", "b", "c"]))


class Interrupted:
    """Sends Ctrl-C to this process while it is pickled for a worker."""

    def __call__(self) -> Worker:
        return Worker()

    def __getstate__(self) -> dict[str, object]:
        os.kill(os.getpid(), signal.SIGINT)
        return self.__dict__


IMPORTS = (
    "import signal",
    "from oddframe._utils.worker_pool import WorkerPool",
    "from tests.test_worker_pool import Interrupted, Worker",
)


def test_ctrl_c_is_handled_after_a_worker_is_started(tmp_path: Path) -> None:
    run = alone(
        tmp_path,
        IMPORTS,
        "signal.signal(signal.SIGINT, signal.default_int_handler)",
        "try:",
        "    print(list(WorkerPool(Interrupted(), 1, timeout_s=60).run(['well'])))",
        "except KeyboardInterrupt:",
        "    print('heard')",
    )
    assert run.communicate(timeout=120) == (b"heard\n", b"")


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    run = alone(
        tmp_path,
        IMPORTS,
        "pool = WorkerPool(Worker, 1, timeout_s=60)",
        "for result in pool.run(['beat'] * 9):",
        "    if pool.done:",
        "        print(pool._workers[0]._process.pid, flush=True)",
    )
    assert run.stdout is not None
    worker = int(run.stdout.readline())
    run.kill()
    run.wait()
    run.stdout.close()
    for _ in range(300):
        if not Path(f"/proc/{worker}").exists():
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the process went on alone")


class DiesOnce:
    """Kills its process the first ``times`` times, then starts a worker."""

    def __init__(self, mark: Path, times: int = 1) -> None:
        self.mark, self.times = mark, times

    def __call__(self) -> Worker:
        tried = len(self.mark.read_text()) if self.mark.exists() else 0
        if tried < self.times:
            self.mark.write_text("x" * (tried + 1))
            os.kill(os.getpid(), signal.SIGKILL)
        return Worker()


def test_a_worker_that_dies_while_starting_is_started_again(tmp_path: Path) -> None:
    start = DiesOnce(tmp_path / "tried")
    results = [a for a in WorkerPool(start, 1, timeout_s=60).run(["a", "b"]) if a is not None]
    assert results == [(0, "a done"), (1, "b done")]
    with pytest.raises(OddframeError, match="processes die while they start"):
        list(WorkerPool(DiesOnce(tmp_path / "all", 100), 1, timeout_s=60).run(["a"]))
