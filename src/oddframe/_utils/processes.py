"""How worker processes start: with few threads, without Ctrl-C and without the main script."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import ModuleType

_VARIABLE = "OMP_NUM_THREADS"  # A process reads it when it loads PyTorch.


@contextmanager
def threads_per_process(count: int) -> Iterator[None]:
    """Processes that are started in the block use ``count`` threads each."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = str(count)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = before


@contextmanager
def share_cores(processes: int) -> Iterator[None]:
    """Divide the CPU cores among several processes started in the block; do nothing for one."""
    if processes <= 1:
        yield
        return
    with threads_per_process(max(1, (os.cpu_count() or 1) // processes)):
        yield


@contextmanager
def block_sigint() -> Iterator[None]:
    """Block SIGINT for processes that are started in the block, from their first instruction on.

    Otherwise a process that is still starting would print its own traceback. This process handles
    Ctrl-C at the end of the block.
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


@contextmanager
def hidden_main_module() -> Iterator[None]:
    """Keep processes that ``multiprocessing`` spawns in this block from running the main script.

    A spawned process imports the main script again. A script without ``if __name__ ==
    "__main__"`` would then start the work once more in each process, and fail. What the processes
    are given must not be defined in the main script.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
