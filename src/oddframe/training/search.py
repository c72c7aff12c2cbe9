"""A small, stated grid, tried on validation videos for as long as the budget lasts.

What a search has tried, line by line on disk, so that an interrupted one goes on.

How long a search may take: what was asked for, what is left, and what a training takes.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oddframe._utils.files import (
    exists,
    json_text,
    open_regular_file,
    translate_os_errors,
    write_text,
)
from oddframe.errors import OddframeError, UsageError
from oddframe.training.config import TrainConfig, mirrored_section


@dataclass(frozen=True)
class SearchSetting:
    """What the search chooses."""

    lr: float
    steps: int
    mirrored: bool

    def of(self, config: TrainConfig) -> TrainConfig:
        """``config`` with this setting."""
        seen = config.training_features.model_copy(update={"mirrored": self.mirrored})
        changed = config.with_recipe(lr=self.lr, steps=self.steps)
        return changed.model_copy(update={"training_features": seen})

    def __str__(self) -> str:
        views = "mirrored pictures too" if self.mirrored else "pictures as they are"
        return f"learning rate {self.lr:g}, {self.steps} steps, {views}"


@dataclass(frozen=True)
class Trial:
    """One training of a setting.

    Attributes:
        setting: The setting.
        fold: Number of the validation fold.
        figure: What it reached on that fold, in [0, 1].
        seconds: What it took.
        step_s: Seconds of that a step.
    """

    setting: SearchSetting
    fold: int
    figure: float
    seconds: float
    step_s: float


@dataclass(frozen=True)
class SkippedSetting:
    """A setting that was not tried on a fold, and why."""

    setting: SearchSetting
    fold: int
    reason: str


@dataclass(frozen=True)
class SearchResult:
    """A grid and what was seen of it.

    Attributes:
        figure: Name of what was compared, ``video_auc``.
        grid: All settings, in the order in which they are tried; the first is the configured one.
        trials: What was compared.
        left_out: What was not tried.
        chosen: The setting with the best mean among those that went furthest.
    """

    figure: str
    grid: tuple[SearchSetting, ...]
    trials: tuple[Trial, ...]
    left_out: tuple[SkippedSetting, ...]
    chosen: SearchSetting

    def mean(self, setting: SearchSetting) -> float | None:
        """Mean figure of a setting over its folds; None: it was not tried."""
        found = [trial.figure for trial in self.trials if trial.setting == setting]
        return float(np.mean(found)) if found else None


def make_grid(config: TrainConfig, *, views: bool = True) -> tuple[SearchSetting, ...]:
    """All settings of ``config.search``, each once: views outermost, then steps, then rates.

    Args:
        config: Says the factors, and the recipe that they are of.
        views: Whether mirrored pictures can be had.
    """
    recipe, wanted = config.full_recipe(), config.search
    seen = config.training_features.mirrored
    sections = config.training_views().values()
    more = any(set(mirrored_section(section).crops) - set(section.crops) for section in sections)
    both = wanted.mirrored and views and more and not seen and not config.features.grid_kind
    settings = [
        SearchSetting(float(f"{lr * recipe.lr:.3g}"), max(1, round(steps * recipe.steps)), mirror)
        for mirror in ((seen, True) if both else (seen,))
        for steps in wanted.steps
        for lr in wanted.lr
    ]
    return tuple(dict.fromkeys(settings))


def successive_halving(
    settings: Sequence[SearchSetting],
    folds: int,
    run_trial: Callable[[SearchSetting, int], Trial],
    reason_to_skip: Callable[[SearchSetting, int], str | None],
    figure: str,
) -> SearchResult:
    """Try all settings on the first fold, the better half of them on the next, and so on.

    Settings are compared on equal terms, whenever the time is up: by their means over the same
    folds. A later fold that not all of those left could be tried on does not count. Of equal ones
    the first in order is taken.

    Args:
        settings: At least one.
        folds: Number of validation folds.
        run_trial: Trains a setting without a fold, and measures it on it.
        reason_to_skip: Why a setting cannot be tried on a fold, or None.
        figure: Name of what ``attempt`` measures.
    """
    figures: dict[SearchSetting, list[float]] = {setting: [] for setting in settings}
    trials: list[Trial] = []
    left_out: list[SkippedSetting] = []
    left = list(settings)
    for fold in range(folds):
        tried: list[Trial] = []
        for setting in left:
            if reason := reason_to_skip(setting, fold):
                left_out.append(SkippedSetting(setting, fold, reason))
            else:
                tried.append(run_trial(setting, fold))
        whole = len(tried) == len(left)
        if not tried or (fold > 0 and not whole):
            break
        trials += tried
        for trial in tried:
            figures[trial.setting].append(trial.figure)
        # Stable: of equal ones, those that come first in the grid.
        ranked = sorted((t.setting for t in tried), key=lambda s: -np.mean(figures[s]))
        left = ranked[: (len(ranked) + 1) // 2]
        if not whole or len(left) == 1:
            break
    return SearchResult(figure, tuple(settings), tuple(trials), tuple(left_out), left[0])


class TrialLog:
    """Trials by a key that says all that a trial depends on; kept as JSON lines.

    A line that was cut off when the process was killed is dropped: its trial is done again.

    Raises:
        OddframeError: the file cannot be read or written.
    """

    def __init__(self, path: Path):
        self.path = path
        self._trials: dict[str, Trial] = {}
        text = ""
        if exists(path):
            with translate_os_errors(path), open_regular_file(path, OddframeError) as file:
                text = file.read().decode(errors="replace")
        for line in text.splitlines():
            try:
                row = json.loads(line)
                key, setting = row.pop("key"), SearchSetting(**row.pop("setting"))
                self._trials[key] = Trial(setting, **row)
            except (ValueError, KeyError, TypeError):
                continue

    def __len__(self) -> int:
        return len(self._trials)

    def get(self, key: str) -> Trial | None:
        """The trial of that key, if it was done."""
        return self._trials.get(key)

    def add(self, key: str, trial: Trial) -> None:
        """Keep a trial."""
        self._trials[key] = trial
        rows = [
            {**vars(each), "setting": vars(each.setting), "key": name}
            for name, each in self._trials.items()
        ]
        write_text(self.path, "".join(json_text(row, nan_is_null=False) + "\n" for row in rows))


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_MOST_S = 366 * 24 * 3600.0
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?[hms])+")
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)([hms])")


def parse_time_budget(text: str) -> float:
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


def format_time_budget(seconds: float) -> str:
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
        """Seconds that a training of ``step_curve`` steps takes."""
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
