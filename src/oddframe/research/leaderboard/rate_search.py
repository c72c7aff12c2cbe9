"""The grid that the league's learning rates are chosen by, on folds inside a training part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from oddframe.errors import UsageError
from oddframe.research.benchmarks import BENCHMARKS
from oddframe.research.grid import known
from oddframe.research.grid_task import Task
from oddframe.research.leaderboard.league import Entrant
from oddframe.research.leaderboard.rates import Rate, Rates, at_rate
from oddframe.research.protocol import parts_of
from oddframe.research.provenance import code
from oddframe.research.session import Session
from oddframe.research.splits import Inner
from oddframe.training.config import TrainConfig

FACTORS = (0.3, 1.0, 3.0, 10.0)
FOLDS = 3


def validating(session: Session) -> Session:
    """The same features, split into folds inside the training part.

    Raises:
        UsageError: the benchmark has no split of its own, so each video is tested on somewhere.
    """
    setting = session.setting
    if not BENCHMARKS[setting.dataset].own_split:
        able = ", ".join(name for name, each in BENCHMARKS.items() if each.own_split)
        raise UsageError(
            f"{setting.dataset} tests on each of its videos once: none is left to choose rates on; "
            f"benchmarks with a split of their own: {able}"
        )
    inner = replace(setting.protocol, split=Inner(setting.protocol.split, FOLDS), repeats=1)
    parts = tuple(parts_of(session.clips, inner))
    return replace(session, setting=replace(setting, protocol=inner), parts=parts)


@dataclass(frozen=True)
class RateGrid:
    """Rows at every factor, on every fold.

    Attributes:
        session: From ``validating``.
        rows: At their own rates.
    """

    session: Session
    rows: Sequence[Entrant]

    @property
    def tasks(self) -> list[Task]:
        """All trainings; stopped early, all rows have some."""
        return [
            Task(
                f"{row.title}, rate x {factor:g}",
                at_rate(row.config, factor),
                part.repeat,
                part.fold,
            )
            for part in self.session.parts
            for row in self._learning
            for factor in FACTORS
        ]

    def collected(self) -> Rates:
        """What was found by now."""
        return Rates(
            dataset=self.session.setting.dataset,
            folds=len(self.session.parts),
            steps=self.rows[0].config.recipe.steps,
            features_sha256=self.session.setting.features_sha256,
            code=code(),
            tried={row.name: self._tried(row.config) for row in self._learning},
        )

    @property
    def _learning(self) -> list[Entrant]:
        return [row for row in self.rows if not row.config.chosen_method()[0].closed_form]

    def _tried(self, own: TrainConfig) -> tuple[Rate, ...]:
        """Every factor that there are figures of on all folds."""
        parts, rates = self.session.parts, []
        for factor in FACTORS:
            config = at_rate(own, factor)
            tasks = [Task("", config, part.repeat, part.fold) for part in parts]
            found = [known(task, self.session.setting) for task in tasks]
            figures = tuple(each.figures.clip_auc for each in found if each is not None)
            if len(figures) == len(parts):
                rates.append(Rate(factor, config.full_recipe().lr, figures))
        return tuple(rates)
