"""Learning rates of the league: one small grid for all methods, on validation recordings.

Published rates go with published recipes, which take 3 to 60 times the league's steps. So each
method's own rate is multiplied by each of the same few factors, and tried on folds inside the
training part of a split that is given: its recordings are in the test part of no benchmark. Only
video labels are known there, so what is compared is how well whole videos are told apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from oddframe._utils.files import json_text, write_text
from oddframe.research.provenance import Code
from oddframe.research.records import read_record
from oddframe.training.config import TrainConfig

KIND, SCHEMA = "oddframe learning rates", 1


@dataclass(frozen=True)
class Rate:
    """One rate of a method, tried.

    Attributes:
        factor: Of the method's own rate.
        lr: The rate.
        figures: AUC of whole validation videos by their mean scores, in [0, 1], one a fold.
    """

    factor: float
    lr: float
    figures: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the folds."""
        return float(np.mean(self.figures))


@dataclass(frozen=True)
class Rates:
    """What was tried, and so what each method is trained with.

    Attributes:
        dataset: Whose training part the folds are of.
        folds: How many.
        steps: Of every training.
        features_sha256: Of what was learned from.
        code: What tried them.
        tried: By the name of the row: every factor that could be trained on all folds.
    """

    dataset: str
    folds: int
    steps: int
    features_sha256: str
    code: Code
    tried: Mapping[str, tuple[Rate, ...]]

    def factor(self, name: str) -> float:
        """The factor of a row's own rate: from 1 on towards the best, the first as good as it is.

        As good: the best is ahead by no more than the standard error of the difference over the
        folds (Breiman et al., "Classification and Regression Trees", 1984). A row that was not
        tried keeps its own rate.
        """
        rates = sorted(self.tried.get(name, ()), key=lambda rate: abs(np.log(rate.factor)))
        if not rates:
            return 1.0
        best = max(rates, key=lambda rate: rate.mean)
        low, high = sorted((1.0, best.factor))
        way = (rate for rate in rates if low <= rate.factor <= high)
        return next(rate.factor for rate in way if _as_good(rate, best))


def _as_good(rate: Rate, best: Rate) -> bool:
    ahead = np.subtract(best.figures, rate.figures)
    error = ahead.std(ddof=1) / np.sqrt(len(ahead)) if len(ahead) > 1 else 0.0
    return bool(ahead.mean() <= error)


def at_rate(config: TrainConfig, factor: float) -> TrainConfig:
    """The config with its method's own rate times ``factor``."""
    if factor == 1:
        return config
    return config.with_recipe(lr=float(f"{factor * config.full_recipe().lr:.3g}"))


def joined(earlier: Rates | None, now: Rates) -> Rates:
    """The rates of now, and those of other rows that were tried in the same way before."""
    if earlier is None or _way(earlier) != _way(now):
        return now
    return replace(now, tried={**earlier.tried, **now.tried})


def _way(rates: Rates) -> tuple[str, int, int, str]:
    return rates.dataset, rates.folds, rates.steps, rates.features_sha256


def write_rates(path: Path, rates: Rates) -> None:
    """Write the file, whole or not at all.

    Raises:
        OddframeError: it cannot be written.
    """
    write_text(path, json_text({"kind": KIND, "schema": SCHEMA, **asdict(rates)}, indent=1) + "\n")


def read_rates(path: Path) -> Rates | None:
    """Read it back; None: there is none.

    Raises:
        InputError: not one of these.
    """
    return read_record(path, "learning rates", KIND, SCHEMA, _rates) if path.exists() else None


def _rates(data: dict[str, Any]) -> Rates:
    tried = {
        name: tuple(Rate(**{**rate, "figures": tuple(rate["figures"])}) for rate in rates)
        for name, rates in data.pop("tried").items()
    }
    return Rates(**{**data, "code": Code(**data["code"]), "tried": tried})
