"""Threads of the processes that a process starts, so that together they take no more than there is.

A process looks at ``OMP_NUM_THREADS`` when it loads its networks, and has it from who started it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_NAME = "OMP_NUM_THREADS"


@contextmanager
def threads_each(count: int) -> Iterator[None]:
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
def share_of_cores(processes: int) -> Iterator[None]:
    """Of several processes that are started in here each gets its share; one is left alone."""
    if processes <= 1:
        yield
        return
    with threads_each(max(1, (os.cpu_count() or 1) // processes)):
        yield
