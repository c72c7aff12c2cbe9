"""How long a search may take: what was asked for, what is left, and what a training takes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from oddframe.errors import UsageError

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_MOST_S = 366 * 24 * 3600.0
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?[hms])+")
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)([hms])")


def seconds(text: str) -> float:
    """``10m``, ``1h``, ``90s``, ``1h30m`` in seconds.

    Raises:
        UsageError: it is none of that, or nothing.
    """
    plain = text.strip().lower().replace(" ", "")
    total = 0.0
    if _DURATION.fullmatch(plain):
        total = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(plain))
    if not 0 < total <= _MOST_S:
        raise UsageError(
            f"a budget is a time such as 10m, 1h or 1h30m, at most a year, not '{text:.40}'"
        )
    return total


def duration(seconds: float) -> str:
    """``14 s``, ``3 min``, ``1.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


@dataclass(frozen=True)
class Pace:
    """What a training takes on this machine, measured: a fixed time, and a time a step (s)."""

    fixed_s: float
    step_s: float

    def of(self, steps: int) -> float:
        """Seconds that a training of ``steps`` steps takes."""
        return self.fixed_s + steps * self.step_s


class Stopwatch:
    """Measures the pace of one training from its steps."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._began = clock()
        self._steps: list[float] = []

    def step(self) -> None:
        """A step is done."""
        self._steps.append(self._clock())

    @property
    def elapsed(self) -> float:
        """Seconds since it was made."""
        return self._clock() - self._began

    def pace(self) -> Pace:
        """The time between the first and the last step is the steps', all else is fixed.

        Raises:
            ValueError: fewer than two steps were told of.
        """
        if len(self._steps) < 2:
            raise ValueError("a pace is measured between two steps")
        steps = self._steps[-1] - self._steps[0]
        step_s = steps / (len(self._steps) - 1)
        return Pace(max(0.0, self.elapsed - steps - step_s), step_s)


class Budget:
    """Seconds of the clock that may be used from now on."""

    def __init__(self, total_s: float, clock: Callable[[], float] = time.monotonic):
        self.total_s = total_s
        self._clock = clock
        self._ends = clock() + total_s

    @property
    def left(self) -> float:
        """Seconds that are left; below 0 when it is overrun."""
        return self._ends - self._clock()

    def spend(self, spent_s: float) -> None:
        """Take off what was used before: by the run that this one goes on from."""
        self._ends -= spent_s
