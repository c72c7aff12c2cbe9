"""Threads of the processes that a process starts, so that together they take no more than there is.

A process looks at ``OMP_NUM_THREADS`` when it loads its networks, and has it from who started it.

Something done again and again while something else goes on.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_NAME = "OMP_NUM_THREADS"


@contextmanager
def threads_per_process(count: int) -> Iterator[None]:
    """Processes that are started in here take so many threads each."""
    before = os.environ.get(_NAME)
    os.environ[_NAME] = str(count)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_NAME, None)
        else:
            os.environ[_NAME] = before


@contextmanager
def share_cores(processes: int) -> Iterator[None]:
    """Of several processes that are started in here each gets its share; one is left alone."""
    if processes <= 1:
        yield
        return
    with threads_per_process(max(1, (os.cpu_count() or 1) // processes)):
        yield


@contextmanager
def call_periodically(every_s: float, act: Callable[[], object]) -> Iterator[None]:
    """Call ``act`` every ``every_s`` seconds in a thread until the block ends."""
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(every_s):
            act()

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
