"""How long a league will take: a few steps of every method first, then what trainings took."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from oddframe.errors import OddframeError
from oddframe.experiments.league import Heat
from oddframe.experiments.reproduce_grid import known
from oddframe.experiments.reproduce_session import Session
from oddframe.experiments.reproduce_train import Task, train

# Two trainings of so many steps tell what is fixed from what every step takes.
_FEW, _MORE = 2, 6


def pace(task: Task, session: Session) -> float:
    """Seconds that ``task`` will take, by two short trainings of it; 0 if it cannot be trained."""
    steps = task.config.recipe.steps
    try:
        few, more = (_seconds(task, session, n) for n in (_FEW, _MORE))
    except (OddframeError, RuntimeError, ValueError):  # Its own training will say why.
        return 0.0
    if task.config.chosen_method()[0].stepless:
        return few
    step = max(0.0, more - few) / (_MORE - _FEW)
    return few + (steps - _FEW) * step


def _seconds(task: Task, session: Session, steps: int) -> float:
    part = next(
        part for part in session.parts if (part.repeat, part.fold) == (task.repeat, task.fold)
    )
    short = replace(task, config=task.config.with_recipe(steps=steps))
    with TemporaryDirectory() as folder:
        began = time.monotonic()
        train(short, part, replace(session.setting, folder=Path(folder)))
        return time.monotonic() - began


@dataclass
class Clock:
    """Seconds a training of each row, guessed first, then measured."""

    heats: Sequence[Heat]
    jobs: int = 1
    guessed: dict[str, float] = field(default_factory=dict)
    taken: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def guess(self, told: Callable[[str, float, int], None]) -> None:
        """Time one training of each row that has some to do; ``told`` its name, seconds, number.

        A row that was trained before takes what it took then.
        """
        for heat in self.heats:
            for task in heat.tasks:
                if (training := known(task, heat.session.setting)) is not None:
                    self.done(task.name, training.seconds)
            todo = heat.missing
            for name in dict.fromkeys(task.name for task in todo):
                own = [task for task in todo if task.name == name]
                if name not in self.taken:
                    self.guessed[name] = pace(own[0], heat.session)
                told(name, self._of(name), len(own))

    def todo(self) -> list[Task]:
        """The trainings that are not there yet."""
        return [task for heat in self.heats for task in heat.missing]

    def done(self, name: str, seconds: float) -> None:
        """A training took so long."""
        self.taken[name].append(seconds)

    def left(self, todo: Sequence[Task]) -> float:
        """Seconds that these trainings will take."""
        return sum(self._of(task.name) for task in todo) / self.jobs

    def _of(self, name: str) -> float:
        taken = self.taken.get(name)
        return float(np.mean(taken)) if taken else self.guessed.get(name, 0.0)
