"""The final trainings: one on all that may be learned from, or one for each of several seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from oddframe.datasets.labelled import Dataset
from oddframe.modelfile import Model, load_model, save_model
from oddframe.training.checkpoint import RunFiles
from oddframe.training.config import TrainConfig
from oddframe.training.data.features import TrainingProgress, VideoFeatures
from oddframe.training.data.splits import validation_folds
from oddframe.training.model_card import make_card, seeds_entry, training_features_digest
from oddframe.training.trainer import ModelTrainer
from oddframe.training.validation import (
    selection_metric,
    selection_value,
    with_threshold_and_metrics,
)

# One of so many folds of the training videos says which of several seeds is kept.
_FOLDS = 5
# Where the card of a model that is to be compared with others says what it was trained on.
_DIGEST_KEY = "features_digest"


@dataclass(frozen=True)
class SeedRun:
    """One of several trainings.

    Attributes:
        seed: Its seed.
        validation: What the choice was made by; None: there were too few groups for it.
        metrics: Figures on what was held out, which play no part in the choice.
        kept: Whether this is the one that was kept.
    """

    seed: int
    validation: float | None
    metrics: Mapping[str, float]
    kept: bool = False


@dataclass(frozen=True)
class FinalTraining:
    """Trains, sets thresholds and measures.

    Attributes:
        trainer: Trains.
        config: What to train, the chosen setting included.
        training: What may be learned from.
        held_out: What the threshold is set and the figures are measured on.
        about: What the card says besides.
        data: Name of the data set.
        files: Where checkpoints and logs are.
        progress: Is told of steps.
        warn: Is told what a reader of the figures should know.
        tensorboard: Folder for TensorBoard, a folder a training in it.
    """

    trainer: ModelTrainer
    config: TrainConfig
    training: Sequence[VideoFeatures]
    held_out: Sequence[VideoFeatures]
    about: Mapping[str, Any]
    data: str
    files: RunFiles
    progress: TrainingProgress
    warn: Callable[[str], None]
    tensorboard: Path | None = None

    def one(self) -> Model:
        """A model of the configured seed, trained on everything."""
        return self._trained(self.config, self.training, "training", self.files.log(), self.warn)

    def train_seeds(self, n: int) -> tuple[Model, tuple[SeedRun, ...]]:
        """A model for each of ``n`` seeds from the configured one up; the best is kept.

        Which one that is, is seen on a validation fold that none of them learns from. Where there
        are too few groups for one, the first is kept. Models that an interrupted run had finished
        are taken over.
        """
        dataset = Dataset(self.data, tuple(each.video for each in self.training))
        folds = validation_folds(dataset, _FOLDS, self.config.recipe.seed)
        inside, validation = self.training, list[VideoFeatures]()
        if folds and dataset.abnormal.any():
            inside = [self.training[int(i)] for i in folds[0].train]
            validation = [self.training[int(i)] for i in folds[0].test]
        else:
            self.warn("too few groups to choose among the seeds on: the first one is kept")
        first = self.config.recipe.seed
        models = [self._of_seed(first + i, inside, validation, first=i == 0) for i in range(n)]
        figures = [
            selection_value(model, self.config, validation) if validation else None
            for model in models
        ]
        best = max(range(n), key=lambda i: figures[i] or 0.0)
        runs = tuple(SeedRun(first + i, figures[i], models[i].metrics, i == best) for i in range(n))
        told = seeds_entry(selection_metric(self.config), [vars(run) for run in runs])
        about = {name: value for name, value in models[best].card.items() if name != _DIGEST_KEY}
        return replace(models[best], card={**about, **told}), runs

    def _of_seed(
        self,
        seed: int,
        inside: Sequence[VideoFeatures],
        validation: Sequence[VideoFeatures],
        *,
        first: bool,
    ) -> Model:
        config = self.config.with_recipe(seed=seed)
        path = self.files.model(f"seed-{seed}")
        sections = (*config.training_views().values(), *config.profiles().values())
        specs = [self.trainer.feature_cache.spec(each) for each in sections]
        # Thresholds and figures come from the held-out videos.
        seen = "".join(
            training_features_digest(videos, specs) for videos in (inside, self.held_out)
        )
        if (finished := _finished(path, config, seen)) is not None:
            return replace(finished, name=self.trainer.name)
        if path.exists():
            self.warn(
                f"{path}: trained with another configuration, on other features or by an earlier "
                "version: it is trained again"
            )
        # What the threshold stands on is the same for all, so it is said once.
        warn = self.warn if first else _ignore
        model = self._trained(config, inside, f"seed-{seed}", self.files.log(seed), warn)
        model = replace(
            model,
            card={
                **model.card,
                "validation_groups": sorted({each.video.group for each in validation}),
                _DIGEST_KEY: seen,
            },
        )
        save_model(model, path, fp16=config.half)
        return model

    def _trained(
        self,
        config: TrainConfig,
        videos: Sequence[VideoFeatures],
        name: str,
        log: Path,
        warn: Callable[[str], None],
    ) -> Model:
        model, warnings = self.trainer.model(
            config,
            videos,
            checkpoint=self.files.checkpoint(name),
            log=log,
            tensorboard=self.tensorboard and self.tensorboard / name,
            on_step=self.progress.steps,
        )
        for line in warnings:
            self.warn(line if name == "training" else f"{name}: {line}")
        failed = self.trainer.feature_cache.failed
        about = {**make_card(self.data, config, videos, self.held_out, failed), **self.about}
        found, start = replace(model, card=about), self.trainer.pretrained
        return with_threshold_and_metrics(found, config, self.held_out, videos, warn, start)


def _finished(path: Path, config: TrainConfig, seen: str) -> Model | None:
    """The model of an earlier, interrupted run, if it is of the same configuration and features."""
    if not path.exists():
        return None
    model = load_model(path)
    same = model.card.get("configuration") == config.model_dump(mode="json")
    return model if same and model.card.get(_DIGEST_KEY) == seen else None


def _ignore(_: str) -> None:
    pass
