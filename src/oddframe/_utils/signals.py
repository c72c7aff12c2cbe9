"""Ctrl-C in a program of several processes: only the parent process handles it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker


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
