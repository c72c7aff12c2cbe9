"""The league: every method on the same draws, seeds, features and bags, by one recipe.

What is tested is what the last step left: nothing is chosen by a test video.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from oddframe.errors import OddframeError, UsageError
from oddframe.experiments.benchmark import BENCHMARKS, Benchmark
from oddframe.experiments.league_record import Entry, Failure, Kept, League
from oddframe.experiments.league_rows import STEPS, Entrant
from oddframe.experiments.parts import Draws
from oddframe.experiments.provenance import code, protocol_facts
from oddframe.experiments.reproduce import columns_of
from oddframe.experiments.reproduce_grid import known
from oddframe.experiments.reproduce_session import Session
from oddframe.experiments.reproduce_train import Task, training_digest
from oddframe.experiments.training_record import Training
from oddframe.methods.registry import get_method
from oddframe.training.config import TrainConfig

# A loss that falls by more than this share of its whole fall in the last quarter is not done.
_STILL_FALLING = 0.05
_FALLING = "the loss still fell at the end"


def repeats_of(benchmark: Benchmark, draws: int | None, seeds: int | None) -> int:
    """How often the benchmark's protocol is repeated: its draws, or its seeds.

    Raises:
        UsageError: the benchmark does not have what is asked for.
    """
    protocol = benchmark.protocol
    if isinstance(protocol.split, Draws):
        if seeds is not None:
            raise UsageError(
                f"--seeds: each draw of {benchmark.config} has a seed of its own; give --draws"
            )
        return draws or protocol.repeats
    if draws is not None:
        raise UsageError(f"--draws: {benchmark.config} is not drawn; give --seeds")
    return seeds or (protocol.repeats if benchmark.own_split else 1)


@dataclass(frozen=True)
class Heat:
    """Rows that read the same features, and the session that has these.

    Attributes:
        session: The features.
        rows: Who reads them.
        earlier: The league's record as it was: what is in it need not be trained again, even where
            the records of the trainings themselves are gone.
    """

    session: Session
    rows: tuple[Entrant, ...]
    earlier: League | None = None

    @property
    def tasks(self) -> list[Task]:
        """All its trainings; stopped early, all rows have some."""
        return [
            Task(row.title, row.config, part.repeat, part.fold)
            for part in self.session.parts
            for row in self.rows
        ]

    @property
    def missing(self) -> list[Task]:
        """Its trainings that are not there yet."""
        return [task for task in self.tasks if self.kept(task) is None]

    def kept(self, task: Task) -> Kept | None:
        """What there is of a training: by its own record, or by the league's as it was."""
        if (training := known(task, self.session.setting)) is not None:
            return _kept(training)
        if self.earlier is None:
            return None
        recorded = self._recorded(task.config)
        return next((each for each in recorded if each.place == (task.repeat, task.fold)), None)

    def beyond(self, row: Entrant) -> list[Kept]:
        """What the league's record has of a row in repeats that are not asked for now."""
        asked = {(part.repeat, part.fold) for part in self.session.parts}
        return [each for each in self._recorded(row.config) if each.place not in asked]

    def _recorded(self, config: TrainConfig) -> list[Kept]:
        """All that the league's record has of trainings by ``config``."""
        if self.earlier is None:
            return []
        digest = training_digest(config, self.session.setting)
        found = [entry for entry in self.earlier.entries if entry.digest == digest]
        return [each for entry in found for each in entry.trainings]


def collected(heats: Sequence[Heat], failed: Sequence[tuple[Task, OddframeError]] = ()) -> League:
    """The league of one benchmark from the trainings that there are by now.

    Rows that the record had before and that are not trained now stay, if they are of the same
    features, steps and protocol; so do repeats of a row that are more than are asked for now.
    """
    session, earlier = heats[0].session, heats[0].earlier
    setting = session.setting
    benchmark = BENCHMARKS[setting.dataset]
    recipe = session.config.full_recipe()
    entries = tuple(_entry(heat, row, failed) for heat in heats for row in heat.rows)
    asked = {(part.repeat, part.fold) for part in session.parts}
    now = League(
        dataset=setting.dataset,
        title=benchmark.title,
        columns=columns_of(benchmark),
        parts=tuple(sorted(asked.union(*(entry.by_place for entry in entries)))),
        steps=STEPS,
        segments=recipe.segments,
        bags=(recipe.normal_bags, recipe.abnormal_bags),
        average=recipe.average,
        joined=session.config.bags.mode == "joined",
        protocol=protocol_facts(setting.protocol),
        features_sha256=setting.features_sha256,
        code=code(),
        entries=entries,
    )
    return now if earlier is None else _with_rows_of(earlier, now)


def _with_rows_of(earlier: League, now: League) -> League:
    """The league of now, and the rows of the one before that go with it."""
    alone = all(get_method(entry.method).backbones for entry in now.entries)  # They look at frames.
    if (earlier.steps, _plain(earlier.protocol)) != (now.steps, _plain(now.protocol)):
        return now
    if not alone and earlier.features_sha256 != now.features_sha256:
        return now
    names = {entry.name for entry in now.entries}
    others = tuple(entry for entry in earlier.entries if entry.name not in names)
    base = replace(earlier, code=now.code) if alone else now
    parts = tuple(sorted({*earlier.parts, *now.parts})) if others else now.parts
    return replace(base, parts=parts, entries=(*now.entries, *others))


def _plain(facts: Mapping[str, Any]) -> str:
    """Whether they come from a file or not."""
    return json.dumps(facts, sort_keys=True)


def _entry(heat: Heat, row: Entrant, failed: Sequence[tuple[Task, OddframeError]]) -> Entry:
    tasks = replace(heat, rows=(row,)).tasks
    there = [each for task in tasks if (each := heat.kept(task)) is not None]
    there = sorted([*there, *heat.beyond(row)], key=lambda each: each.place)
    method, recipe = row.config.chosen_method()[0], row.config.full_recipe()
    return Entry(
        name=row.name,
        title=row.title,
        method=method.name,
        recipe="none"
        if method.stepless
        else f"{recipe.optimiser}, {recipe.lr:g}, {recipe.weight_decay:g}"
        + (f", norm {recipe.clip_norm:g}" if recipe.clip_norm else ""),
        digest=training_digest(row.config, heat.session.setting),
        trainings=tuple(there),
        notes=(*_looks(row.config), *_notes(there)),
        failed=tuple(
            Failure(task.repeat, task.fold, str(error))
            for task, error in failed
            if task.config == row.config
        ),
    )


def _kept(training: Training) -> Kept:
    cost = training.cost and replace(training.cost, device=training.device)
    told = training.warnings if flat(training) else (*training.warnings, _FALLING)
    return Kept(training.figures, cost, tuple(told), training.code.sha256)


def _looks(config: TrainConfig) -> tuple[str, ...]:
    """A line of a method that does not read what the others read."""
    only = config.chosen_method()[0].backbones
    return (f"looks at frames, {config.features.backbone}",) if only else ()


def _notes(trainings: Sequence[Kept]) -> tuple[str, ...]:
    """Warnings about a row's figures."""
    told = [line for training in trainings for line in training.told]
    lines = [
        f"{line} ({told.count(line)} of {len(trainings)} trainings)"
        for line in dict.fromkeys(told)
        # The second is of a method of normal videos: that is what it is.
        if line != _FALLING and "left aside" not in line
    ]
    if 2 * (falling := told.count(_FALLING)) > len(trainings):
        lines.append(f"not converged: {_FALLING} in {falling} of {len(trainings)} trainings")
    return tuple(lines)


def flat(training: Training) -> bool:
    """Whether the loss had come to rest: its last quarter lies hardly below the one before."""
    loss = np.array(training.learning.terms.get("loss", ()), dtype=np.float64)
    if len(loss) < 20:
        return True
    quarter = len(loss) // 4
    start, before, last = (
        loss[:3].mean(),
        loss[-2 * quarter : -quarter].mean(),
        loss[-quarter:].mean(),
    )
    return bool(before - last <= _STILL_FALLING * max(start - last, 1e-9))
