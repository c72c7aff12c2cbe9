"""Ctrl-C in a program of several processes: the one that started the others answers it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker


@contextmanager
def block_sigint() -> Iterator[None]:
    """Processes that are started in here ignore Ctrl-C, also before they run our code.

    This process handles it when all of them are started: one that is still starting would write a
    traceback of its own.
    """
    with _afterwards():
        if not hasattr(signal, "pthread_sigmask"):  # Windows
            yield
            return
        resource_tracker.ensure_running()  # Its own start lets signals through again.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _afterwards() -> Iterator[None]:
    """Delay Ctrl-C until the end of the block, whatever the thread."""
    if threading.current_thread() is not threading.main_thread():  # Signals are its business.
        yield
        return
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if heard:
            signal.raise_signal(signal.SIGINT)
