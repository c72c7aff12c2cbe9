"""The methods of a league, the recipe that trains them, and how their learning rates are chosen.

All train by each benchmark's own segments and bags, for the same number of steps. Optimiser, weight
decay, clipping and learning rate are each method's own. Published rates belong to recipes of 3 to
60 times the league's steps, so each rate is multiplied by the same few factors and tried on folds
inside the training part of a data set's own split, which is in no benchmark's test part. Only video
labels are known there: rates are compared by how well they separate whole videos.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from oddframe.errors import UsageError
from oddframe.features.spec import count_audio_dims
from oddframe.methods.registry import get_method, method_names
from oddframe.research.benchmarks import BENCHMARKS
from oddframe.research.fold_figures import Figure
from oddframe.research.grid import Session
from oddframe.research.grid_task import GridTask, find_training
from oddframe.research.protocol import InnerFolds, TrainTestPart
from oddframe.research.records import CodeVersion, RecordFormat, current_code
from oddframe.training.config import (
    FeatureSection,
    MethodSection,
    RecipeSection,
    SamplingChanges,
    TrainConfig,
)
from oddframe.training.configure import with_audio_dim

STEPS = 300
RATE_FACTORS = (0.3, 1.0, 3.0, 10.0)
VALIDATION_FOLDS = 3
REFERENCE_METHOD = "ur_dmu"
# The method of this project.
OWN_METHOD = "oddframe"
# One weight per feature dimension, which any other method should beat.
BASELINE_METHOD = "linear"
# A quarter of UR-DMU's width with a linear path beside it, for a few hundred videos; docs/fight.md
# has its figures on validation recordings.
SMALL_UR_DMU = "ur_dmu_small"
_SMALL_CONFIG = {"hidden": 128, "heads": 4, "head_dim": 32, "shortcut": True}


@dataclass(frozen=True)
class Competitor:
    """A row of the league: its name, its title in tables, and what is trained."""

    name: str
    title: str
    config: TrainConfig


def list_competitors(
    config: TrainConfig, names: Sequence[str] = (), *, frames: bool = True
) -> tuple[Competitor, ...]:
    """The methods called ``names`` by the league's recipe; without names, all that can be trained.

    A method that reads ``frames`` gets features of its own, of the same videos.
    """
    able = [name for name in method_names() if frames or _reads_features_of(config, name)]
    able.append(SMALL_UR_DMU)
    wanted = dict.fromkeys(names or able)
    for name in wanted:
        if name not in able:
            get_method(name)  # Refuses unknown names.
            raise UsageError(f"{name} reads frames, and this benchmark has only features")
    return tuple(_competitor(config, name) for name in wanted)


def group_by_features(rows: Sequence[Competitor]) -> list[tuple[Competitor, ...]]:
    """The rows, grouped by the features that they read; groups are in the order of the rows."""
    groups: dict[str, list[Competitor]] = {}
    for row in rows:
        groups.setdefault(row.config.features.model_dump_json(), []).append(row)
    return [tuple(group) for group in groups.values()]


def _reads_features_of(config: TrainConfig, name: str) -> bool:
    backbones = get_method(name).backbones
    return not backbones or config.features.backbone in backbones


def _competitor(config: TrainConfig, name: str) -> Competitor:
    method = get_method("ur_dmu" if name == SMALL_UR_DMU else name)
    settings = _SMALL_CONFIG if name == SMALL_UR_DMU else dict(method.league_config)
    section = MethodSection(name=method.name, config=settings)
    kept = config.recipe.model_dump(include={"segments", "normal_bags", "abnormal_bags", "average"})
    recipe = RecipeSection(steps=STEPS, **kept)
    changes: dict[str, Any] = {"method": section, "recipe": recipe}
    changes |= {"standardise": True, "temperature_scaling": True}
    if not _reads_features_of(config, method.name):
        changes |= {"features": FeatureSection(backbone=method.backbones[0])}
        changes |= {"fast": None, "training_features": SamplingChanges()}
    changed = with_audio_dim(config.model_copy(update=changes), config.features.backbone)
    title = method.title + ", small" * bool(name == SMALL_UR_DMU or method.league_config)
    if changed.chosen_method()[0].reads_sound and not count_audio_dims(config.features.backbone):
        title += " (halves of the picture)"
    return Competitor(name, title, changed)


@dataclass(frozen=True)
class TriedRate:
    """A learning rate of a method that was tried.

    Attributes:
        factor: The rate over the method's own rate.
        figures: AUC of whole validation videos by their mean scores, in [0, 1], for each fold.
    """

    factor: float
    lr: float
    figures: tuple[Figure, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.figures))


@dataclass(frozen=True)
class LearningRates:
    """The rates that were tried: by the name of the row, every factor that has all folds."""

    dataset: str
    folds: int
    steps: int
    features_sha256: str
    code: CodeVersion
    tried: Mapping[str, tuple[TriedRate, ...]]

    def factor(self, name: str) -> float:
        """The factor for a row's own rate.

        From 1 towards the best factor, it is the first that is as good as the best: the best is
        ahead by no more than the standard error of the difference over the folds (Breiman et al.,
        "Classification and Regression Trees", 1984). A row that was not tried keeps its own rate.
        """
        rates = sorted(self.tried.get(name, ()), key=lambda rate: abs(np.log(rate.factor)))
        if not rates:
            return 1.0
        best = max(rates, key=lambda rate: rate.mean)
        low, high = sorted((1.0, best.factor))
        between = (rate for rate in rates if low <= rate.factor <= high)
        for rate in between:
            ahead = np.subtract(best.figures, rate.figures)
            error = ahead.std(ddof=1) / np.sqrt(len(ahead)) if len(ahead) > 1 else 0.0
            if ahead.mean() <= error:
                return rate.factor
        return best.factor

    def merged_into(self, newer: LearningRates) -> LearningRates:
        """``newer`` with the rows of this one, if both were tried on the same data and steps."""
        same = ("dataset", "folds", "steps", "features_sha256")
        if any(getattr(self, name) != getattr(newer, name) for name in same):
            return newer
        return replace(newer, tried={**self.tried, **newer.tried})


def scale_rate(config: TrainConfig, factor: float) -> TrainConfig:
    """The configuration with its method's own learning rate times ``factor``."""
    if factor == 1:
        return config
    return config.with_recipe(lr=float(f"{factor * config.full_recipe().lr:.3g}"))


def with_rates(rows: Sequence[Competitor], rates: LearningRates) -> tuple[Competitor, ...]:
    """The rows, each at the learning rate that was chosen for it."""
    factors = [rates.factor(row.name) for row in rows]
    pairs = zip(rows, factors, strict=True)
    return tuple(replace(row, config=scale_rate(row.config, factor)) for row, factor in pairs)


RATES_FORMAT = RecordFormat(LearningRates, "oddframe learning rates", 1, "learning rates")

write_rates = RATES_FORMAT.write


def read_rates(path: Path) -> LearningRates | None:
    """Learning rates; None: there is no such file."""
    return RATES_FORMAT.read(path) if path.exists() else None


def validation_session(session: Session) -> Session:
    """The same features, split into folds inside the training part."""
    setting = session.setting
    if not BENCHMARKS[setting.dataset].own_split:
        able = ", ".join(name for name, each in BENCHMARKS.items() if each.own_split)
        raise UsageError(
            f"{setting.dataset} tests on each of its videos, so none is left to choose rates on; "
            f"benchmarks with a split of their own: {able}"
        )
    split = InnerFolds(setting.protocol.split, VALIDATION_FOLDS)
    protocol = replace(setting.protocol, split=split, repeats=1)
    parts = tuple(protocol.parts(session.clips))
    return replace(session, setting=replace(setting, protocol=protocol), parts=parts)


@dataclass(frozen=True)
class RateSearch:
    """The trainings of rows at every factor, on every fold of a ``validation_session``."""

    session: Session
    rows: Sequence[Competitor]

    @property
    def tasks(self) -> list[GridTask]:
        """All trainings, fold by fold: a search that is stopped early has some of every row."""
        return [
            self._task(row, factor, part)
            for part in self.session.parts
            for row in self._rows_with_rates
            for factor in RATE_FACTORS
        ]

    def collect(self) -> LearningRates:
        return LearningRates(
            dataset=self.session.setting.dataset,
            folds=len(self.session.parts),
            steps=self.rows[0].config.recipe.steps,
            features_sha256=self.session.setting.features_sha256,
            code=current_code(),
            tried={row.name: self._tried(row) for row in self._rows_with_rates},
        )

    @property
    def _rows_with_rates(self) -> list[Competitor]:
        return [row for row in self.rows if not row.config.chosen_method()[0].closed_form]

    def _task(self, row: Competitor, factor: float, part: TrainTestPart) -> GridTask:
        config = scale_rate(row.config, factor)
        return GridTask(f"{row.title}, rate x {factor:g}", config, *part.part_id)

    def _tried(self, row: Competitor) -> tuple[TriedRate, ...]:
        """Every factor that has figures of all folds."""
        rates = []
        for factor in RATE_FACTORS:
            tasks = [self._task(row, factor, part) for part in self.session.parts]
            found = [find_training(task, self.session.setting) for task in tasks]
            figures = tuple(each.figures.clip_auc for each in found if each is not None)
            if len(figures) == len(tasks):
                rates.append(TriedRate(factor, tasks[0].config.full_recipe().lr, figures))
        return tuple(rates)
