"""How long-running work reports to whoever started it: one progress callback, one for messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class ProgressCallback(Protocol):
    """``progress(done, total, text)``, called while work goes on.

    ``total`` is None where it is not known. ``text`` names what is done, as ``scoring`` or
    ``features: cam3.mp4``: the stage, and after a colon its latest item. The callback may raise:
    the work then stops and passes the exception on, as it does for Ctrl-C.
    """

    def __call__(self, done: int, total: int | None, text: str, /) -> None:
        """Report that ``done`` of ``total`` items are done."""


MessageCallback = Callable[[str], None]
"""Called with one line for a person to read: a warning, or what was chosen and why."""


def ignore_progress(done: int, total: int | None, text: str, /) -> None:
    """Report nothing."""


def ignore_message(line: str, /) -> None:
    """Report nothing."""


def stage_progress(progress: ProgressCallback | None, stage: str) -> ProgressCallback:
    """A callback for one stage of the work: puts ``stage`` in front of each text."""
    if progress is None:
        return ignore_progress

    def report(done: int, total: int | None, text: str = "", /) -> None:
        progress(done, total, f"{stage}: {text}" if text else stage)

    return report
