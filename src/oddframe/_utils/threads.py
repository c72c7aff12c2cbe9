"""Limits the threads of child processes, and calls a function periodically in a thread.

A child process inherits ``OMP_NUM_THREADS`` and reads it when it loads PyTorch.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_VARIABLE = "OMP_NUM_THREADS"


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
def call_periodically(every_s: float, function: Callable[[], object]) -> Iterator[None]:
    """Call ``function`` every ``every_s`` seconds in a thread until the block ends."""
    stopped = threading.Event()

    def work() -> None:
        while not stopped.wait(every_s):
            function()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
