"""Functions in a child process: its failures are exceptions here, and no process is left over."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import numpy as np
import pytest

from oddframe._utils.child_process import (
    ChildFailedError,
    ChildOutOfMemoryError,
    ChildProcess,
    ChildProcessPool,
)
from oddframe.errors import InputError
from tests.alone import alone


def double(number: float) -> float:
    return 2 * number


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def leave() -> None:
    sys.stderr.write("no such device\n")
    sys.stderr.flush()
    os._exit(7)


def abort_for_memory() -> None:
    sys.stderr.write("terminate called after throwing an instance of 'std::bad_alloc'\n")
    sys.stderr.flush()
    os.abort()


def eat(count: int) -> int:
    return int(np.ones(count, np.uint8).sum())


def refuse() -> None:
    raise InputError("cam.mp4: no video in it")


def fail() -> None:
    raise KeyError("frames")


def sleep(seconds: float) -> str:
    time.sleep(seconds)
    return "awake"


def work(seconds: float, heartbeat: Callable[[], None]) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.1)
        heartbeat()
    return "done"


def echo(count: int) -> Generator[object, object, int]:
    """Yields numbers and each value that is sent; returns how many values were sent."""
    said = 0
    for number in range(count):
        reply = yield number
        while reply is not None:
            said += 1
            reply = yield reply
    return said


def until_closed(folder: Path) -> Generator[int, None, None]:
    try:
        yield from range(1000)
    finally:
        (folder / "closed").write_text("yes")


def pid() -> int:
    return os.getpid()


def arrays() -> Iterator[np.ndarray]:
    yield np.arange(1_000_000, dtype=np.float32).reshape(1000, 1000)
    yield np.zeros((0, 3), np.uint8)
    yield np.arange(12).reshape(3, 4).T


@pytest.fixture
def child() -> Iterator[ChildProcess]:
    child = ChildProcess(memory_bytes=1_000_000_000, timeout_s=60)
    yield child
    child.kill()


def call(child: ChildProcess, function: Callable[..., object], *args: object) -> object:
    running = child.run(function, *args)
    with pytest.raises(StopIteration) as end:
        next(running)
    return end.value.value


def test_functions_run_one_after_another_in_one_process(child: ChildProcess) -> None:
    assert call(child, double, 21) == 42
    assert call(child, pid) == call(child, pid) != os.getpid()
    with pytest.raises(InputError, match=r"cam\.mp4: no video in it"):
        next(child.run(refuse))
    assert call(child, double, 4) == 8


def test_the_child_follows_the_working_folder_of_the_parent(
    child: ChildProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path, Path(__file__).parent):
        monkeypatch.chdir(folder)
        assert call(child, os.getcwd) == str(folder)


def test_items_and_replies_are_exchanged(child: ChildProcess) -> None:
    running = child.run(echo, 3)
    assert next(running) == 0
    assert running.send("a") == "a"
    assert running.send("b") == "b"
    assert next(running) == 1
    assert next(running) == 2
    with pytest.raises(StopIteration) as end:
        next(running)
    assert end.value.value == 2


def test_arrays_are_transferred_unchanged(child: ChildProcess) -> None:
    for found, wanted in zip(child.run(arrays), arrays(), strict=True):
        assert found.dtype == wanted.dtype
        assert np.array_equal(found, wanted)
        assert found.flags.writeable


def test_closing_ends_the_function_and_keeps_the_process(
    child: ChildProcess, tmp_path: Path
) -> None:
    before = call(child, pid)
    running = child.run(until_closed, tmp_path)
    assert next(running) == 0
    running.close()
    assert (tmp_path / "closed").read_text() == "yes"
    assert call(child, pid) == before


@pytest.mark.parametrize(
    ("function", "words"),
    [(crash, "ended by SIGSEGV"), (leave, r"exit code 7\): no such device")],
)
def test_a_crash_raises_an_exception(
    child: ChildProcess, function: Callable[[], None], words: str
) -> None:
    with pytest.raises(ChildFailedError, match=words):
        next(child.run(function))
    assert not child.is_usable


def test_an_exception_keeps_its_type(child: ChildProcess) -> None:
    with pytest.raises(KeyError, match="frames"):
        next(child.run(fail))


def test_a_function_times_out_unless_it_sends_heartbeats() -> None:
    child = ChildProcess(memory_bytes=1_000_000_000, timeout_s=2)
    assert call(child, work, 4.0) == "done"
    with pytest.raises(ChildFailedError, match="no progress for 2 s"):
        next(child.run(sleep, 1000.0))
    assert not child.is_usable


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts memory as Linux does")
def test_memory_is_limited() -> None:
    child = ChildProcess(memory_bytes=100_000_000, timeout_s=60)
    assert call(child, eat, 50_000_000) == 50_000_000
    with pytest.raises(ChildOutOfMemoryError, match=r"more than 0\.1 GB"):
        next(child.run(eat, 500_000_000))
    with pytest.raises(ChildOutOfMemoryError, match=r"more than 0\.1 GB"):
        next(child.run(abort_for_memory))


def test_a_pool_keeps_processes_and_replaces_dead_ones() -> None:
    pool = ChildProcessPool(max_idle=1)
    try:
        with pool.lease(10**9, 60) as first, pool.lease(10**9, 60) as second:
            pids = {call(first, pid), call(second, pid)}
            assert len(pids) == 2
        with pool.lease(10**9, 60) as kept:
            assert call(kept, pid) in pids
            with pytest.raises(ChildFailedError):
                next(kept.run(crash))
        with pool.lease(10**9, 60) as new:
            assert call(new, pid) not in pids
            before = call(new, pid)
        with pool.lease(2 * 10**9, 60) as other:  # Other limits need another process.
            assert call(other, pid) != before
    finally:
        pool.close()


IMPORTS = (
    "import signal, sys",
    "from oddframe._utils.child_process import ChildProcess",
    "from tests.test_child_process import pid, sleep",
)


def test_ctrl_c_ends_waiting_and_the_child(tmp_path: Path) -> None:
    run = alone(
        tmp_path,
        IMPORTS,
        "signal.signal(signal.SIGINT, signal.default_int_handler)",
        "child = ChildProcess(10**9, 60)",
        "try: next(child.run(pid))",
        "except StopIteration as end: print(end.value, flush=True)",
        "try: next(child.run(sleep, 1000.0))",
        "except KeyboardInterrupt: print('interrupted', child.is_usable, flush=True)",
    )
    assert run.stdout is not None
    number = int(run.stdout.readline())
    os.kill(number, signal.SIGINT)  # The child ignores it.
    time.sleep(0.5)
    os.killpg(run.pid, signal.SIGINT)
    assert run.communicate(timeout=120) == (b"interrupted False\n", b"")
    assert gone(number)


@pytest.mark.parametrize("function", ["sleep, 1000.0", "pid"])
def test_the_child_ends_when_its_parent_is_killed(tmp_path: Path, function: str) -> None:
    run = alone(
        tmp_path,
        IMPORTS,
        "child = ChildProcess(10**9, 10**6)",
        "try: next(child.run(pid))",
        "except StopIteration as end: print(end.value, flush=True)",
        f"next(child.run({function}), None); sleep(1000.0)",
    )
    assert run.stdout is not None
    number = int(run.stdout.readline())
    run.kill()
    run.wait()
    run.stdout.close()
    assert gone(number)


def gone(number: int) -> bool:
    for _ in range(200):
        if not Path(f"/proc/{number}").exists():
            return True
        time.sleep(0.1)
    os.kill(number, signal.SIGKILL)
    return False
