"""How a training goes, kept beside its checkpoint: one that was killed goes on with all of it."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from oddframe.errors import InputError
from oddframe.experiments.figures import Figures
from oddframe.experiments.json_record import read_record
from oddframe.experiments.provenance import code
from oddframe.experiments.training_record import BestOnTest, Learning, figures_from
from oddframe.files import json_text, told, write_text
from oddframe.methods.base import Loss

KIND, SCHEMA = "oddframe course", 1
# Steps between two checkpoints.
KEEP_EVERY = 100
_MOST_POINTS = 100


class Course:
    """The terms of the loss, the looks at the test set and the time that a training took so far.

    It is written before each checkpoint, so what is kept reaches at least as far as that. A
    checkpoint of other code, or of a training that looked at the test set otherwise, is removed:
    such a training begins anew.

    Attributes:
        total: Steps in all.
        terms: Of the loss, a number a step.
        looks: Figures on the test set by step.

    Args:
        record: Where the record of the training will be.
        looking: Whether the test set is looked at on the way.

    Raises:
        OddframeError: a checkpoint that cannot be gone on from cannot be removed.
    """

    def __init__(self, record: Path, *, looking: bool):
        self.path, self.checkpoint = record.with_suffix(".course"), checkpoint_path(record)
        self.total = 0
        self.terms: dict[str, list[float]] = defaultdict(list)
        self.looks: dict[int, Figures] = {}
        self._looking = looking
        self._earlier = self._read() if self.checkpoint.exists() else {}
        if not self._earlier:
            discard(record)
        self._clock = float(self._earlier.get("seconds", 0.0)) - time.monotonic()
        self._processor = float(self._earlier.get("processor_s", 0.0)) - time.process_time()

    @property
    def seconds(self) -> float:
        """By the clock, what earlier processes took included."""
        return self._clock + time.monotonic()

    @property
    def processor_s(self) -> float:
        """Of processor time, likewise."""
        return self._processor + time.process_time()

    def step(self, step: int, total: int, loss: Loss) -> None:
        """A step was taken."""
        if step == 1:  # A collapsed training begins once more.
            self.terms.clear()
            self.looks.clear()
        elif not self.total:
            self._take_up(step - 1)
        self.total = total
        for name, term in {"loss": loss.total, **loss.terms}.items():
            self.terms[name].append(float(term.detach()))
        if step % KEEP_EVERY == 0 and step < total:
            self._keep()

    def look(self, step: int, figures: Figures) -> None:
        """What the network gives on the test set after this step."""
        self.looks[step] = figures
        if step % KEEP_EVERY == 0:
            self._keep()

    def learning(self) -> Learning:
        """At most a hundred points, each the mean since the one before."""
        if not self.total:  # Not trained by steps.
            return Learning((), {})
        parts = np.array_split(np.arange(self.total), min(self.total, _MOST_POINTS))
        means = {
            name: tuple(float(np.mean(np.take(values, part))) for part in parts)
            for name, values in self.terms.items()
        }
        return Learning(tuple(int(part[-1]) + 1 for part in parts), means)

    def best(self, lead: str) -> BestOnTest:
        """The first of the steps that do best on the test set by the figure ``lead``."""
        values = {step: float(getattr(f, lead)) for step, f in self.looks.items()}
        step = max(values, key=lambda each: (np.nan_to_num(values[each], nan=-1.0), -each))
        return BestOnTest(lead, step, self.looks[step], tuple(values), tuple(values.values()))

    def _keep(self) -> None:
        data = {
            "kind": KIND,
            "schema": SCHEMA,
            "code": code().sha256,
            "looking": self._looking,
            "seconds": self.seconds,
            "processor_s": self.processor_s,
            "terms": self.terms,
            "looks": {step: asdict(figures) for step, figures in self.looks.items()},
        }
        write_text(self.path, json_text(data))

    def _read(self) -> Mapping[str, Any]:
        try:
            data = read_record(self.path, "how a training goes", KIND, SCHEMA, _parsed)
        except InputError:
            return {}
        fits = (data["code"], data["looking"]) == (code().sha256, self._looking)
        return data if fits else {}

    def _take_up(self, done: int) -> None:
        """What was kept of the first ``done`` steps; what was done after the checkpoint goes."""
        for name, values in self._earlier["terms"].items():
            self.terms[name] = values[:done]
        looks: Mapping[int, Figures] = self._earlier["looks"]
        self.looks = {step: figures for step, figures in looks.items() if step <= done}


def checkpoint_path(record: Path) -> Path:
    """Where the checkpoint of a training is kept while it runs."""
    return record.with_suffix(".checkpoint")


def discard(record: Path) -> None:
    """Remove what is kept of a training on its way.

    Raises:
        OddframeError: it cannot be removed.
    """
    for path in (checkpoint_path(record), record.with_suffix(".course")):
        with told(path):
            path.unlink(missing_ok=True)


def _parsed(data: dict[str, Any]) -> dict[str, Any]:
    data["terms"] = {
        name: [math.nan if value is None else float(value) for value in values]
        for name, values in data["terms"].items()
    }
    data["looks"] = {int(step): figures_from(each) for step, each in data["looks"].items()}
    return data
