"""The search of a run: settings trained without a validation fold and measured on it, in time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from oddframe.datasets.folds import Fold
from oddframe.methods.base import Loss
from oddframe.training.checkpoint import RunFiles
from oddframe.training.config import TrainConfig
from oddframe.training.data.features import FeatureRequest, TrainingProgress, VideoFeatures
from oddframe.training.model_card import training_features_digest
from oddframe.training.search import (
    Budget,
    Pace,
    SearchResult,
    SearchSetting,
    Stopwatch,
    Trial,
    TrialLog,
    format_time_budget,
    make_grid,
    successive_halving,
)
from oddframe.training.trainer import ModelTrainer
from oddframe.training.validation import selection_metric, selection_value

# Steps of the short training that the pace is measured by before the search begins.
_PACE_STEPS = 10


class HyperparameterSearch:
    """Tries settings on folds of the training videos while a budget lasts.

    What an interrupted run had tried is taken over from ``files``, and so is the time it took.

    Args:
        trainer: Trains.
        config: The configuration, and the grid around it.
        training: Videos that may be learned from.
        folds: Of ``training``, by whole groups; at least one.
        budget: Seconds for the search and for the final trainings.
        finals: Final trainings that time is kept for.
        files: Where trials are kept.
        progress: Is told what was tried.
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
        progress: TrainingProgress,
    ):
        self.trainer, self.config, self.training, self.folds = trainer, config, training, folds
        self.budget, self.n_final, self.files, self.progress = budget, n_final, files, progress
        self.grid = make_grid(config, views=not trainer.feature_cache.has_precomputed)
        self.figure = selection_metric(config)
        self.log = TrialLog(files.trials)
        self.pace: Pace | None = None
        self.most_steps = 0
        done = [self.log.get(self._key(s, f)) for s in self.grid for f in range(len(folds))]
        budget.spend(sum(trial.seconds for trial in done if trial))
        if len(self.log) and not any(done):
            progress.say(
                f"{files.trials}: {len(self.log)} trials of other settings or features, or of an "
                "earlier version: the search begins anew"
            )

    def search(self) -> SearchResult:
        """Choose a setting, and report what was tried and what was not."""
        self.progress.say(
            f"searching within {format_time_budget(self.budget.left)} on {len(self.folds)} validation folds, "  # noqa: E501
            f"in this order: {_describe_grid(self.grid)}"
        )
        found = successive_halving(
            self.grid, len(self.folds), self._run_trial, self._reason_to_skip, self.figure
        )
        for line in _describe_skipped(found):
            self.progress.say(line)
        reached = found.mean(found.chosen)
        what = "nothing could be compared" if reached is None else f"{found.figure} {reached:.3f}"
        self.progress.say(f"chosen: {found.chosen} ({what})")
        return found

    def _reason_to_skip(self, setting: SearchSetting, fold: int) -> str | None:
        if self.log.get(self._key(setting, fold)):
            return None
        if self.budget.left <= 0:
            return "no time is left"
        pace = self.pace = self.pace or self._measure_pace()
        training = pace.of(setting.steps)
        final = self.n_final * pace.of(max(setting.steps, self.most_steps))
        features = 0.0
        if training + final <= self.budget.left:
            features = self.trainer.feature_cache.estimate_seconds(self._requests(setting))
        if features + training + final <= self.budget.left:
            return None
        first = f"features {format_time_budget(features)}, " if features else ""
        left = format_time_budget(max(0.0, self.budget.left))
        return f"{first}training {format_time_budget(training)}, final {format_time_budget(final)}, left {left}"  # noqa: E501

    def _run_trial(self, setting: SearchSetting, fold: int) -> Trial:
        key = self._key(setting, fold)
        trial = self.log.get(key)
        if trial is None:
            trial = self._train_and_measure(setting, fold)
            self.log.add(key, trial)
        fixed = max(0.0, trial.seconds - setting.steps * trial.step_s)
        self.pace = Pace(fixed, trial.step_s)
        self.most_steps = max(self.most_steps, setting.steps)
        self.progress.say(
            f"fold {fold + 1}: {self.figure} {trial.figure:.3f} in {format_time_budget(trial.seconds)}: "  # noqa: E501
            f"{setting}"
        )
        return trial

    def _train_and_measure(self, setting: SearchSetting, fold: int) -> Trial:
        config = setting.of(self.config)
        self.trainer.feature_cache.add(self._requests(setting))
        part = self.folds[fold]
        watch = Stopwatch()

        def on_step(step: int, steps: int, loss: Loss) -> None:
            watch.step()
            self.progress.steps(step, steps, loss)

        model, _ = self.trainer.model(
            config,
            self._videos(part.train),
            checkpoint=self.files.checkpoint("trial"),
            on_step=on_step,
        )
        figure = selection_value(model, config, self._videos(part.test))
        step_s = watch.pace().step_s
        return Trial(setting, fold, figure, watch.elapsed, step_s)

    def _measure_pace(self) -> Pace:
        """Measured on a training of a few steps that is thrown away."""
        watch = Stopwatch()
        self.trainer.model(
            self.config.with_recipe(steps=_PACE_STEPS),
            self._videos(self.folds[0].train),
            checkpoint=self.files.checkpoint("probe"),
            on_step=lambda *_: watch.step(),
        )
        return watch.pace()

    def _videos(self, indices: Iterable[int]) -> list[VideoFeatures]:
        return self.trainer.feature_cache.of(self.training[int(i)].video for i in indices)

    def _requests(self, setting: SearchSetting) -> list[FeatureRequest]:
        sections = tuple(setting.of(self.config).training_views().values())
        return [FeatureRequest(each.video, sections) for each in self.training]

    def _key(self, setting: SearchSetting, fold: int) -> str:
        """Of everything that a trial depends on."""
        start, config = self.trainer.pretrained, setting.of(self.config)
        part = self.folds[fold]
        specs = [self.trainer.feature_cache.spec(each) for each in config.training_views().values()]
        lines = (
            config.model_dump_json(),
            training_features_digest([self.training[int(i)] for i in part.train], specs),
            training_features_digest([self.training[int(i)] for i in part.test], specs),
            "" if start is None else start.sha256,
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


def _describe_skipped(found: SearchResult) -> list[str]:
    """What was not tried, in a few lines: settings of which this is said for the same reason."""
    never = [each for each in found.left_out if each.fold == 0]
    lines = [f"not tried, no room in the budget: {each.setting} ({each.reason})" for each in never]
    if any(each.fold > 0 for each in found.left_out):
        folds = max(trial.fold for trial in found.trials) + 1
        lines.append(f"the budget reached for {folds} of the validation folds")
    return lines
