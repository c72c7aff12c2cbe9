"""Runs a generator in a thread of its own, a few items ahead of who reads it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

# How long a finished reader waits for the thread to notice, at most.
_POLL_S = 0.05
# A reader to whom nothing comes is asked so often (s) how long it means to wait.
LOOK_S = 1.0


@dataclass(frozen=True)
class _End:
    error: BaseException | None


def in_background(
    items: Generator[T, None, None], depth: int, waiting: Callable[[], None] = lambda: None
) -> Iterator[T]:
    """The items of ``items``, made in a background thread, at most ``depth`` of them ahead.

    An error in ``items`` is raised here. When the reader stops early, by closing this generator or
    by an exception such as Ctrl-C, the thread ends and ``items`` is closed.

    Args:
        items: What to make.
        depth: How many may be ahead.
        waiting: Is called every ``LOOK_S`` while nothing comes. What it raises ends the reading
            and leaves the thread to itself: it may never come back.
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
    given_up = False
    try:
        while True:
            try:
                item = ready.get(timeout=LOOK_S)
            except queue.Empty:
                try:
                    waiting()
                except Exception:
                    given_up = True
                    raise
                continue
            if isinstance(item, _End):
                break
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        if not given_up:
            thread.join()
