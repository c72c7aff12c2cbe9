"""The league: every method on the same draws, seeds, features and bags, by one recipe.

What is tested is what the last step left: nothing is chosen by a test video.

The rows of a league: who takes part, and by which recipe.

The recipe is the local one of the benchmarks: each benchmark's own segments and bags, the same
number of steps for all; optimiser, weight decay and clipping are each method's own, as its authors
give them, and so is its learning rate, times what was chosen on validation recordings.

How long a league will take: a few steps of every method first, then what trainings took.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from oddframe.errors import OddframeError, UsageError
from oddframe.features.join import count_audio_dims
from oddframe.methods.registry import get_method, method_names
from oddframe.research.benchmarks import BENCHMARKS, Benchmark
from oddframe.research.grid import known
from oddframe.research.grid_task import Task, train, training_digest
from oddframe.research.leaderboard.rates import Rates, at_rate
from oddframe.research.leaderboard.record import Entry, Failure, Kept, League
from oddframe.research.provenance import code, protocol_facts
from oddframe.research.records import Training
from oddframe.research.reproduce.reproduce import columns_of
from oddframe.research.session import Session
from oddframe.research.splits import Draws
from oddframe.training.audio_config import uses_audio, with_audio_dim
from oddframe.training.config import (
    FeatureSection,
    MethodSection,
    RecipeSection,
    SamplingChanges,
    TrainConfig,
)

STEPS = 300
REFERENCE = "ur_dmu"
# What this project makes of it.
OWN = "oddframe"
# One weight a number of a feature: what any method has to beat.
BASELINE = "linear"
# Where the published width would take a day of trainings on two cores.
_NARROWER = {"hasan": MethodSection(name="hasan", config={"widths": [64, 32, 16]})}
# A quarter of UR-DMU beside a linear path, for a few hundred videos: docs/fight.md has what
# validation recordings said of it.
SMALL = "ur_dmu_small"
_SMALL_UR_DMU = MethodSection(
    name="ur_dmu", config={"hidden": 128, "heads": 4, "head_dim": 32, "shortcut": True}
)


@dataclass(frozen=True)
class Entrant:
    """A row of the league: its name, what it is called in print, and what is trained."""

    name: str
    title: str
    config: TrainConfig


def entrants(
    config: TrainConfig,
    names: Sequence[str] = (),
    *,
    frames: bool = True,
    rates: Rates | None = None,
) -> tuple[Entrant, ...]:
    """The methods called ``names``, by the league's recipe; without any, all that can be.

    A method that looks at frames reads its own features of the same videos.

    Args:
        config: The benchmark's.
        names: In the registry, and ``ur_dmu_small``.
        frames: Whether there are frames to look at.
        rates: What was chosen for each; None: all keep their own.

    Raises:
        UsageError: there is no such method, or there are no frames for it.
    """
    able = [name for name in method_names() if frames or _reads(config, name)]
    wanted = dict.fromkeys(names or (*able, SMALL))
    for name in wanted:
        if name != SMALL and not frames and not _reads(config, name):
            raise UsageError(f"{name} looks at frames, and this benchmark has only features")
    rows = [_entrant(config, name) for name in wanted]
    if rates is not None:
        rows = [replace(row, config=at_rate(row.config, rates.factor(row.name))) for row in rows]
    return tuple(rows)


def by_features(rows: Sequence[Entrant]) -> list[tuple[Entrant, ...]]:
    """The rows, those together that read the same features; in the order of the first of each."""
    found: dict[str, list[Entrant]] = {}
    for row in rows:
        found.setdefault(row.config.features.model_dump_json(), []).append(row)
    return [tuple(each) for each in found.values()]


def _reads(config: TrainConfig, name: str) -> bool:
    only = get_method(name).backbones
    return not only or config.features.backbone in only


def _entrant(config: TrainConfig, name: str) -> Entrant:
    section = _SMALL_UR_DMU if name == SMALL else _NARROWER.get(name, MethodSection(name=name))
    method = get_method(section.name)
    own = config.recipe
    recipe = RecipeSection(
        steps=STEPS,
        segments=own.segments,
        normal_bags=own.normal_bags,
        abnormal_bags=own.abnormal_bags,
        average=own.average,
    )
    changes = {"method": section, "recipe": recipe, "standardise": True, "temper": True}
    if not _reads(config, section.name):
        changes |= {"features": FeatureSection(backbone=method.backbones[0])}
        changes |= {"fast": None, "training_features": SamplingChanges()}
    entered = with_audio_dim(config.model_copy(update=changes), config.features.backbone)
    title = f"{method.title}, small" if name == SMALL or name in _NARROWER else method.title
    if uses_audio(entered) and not count_audio_dims(config.features.backbone):
        title += " (halves of the picture)"
    return Entrant(name, title, entered)


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
        if method.closed_form
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


# Two trainings of so many steps tell what is fixed from what every step takes.
_FEW, _MORE = 2, 6


def pace(task: Task, session: Session) -> float:
    """Seconds that ``task`` will take, by two short trainings of it; 0 if it cannot be trained."""
    steps = task.config.recipe.steps
    try:
        few, more = (_seconds(task, session, n) for n in (_FEW, _MORE))
    except (OddframeError, RuntimeError, ValueError):  # Its own training will say why.
        return 0.0
    if task.config.chosen_method()[0].closed_form:
        return few
    step = max(0.0, more - few) / (_MORE - _FEW)
    return few + (steps - _FEW) * step


def _seconds(task: Task, session: Session, steps: int) -> float:
    part = next(
        part for part in session.parts if (part.repeat, part.fold) == (task.repeat, task.fold)
    )
    short = replace(task, config=task.config.with_recipe(steps=steps))
    with TemporaryDirectory() as folder:
        began = time.monotonic()
        train(short, part, replace(session.setting, folder=Path(folder)))
        return time.monotonic() - began


@dataclass
class Clock:
    """Seconds a training of each row, guessed first, then measured."""

    heats: Sequence[Heat]
    jobs: int = 1
    guessed: dict[str, float] = field(default_factory=dict)
    taken: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def guess(self, told: Callable[[str, float, int], None]) -> None:
        """Time one training of each row that has some to do; ``translate_os_errors`` its name,
        seconds, number.

        A row that was trained before takes what it took then.
        """
        for heat in self.heats:
            for task in heat.tasks:
                if (training := known(task, heat.session.setting)) is not None:
                    self.done(task.name, training.seconds)
            todo = heat.missing
            for name in dict.fromkeys(task.name for task in todo):
                own = [task for task in todo if task.name == name]
                if name not in self.taken:
                    self.guessed[name] = pace(own[0], heat.session)
                told(name, self._of(name), len(own))

    def todo(self) -> list[Task]:
        """The trainings that are not there yet."""
        return [task for heat in self.heats for task in heat.missing]

    def done(self, name: str, seconds: float) -> None:
        """A training took so long."""
        self.taken[name].append(seconds)

    def left(self, todo: Sequence[Task]) -> float:
        """Seconds that these trainings will take."""
        return sum(self._of(task.name) for task in todo) / self.jobs

    def _of(self, name: str) -> float:
        taken = self.taken.get(name)
        return float(np.mean(taken)) if taken else self.guessed.get(name, 0.0)
