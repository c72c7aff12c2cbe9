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
from oddframe.training.data.features import Gathered, Progress
from oddframe.training.data.splits import validation_folds
from oddframe.training.model_card import card, features_digest, seeds_of
from oddframe.training.trainer import Trainer
from oddframe.training.validation import figure_of_choice, measured, validated

# One of so many folds of the training videos says which of several seeds is kept.
_FOLDS = 5
# Where the card of a model that is to be compared with others says what it was trained on.
_SEEN = "features_digest"


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
class Finals:
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
        board: Folder for TensorBoard, a folder a training in it.
    """

    trainer: Trainer
    config: TrainConfig
    training: Sequence[Gathered]
    held_out: Sequence[Gathered]
    about: Mapping[str, Any]
    data: str
    files: RunFiles
    progress: Progress
    warn: Callable[[str], None]
    board: Path | None = None

    def one(self) -> Model:
        """A model of the configured seed, trained on everything."""
        return self._trained(self.config, self.training, "training", self.files.log(), self.warn)

    def best_of(self, n: int) -> tuple[Model, tuple[SeedRun, ...]]:
        """A model for each of ``n`` seeds from the configured one up; the best is kept.

        Which one that is, is seen on a validation fold that none of them learns from. Where there
        are too few groups for one, the first is kept. Models that an interrupted run had finished
        are taken over.
        """
        dataset = Dataset(self.data, tuple(each.video for each in self.training))
        folds = validation_folds(dataset, _FOLDS, self.config.recipe.seed)
        inside, validation = self.training, list[Gathered]()
        if folds and dataset.abnormal.any():
            inside = [self.training[int(i)] for i in folds[0].train]
            validation = [self.training[int(i)] for i in folds[0].test]
        else:
            self.warn("too few groups to choose among the seeds on: the first one is kept")
        first = self.config.recipe.seed
        models = [self._of_seed(first + i, inside, validation, first=i == 0) for i in range(n)]
        figures = [
            validated(model, self.config, validation) if validation else None for model in models
        ]
        best = max(range(n), key=lambda i: figures[i] or 0.0)
        runs = tuple(SeedRun(first + i, figures[i], models[i].metrics, i == best) for i in range(n))
        told = seeds_of(figure_of_choice(self.config), [vars(run) for run in runs])
        about = {name: value for name, value in models[best].card.items() if name != _SEEN}
        return replace(models[best], card={**about, **told}), runs

    def _of_seed(
        self,
        seed: int,
        inside: Sequence[Gathered],
        validation: Sequence[Gathered],
        *,
        first: bool,
    ) -> Model:
        config = self.config.with_recipe(seed=seed)
        path = self.files.model(f"seed-{seed}")
        sections = (*config.training_views().values(), *config.profiles().values())
        specs = [self.trainer.library.spec(each) for each in sections]
        # Thresholds and figures come from the held-out videos.
        seen = "".join(features_digest(videos, specs) for videos in (inside, self.held_out))
        if (finished := _finished(path, config, seen)) is not None:
            return replace(finished, name=self.trainer.name)
        if path.exists():
            self.warn(
                f"{path}: trained with another configuration, on other features or by an earlier "
                "version: it is trained again"
            )
        # What the threshold stands on is the same for all, so it is said once.
        warn = self.warn if first else _silent
        model = self._trained(config, inside, f"seed-{seed}", self.files.log(seed), warn)
        model = replace(
            model,
            card={
                **model.card,
                "validation_groups": sorted({each.video.group for each in validation}),
                _SEEN: seen,
            },
        )
        save_model(model, path, half=config.half)
        return model

    def _trained(
        self,
        config: TrainConfig,
        videos: Sequence[Gathered],
        name: str,
        log: Path,
        warn: Callable[[str], None],
    ) -> Model:
        model, warnings = self.trainer.model(
            config,
            videos,
            checkpoint=self.files.checkpoint(name),
            log=log,
            board=self.board and self.board / name,
            on_step=self.progress.steps,
        )
        for line in warnings:
            self.warn(line if name == "training" else f"{name}: {line}")
        failed = self.trainer.library.failed
        about = {**card(self.data, config, videos, self.held_out, failed), **self.about}
        found, start = replace(model, card=about), self.trainer.start
        return measured(found, config, self.held_out, videos, warn, start)


def _finished(path: Path, config: TrainConfig, seen: str) -> Model | None:
    """The model of an earlier, interrupted run, if it is of the same configuration and features."""
    if not path.exists():
        return None
    model = load_model(path)
    same = model.card.get("configuration") == config.model_dump(mode="json")
    return model if same and model.card.get(_SEEN) == seen else None


def _silent(_: str) -> None:
    pass
