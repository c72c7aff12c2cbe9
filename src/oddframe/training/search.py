"""Hyperparameter search: a small grid of settings is tried within a time budget."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oddframe._utils.files import (
    exists,
    json_text,
    open_regular_file,
    translate_os_errors,
    write_text,
)
from oddframe._utils.progress import MessageCallback
from oddframe.datasets.labelled import Fold
from oddframe.errors import OddframeError, UsageError
from oddframe.methods.base import Loss
from oddframe.training.config import TrainConfig, mirrored_section
from oddframe.training.data.features import FeatureRequest, VideoFeatures
from oddframe.training.trainer import ModelTrainer, training_features_digest
from oddframe.training.validation import selection_metric, selection_value

# Steps of the short training that measures the pace before the search begins.
_PACE_STEPS = 10


@dataclass(frozen=True)
class SearchSetting:
    """The hyperparameters that the search chooses."""

    lr: float
    steps: int
    mirrored: bool

    def apply_to(self, config: TrainConfig) -> TrainConfig:
        """``config`` with this setting."""
        views = config.training_features.model_copy(update={"mirrored": self.mirrored})
        changed = config.with_recipe(lr=self.lr, steps=self.steps)
        return changed.model_copy(update={"training_features": views})

    def __str__(self) -> str:
        views = "mirrored pictures too" if self.mirrored else "pictures as they are"
        return f"learning rate {self.lr:g}, {self.steps} steps, {views}"


@dataclass(frozen=True)
class Trial:
    """One training with a setting, measured on the validation fold of that number, from 0."""

    setting: SearchSetting
    fold: int
    figure: float  # Value of the selection metric.
    seconds: float  # Duration of the training.
    step_s: float


@dataclass(frozen=True)
class SkippedSetting:
    """A setting that was not tried on a fold, and why."""

    setting: SearchSetting
    fold: int
    reason: str


@dataclass(frozen=True)
class SearchResult:
    """The settings of a search, and how they compared."""

    figure: str  # Name of the selection metric.
    grid: tuple[SearchSetting, ...]  # In the order of the trials, the configured one first.
    trials: tuple[Trial, ...]
    left_out: tuple[SkippedSetting, ...]
    chosen: SearchSetting

    def mean(self, setting: SearchSetting) -> float | None:
        """Mean of the selection metric over a setting's folds; None: it was not tried."""
        values = [trial.figure for trial in self.trials if trial.setting == setting]
        return float(np.mean(values)) if values else None

    def card_entry(self) -> dict[str, Any]:
        """The entry of the model's card, as JSON types."""
        return {
            "search": {
                "figure": self.figure,
                "tried": [
                    {**vars(t.setting), "fold": t.fold + 1, "figure": t.figure} for t in self.trials
                ],
                "left_out": [
                    {**vars(s.setting), "fold": s.fold + 1, "reason": s.reason}
                    for s in self.left_out
                ],
                "chosen": asdict(self.chosen),
            }
        }


def make_grid(config: TrainConfig, *, views: bool = True) -> tuple[SearchSetting, ...]:
    """All settings of ``config.search``, each once: views outermost, then steps, then rates.

    ``views``: whether features of mirrored pictures can be extracted.
    """
    recipe, search = config.full_recipe(), config.search
    configured = config.training_features.mirrored
    try_mirrored = search.mirrored and views and not config.features.grid_kind
    more_crops = (
        set(mirrored_section(each).crops) - set(each.crops)
        for each in config.training_views().values()
    )
    settings = [
        SearchSetting(float(f"{lr * recipe.lr:.3g}"), max(1, round(steps * recipe.steps)), mirror)
        for mirror in ((configured, True) if try_mirrored and any(more_crops) else (configured,))
        for steps in search.steps
        for lr in search.lr
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

    Settings are always compared by their means over the same folds, even where time runs out: a
    fold after the first counts only if all remaining settings were tried on it. Ties go to the
    setting that comes first. ``figure`` names the metric that ``run_trial`` measures.
    """
    values: dict[SearchSetting, list[float]] = {setting: [] for setting in settings}
    trials: list[Trial] = []
    skipped: list[SkippedSetting] = []
    remaining = list(settings)
    for fold in range(folds):
        tried: list[Trial] = []
        for setting in remaining:
            if reason := reason_to_skip(setting, fold):
                skipped.append(SkippedSetting(setting, fold, reason))
            else:
                tried.append(run_trial(setting, fold))
        all_tried = len(tried) == len(remaining)
        if not tried or (fold > 0 and not all_tried):
            break
        trials += tried
        for trial in tried:
            values[trial.setting].append(trial.figure)
        # The sort is stable, so that ties keep the order of the grid.
        ranked = sorted((t.setting for t in tried), key=lambda s: -np.mean(values[s]))
        remaining = ranked[: (len(ranked) + 1) // 2]
        if not all_tried or len(remaining) == 1:
            break
    return SearchResult(figure, tuple(settings), tuple(trials), tuple(skipped), remaining[0])


@dataclass
class HyperparameterSearch:
    """Tries settings on folds of the training videos while a budget lasts.

    Trials of an interrupted run are used again, and their time is taken off the budget, in which
    ``n_final`` final trainings must fit as well.
    """

    trainer: ModelTrainer
    config: TrainConfig
    training: Sequence[VideoFeatures]
    folds: Sequence[Fold]
    budget: Budget
    n_final: int
    message: MessageCallback

    def __post_init__(self) -> None:
        self.grid = make_grid(self.config, views=not self.trainer.feature_cache.has_precomputed)
        self.figure = selection_metric(self.config)
        self.log = TrialLog(self.trainer.files.trials)
        self.pace: Pace | None = None
        self.max_steps = 0
        done = [self.log.get(self._key(s, f)) for s in self.grid for f in range(len(self.folds))]
        self.budget.spend(sum(trial.seconds for trial in done if trial))
        if self.log and not any(done):
            self.message(
                f"{self.log.path}: {len(self.log)} trials of other settings or features, or of an "
                "earlier version: the search begins anew"
            )

    def search(self) -> SearchResult:
        """Choose a setting, and report what was tried and what was not."""
        self.message(
            f"searching within {format_time_budget(self.budget.remaining_s)} on "
            f"{len(self.folds)} validation folds, in this order: {_describe_grid(self.grid)}"
        )
        result = successive_halving(
            self.grid, len(self.folds), self._run_trial, self._reason_to_skip, self.figure
        )
        skipped = result.left_out
        for each in skipped:
            if each.fold == 0:
                self.message(f"not tried, no room in the budget: {each.setting} ({each.reason})")
        if any(each.fold > 0 for each in skipped):
            folds = max(trial.fold for trial in result.trials) + 1
            self.message(f"the budget reached for {folds} of the validation folds")
        mean = result.mean(result.chosen)
        why = "nothing could be compared" if mean is None else f"{result.figure} {mean:.3f}"
        self.message(f"chosen: {result.chosen} ({why})")
        return result

    def _reason_to_skip(self, setting: SearchSetting, fold: int) -> str | None:
        if self.log.get(self._key(setting, fold)):
            return None
        if self.budget.remaining_s <= 0:
            return "no time is left"
        pace = self.pace = self.pace or self._measure_pace()
        training = pace.estimate(setting.steps)
        final = self.n_final * pace.estimate(max(setting.steps, self.max_steps))
        features = 0.0
        if training + final <= self.budget.remaining_s:
            features = self.trainer.feature_cache.estimate_seconds(self._requests(setting))
        if features + training + final <= self.budget.remaining_s:
            return None
        costs = {"features": features} if features else {}
        costs |= {"training": training, "final": final, "left": max(0.0, self.budget.remaining_s)}
        return ", ".join(f"{name} {format_time_budget(s)}" for name, s in costs.items())

    def _run_trial(self, setting: SearchSetting, fold: int) -> Trial:
        key = self._key(setting, fold)
        trial = self.log.get(key)
        if trial is None:
            trial = self._train_and_measure(setting, fold)
            self.log.add(key, trial)
        fixed = max(0.0, trial.seconds - setting.steps * trial.step_s)
        self.pace = Pace(fixed, trial.step_s)
        self.max_steps = max(self.max_steps, setting.steps)
        took = format_time_budget(trial.seconds)
        self.message(f"fold {fold + 1}: {self.figure} {trial.figure:.3f} in {took}: {setting}")
        return trial

    def _train_and_measure(self, setting: SearchSetting, fold: int) -> Trial:
        config = setting.apply_to(self.config)
        self.trainer.feature_cache.add(self._requests(setting))
        watch = Stopwatch()

        def on_step(step: int, steps: int, loss: Loss) -> None:
            watch.step()
            self.trainer.report_loss(step, steps, loss)

        videos = self._videos(self.folds[fold].train)
        model, _ = self.trainer.train(config, videos, "trial", on_step)
        value = selection_value(model, config, self._videos(self.folds[fold].test))
        return Trial(setting, fold, value, watch.elapsed, watch.pace().step_s)

    def _measure_pace(self) -> Pace:
        watch = Stopwatch()
        config = self.config.with_recipe(steps=_PACE_STEPS)
        videos = self._videos(self.folds[0].train)
        self.trainer.train(config, videos, "probe", lambda *_: watch.step())
        return watch.pace()

    def _videos(self, indices: Iterable[int]) -> list[VideoFeatures]:
        return self.trainer.feature_cache.get(self.training[int(i)].video for i in indices)

    def _requests(self, setting: SearchSetting) -> list[FeatureRequest]:
        sections = tuple(setting.apply_to(self.config).training_views().values())
        return [FeatureRequest(each.video, sections) for each in self.training]

    def _key(self, setting: SearchSetting, fold: int) -> str:
        """A digest of everything that a trial depends on."""
        pretrained, config = self.trainer.pretrained, setting.apply_to(self.config)
        part = self.folds[fold]
        specs = [self.trainer.feature_cache.spec(each) for each in config.training_views().values()]
        lines = (
            config.model_dump_json(),
            *(
                training_features_digest(
                    [self.training[int(i)] for i in indices], specs, events=config.clicks.events
                )
                for indices in (part.train, part.test)
            ),
            "" if pretrained is None else pretrained.sha256,
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _describe_grid(settings: Sequence[SearchSetting]) -> str:
    rates = dict.fromkeys(f"{setting.lr:g}" for setting in settings)
    steps = dict.fromkeys(str(setting.steps) for setting in settings)
    views = dict.fromkeys("mirrored too" if s.mirrored else "as they are" for s in settings)
    return (
        f"learning rates {', '.join(rates)} for each of {', '.join(steps)} steps, for pictures "
        f"{', then '.join(views)}: {len(settings)} settings"
    )


class TrialLog(dict[str, Trial]):
    """The trials of a search by a digest of all they depend on, kept as lines of a JSON file.

    A line that is incomplete because the process was killed is ignored; its trial is run again.
    """

    def __init__(self, path: Path):
        self.path = path
        text = ""
        if exists(path):
            with translate_os_errors(path), open_regular_file(path, OddframeError) as file:
                text = file.read().decode(errors="replace")
        for line in text.splitlines():
            try:
                row = json.loads(line)
                key, setting = row.pop("key"), SearchSetting(**row.pop("setting"))
                self[key] = Trial(setting, **row)
            except (ValueError, KeyError, TypeError):
                continue

    def add(self, key: str, trial: Trial) -> None:
        """Add a trial, also to the file."""
        self[key] = trial
        rows = [{**asdict(each), "key": name} for name, each in self.items()]
        write_text(self.path, "".join(json_text(row, nan_is_null=False) + "\n" for row in rows))


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_MOST_S = 366 * 24 * 3600.0
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?[hms])+")
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)([hms])")


def parse_time_budget(text: str) -> float:
    """``10m``, ``1h``, ``90s`` or ``1h30m`` in seconds; UsageError if it is no such time."""
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
    """How long a training takes on this machine: a fixed time and a time for each step, in s."""

    fixed_s: float
    step_s: float

    def estimate(self, steps: int) -> float:
        return self.fixed_s + steps * self.step_s


class Stopwatch:
    """Measures the pace of one training from its steps."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._began = clock, clock()
        self._steps: list[float] = []

    def step(self) -> None:
        self._steps.append(self._clock())

    @property
    def elapsed(self) -> float:
        """Seconds since the stopwatch was made."""
        return self._clock() - self._began

    def pace(self) -> Pace:
        """The pace: all time outside the first to the last step counts as fixed."""
        if len(self._steps) < 2:  # The method has no steps, or a checkpoint was of the last one.
            return Pace(self.elapsed, 0.0)
        steps = self._steps[-1] - self._steps[0]
        step_s = steps / (len(self._steps) - 1)
        return Pace(max(0.0, self.elapsed - steps - step_s), step_s)


class Budget:
    """A time limit that begins when it is made."""

    def __init__(self, total_s: float, clock: Callable[[], float] = time.monotonic):
        self._clock, self._ends = clock, clock() + total_s

    @property
    def remaining_s(self) -> float:
        """Seconds that remain; negative when the limit has passed."""
        return self._ends - self._clock()

    def spend(self, spent_s: float) -> None:
        """Take off the seconds that an interrupted run has used."""
        self._ends -= spent_s
