"""What people write of when something happens: ``3.2-5.0; 7-9``, ``1:05-1:20``."""

from __future__ import annotations

import re

from oddframe.datasets.labelled import Intervals
from oddframe.errors import InputError

_TIME = r"(?:\d+:)?(?:\d+:)?\d+(?:\.\d*)?"
# The dashes that spreadsheets and word processors put in place of a hyphen count as one.
_INTERVAL = re.compile(rf"\s*({_TIME})\s*[-–—]\s*({_TIME})\s*")  # noqa: RUF001


def parse_intervals(text: str) -> Intervals:
    """Intervals in seconds from ``3.2-5.0; 7-9``: sorted, those that overlap or touch joined.

    A time is in seconds, ``m:ss`` or ``h:mm:ss``; intervals stand apart by semicolons.

    Raises:
        InputError: something else stands there, or an interval ends before it starts.
    """
    joined: list[tuple[float, float]] = []
    for start, end in sorted(_interval(part) for part in text.split(";") if part.strip()):
        if joined and start <= joined[-1][1]:
            start, before = joined.pop()
            end = max(before, end)
        joined.append((start, end))
    return tuple(joined)


def _interval(text: str) -> tuple[float, float]:
    found = _INTERVAL.fullmatch(text)
    if found is None:
        raise InputError(f'"{text.strip()}" is no interval; write seconds, as in 3.2-5.0; 7-9')
    start, end = (_seconds(time) for time in found.groups())
    if end <= start:
        raise InputError(f'the interval "{text.strip()}" ends before it starts')
    return start, end


def _seconds(text: str) -> float:
    total = 0.0
    for part in text.split(":"):
        total = 60 * total + float(part)
    return total
