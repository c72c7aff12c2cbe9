"""Runs a generator in a thread of its own, a few items ahead of who reads it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

# How long a finished reader waits for the thread to notice, at most.
_POLL_S = 0.05


@dataclass(frozen=True)
class _End:
    error: BaseException | None


def in_background(items: Generator[T, None, None], depth: int) -> Iterator[T]:
    """The items of ``items``, made in a background thread, at most ``depth`` of them ahead.

    An error in ``items`` is raised here. When the reader stops early, by closing this generator or
    by an exception such as Ctrl-C, the thread ends and ``items`` is closed.

    Args:
        items: What to make.
        depth: How many may be ahead.
    """
    ready: queue.Queue[T | _End] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: T | _End) -> None:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return

    def work() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    break
        except BaseException as caught:
            error = caught
        finally:
            items.close()
        put(_End(error))

    thread = threading.Thread(target=work, name="oddframe-decoder", daemon=True)
    thread.start()
    try:
        while not isinstance(item := ready.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        thread.join()
