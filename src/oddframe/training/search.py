"""Hyperparameter search within a time budget.

``HyperparameterSearch`` tries a small grid of settings on validation folds by successive halving,
for as long as the budget lasts. It measures how long a training takes, keeps every trial on disk so
that an interrupted search resumes, and reports which settings it skipped and why.
"""

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
from oddframe._utils.progress import MessageCallback, ProgressCallback
from oddframe.datasets.labelled import Fold
from oddframe.errors import OddframeError, UsageError
from oddframe.methods.base import Loss
from oddframe.training.config import TrainConfig, mirrored_section
from oddframe.training.data.features import FeatureRequest, VideoFeatures
from oddframe.training.run_files import RunFiles
from oddframe.training.trainer import ModelTrainer, report_loss, training_features_digest
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
    """One training with a setting, measured on a validation fold.

    Attributes:
        setting: The setting.
        fold: Number of the validation fold, from 0.
        figure: Value of the selection metric on that fold, in [0, 1].
        seconds: Duration of the training.
        step_s: Duration of a step in seconds.
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
    """The settings of a search, and how they compared.

    Attributes:
        figure: Name of the selection metric, ``video_auc`` or ``frame_auc``.
        grid: All settings, in the order in which they are tried; the first is the configured one.
        trials: The trials that settings were compared by.
        left_out: The settings that were not tried on a fold.
        chosen: The setting with the best mean among those that were tried on the most folds.
    """

    figure: str
    grid: tuple[SearchSetting, ...]
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
                    {**asdict(t.setting), "fold": t.fold + 1, "figure": t.figure}
                    for t in self.trials
                ],
                "left_out": [
                    {**asdict(each.setting), "fold": each.fold + 1, "reason": each.reason}
                    for each in self.left_out
                ],
                "chosen": asdict(self.chosen),
            }
        }


def make_grid(config: TrainConfig, *, views: bool = True) -> tuple[SearchSetting, ...]:
    """All settings of ``config.search``, each once: views outermost, then steps, then rates.

    Args:
        config: Has the recipe, and the factors by which the search changes it.
        views: Whether features of mirrored pictures can be extracted.
    """
    recipe, search = config.full_recipe(), config.search
    configured = config.training_features.mirrored
    sections = config.training_views().values()
    has_more = any(
        set(mirrored_section(section).crops) - set(section.crops) for section in sections
    )
    try_mirrored = search.mirrored and views and has_more and not config.features.grid_kind
    settings = [
        SearchSetting(float(f"{lr * recipe.lr:.3g}"), max(1, round(steps * recipe.steps)), mirror)
        for mirror in ((configured, True) if try_mirrored else (configured,))
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
    setting that comes first.

    Args:
        settings: At least one.
        folds: Number of validation folds.
        run_trial: Trains with a setting on all folds but one, and measures on that one.
        reason_to_skip: Why a setting cannot be tried on a fold, or None.
        figure: Name of the metric that ``run_trial`` measures.
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


class HyperparameterSearch:
    """Tries settings on folds of the training videos while a budget lasts.

    Trials of an interrupted run are used again, and their time is taken off the budget.

    Args:
        trainer: Trains the networks.
        config: The configuration, and the grid around it.
        training: Videos to train on.
        folds: Folds of ``training``, by whole groups; at least one.
        budget: Time for the search and for the final trainings.
        n_final: Number of final trainings to reserve time for.
        files: Where trials are kept.
        progress: Called after every step.
        message: Called with what was tried, skipped and chosen.
    """

    def __init__(
        self,
        trainer: ModelTrainer,
        config: TrainConfig,
        training: Sequence[VideoFeatures],
        folds: Sequence[Fold],
        budget: Budget,
        n_final: int,
        files: RunFiles,
        progress: ProgressCallback,
        message: MessageCallback,
    ):
        self.trainer, self.config, self.training, self.folds = trainer, config, training, folds
        self.budget, self.n_final, self.files = budget, n_final, files
        self.report_loss, self.message = report_loss(progress), message
        self.grid = make_grid(config, views=not trainer.feature_cache.has_precomputed)
        self.figure = selection_metric(config)
        self.log = TrialLog(files.trials)
        self.pace: Pace | None = None
        self.max_steps = 0
        done = [self.log.get(self._key(s, f)) for s in self.grid for f in range(len(folds))]
        budget.spend(sum(trial.seconds for trial in done if trial))
        if len(self.log) and not any(done):
            message(
                f"{files.trials}: {len(self.log)} trials of other settings or features, or of an "
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
        for line in _describe_skipped(result):
            self.message(line)
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
            self.report_loss(step, steps, loss)

        model, _ = self.trainer.train(
            config,
            self._videos(self.folds[fold].train),
            checkpoint=self.files.checkpoint("trial"),
            on_step=on_step,
        )
        value = selection_value(model, config, self._videos(self.folds[fold].test))
        step_s = watch.pace().step_s
        return Trial(setting, fold, value, watch.elapsed, step_s)

    def _measure_pace(self) -> Pace:
        """The pace of a short training, whose model is discarded."""
        watch = Stopwatch()
        self.trainer.train(
            self.config.with_recipe(steps=_PACE_STEPS),
            self._videos(self.folds[0].train),
            checkpoint=self.files.checkpoint("probe"),
            on_step=lambda *_: watch.step(),
        )
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
            training_features_digest([self.training[int(i)] for i in part.train], specs),
            training_features_digest([self.training[int(i)] for i in part.test], specs),
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


def _describe_skipped(result: SearchResult) -> list[str]:
    """A line for each setting that was never tried, and one if later folds were not reached."""
    never = [each for each in result.left_out if each.fold == 0]
    lines = [f"not tried, no room in the budget: {each.setting} ({each.reason})" for each in never]
    if any(each.fold > 0 for each in result.left_out):
        folds = max(trial.fold for trial in result.trials) + 1
        lines.append(f"the budget reached for {folds} of the validation folds")
    return lines


class TrialLog:
    """The trials of a search, kept as JSON lines and found by a digest of all they depend on.

    A line that is incomplete because the process was killed is ignored; its trial is run again.

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
        """The trial of that key; None: it was not run."""
        return self._trials.get(key)

    def add(self, key: str, trial: Trial) -> None:
        """Write a trial to the file."""
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
    """``10m``, ``1h``, ``90s`` or ``1h30m`` in seconds.

    Raises:
        UsageError: the text is not such a time, or the time is 0 or more than a year.
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
    """How long a training takes on this machine: a fixed time and a time for each step, in s."""

    fixed_s: float
    step_s: float

    def estimate(self, steps: int) -> float:
        """Seconds that a training of so many steps takes."""
        return self.fixed_s + steps * self.step_s


class Stopwatch:
    """Measures the pace of one training from its steps."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._began = clock()
        self._steps: list[float] = []

    def step(self) -> None:
        """Record the end of a step."""
        self._steps.append(self._clock())

    @property
    def elapsed(self) -> float:
        """Seconds since the stopwatch was made."""
        return self._clock() - self._began

    def pace(self) -> Pace:
        """The pace: all time outside the first to the last step counts as fixed.

        Raises:
            ValueError: fewer than two steps were recorded.
        """
        if len(self._steps) < 2:
            raise ValueError("a pace is measured between two steps")
        steps = self._steps[-1] - self._steps[0]
        step_s = steps / (len(self._steps) - 1)
        return Pace(max(0.0, self.elapsed - steps - step_s), step_s)


class Budget:
    """A time limit that begins when it is made."""

    def __init__(self, total_s: float, clock: Callable[[], float] = time.monotonic):
        self.total_s = total_s
        self._clock = clock
        self._ends = clock() + total_s

    @property
    def remaining_s(self) -> float:
        """Seconds that remain; negative when the limit has passed."""
        return self._ends - self._clock()

    def spend(self, spent_s: float) -> None:
        """Take off the seconds that an interrupted run has used."""
        self._ends -= spent_s
