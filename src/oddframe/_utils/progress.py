"""How long-running work reports to its caller: a progress callback, and one for messages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class ProgressCallback(Protocol):
    """``progress(done, total, text)``, called while work goes on.

    ``text`` names the stage and, after a colon, its latest item: ``features: cam3.mp4``. The
    callback may raise an exception: the work then stops as it does for Ctrl-C.
    """

    def __call__(self, done: int, total: int | None, text: str, /) -> None:
        """Report that ``done`` of ``total`` items are done."""


class StageProgress(Protocol):
    """A progress callback for one stage, whose text is only the latest item, or nothing."""

    def __call__(self, done: int, total: int | None, text: str = "", /) -> None:
        """Report that ``done`` of ``total`` items are done."""


MessageCallback = Callable[[str], None]
"""Called with one line for a person to read: a warning, or what was chosen and why."""


def ignore_progress(done: int, total: int | None, text: str = "", /) -> None:
    """Report nothing."""


def ignore_message(line: str, /) -> None:
    """Report nothing."""


def stage_progress(progress: ProgressCallback | None, stage: str) -> StageProgress:
    """A callback for one stage of the work: puts ``stage`` in front of each text."""
    if progress is None:
        return ignore_progress

    def report(done: int, total: int | None, text: str = "", /) -> None:
        progress(done, total, f"{stage}: {text}" if text else stage)

    return report


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
