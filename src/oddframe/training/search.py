"""A small, stated grid, tried on validation videos for as long as the budget lasts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from oddframe.training.config import TrainConfig
from oddframe.training.feature_section import mirrored


@dataclass(frozen=True)
class Setting:
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

    setting: Setting
    fold: int
    figure: float
    seconds: float
    step_s: float


@dataclass(frozen=True)
class LeftOut:
    """A setting that was not tried on a fold, and why."""

    setting: Setting
    fold: int
    reason: str


@dataclass(frozen=True)
class Search:
    """A grid and what was seen of it.

    Attributes:
        figure: Name of what was compared, ``video_auc``.
        grid: All settings, in the order in which they are tried; the first is the configured one.
        trials: What was compared.
        left_out: What was not tried.
        chosen: The setting with the best mean among those that went furthest.
    """

    figure: str
    grid: tuple[Setting, ...]
    trials: tuple[Trial, ...]
    left_out: tuple[LeftOut, ...]
    chosen: Setting

    def mean(self, setting: Setting) -> float | None:
        """Mean figure of a setting over its folds; None: it was not tried."""
        found = [trial.figure for trial in self.trials if trial.setting == setting]
        return float(np.mean(found)) if found else None


def grid(config: TrainConfig, *, views: bool = True) -> tuple[Setting, ...]:
    """All settings of ``config.search``, each once: views outermost, then steps, then rates.

    Args:
        config: Says the factors, and the recipe that they are of.
        views: Whether mirrored pictures can be had.
    """
    recipe, wanted = config.full_recipe(), config.search
    seen = config.training_features.mirrored
    sections = config.training_views().values()
    more = any(set(mirrored(section).crops) - set(section.crops) for section in sections)
    both = wanted.mirrored and views and more and not seen and not config.features.placed
    settings = [
        Setting(float(f"{lr * recipe.lr:.3g}"), max(1, round(steps * recipe.steps)), mirror)
        for mirror in ((seen, True) if both else (seen,))
        for steps in wanted.steps
        for lr in wanted.lr
    ]
    return tuple(dict.fromkeys(settings))


def search(
    settings: Sequence[Setting],
    folds: int,
    attempt: Callable[[Setting, int], Trial],
    obstacle: Callable[[Setting, int], str | None],
    figure: str,
) -> Search:
    """Try all settings on the first fold, the better half of them on the next, and so on.

    Settings are compared on equal terms, whenever the time is up: by their means over the same
    folds. A later fold that not all of those left could be tried on does not count. Of equal ones
    the first in order is taken.

    Args:
        settings: At least one.
        folds: Number of validation folds.
        attempt: Trains a setting without a fold, and measures it on it.
        obstacle: Why a setting cannot be tried on a fold, or None.
        figure: Name of what ``attempt`` measures.
    """
    figures: dict[Setting, list[float]] = {setting: [] for setting in settings}
    trials: list[Trial] = []
    left_out: list[LeftOut] = []
    left = list(settings)
    for fold in range(folds):
        tried: list[Trial] = []
        for setting in left:
            if reason := obstacle(setting, fold):
                left_out.append(LeftOut(setting, fold, reason))
            else:
                tried.append(attempt(setting, fold))
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
    return Search(figure, tuple(settings), tuple(trials), tuple(left_out), left[0])
