"""The league: every method on the same draws, seeds, features and bags, by one recipe.

The recipe is the local one of the benchmarks: each benchmark's own segments and bags, the same
number of steps for all, the last step; optimiser, rates and clipping are each method's own, as its
authors give them. Nothing is chosen for any method, so nothing can be chosen by a test video.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oddframe.errors import OddframeError, UsageError
from oddframe.experiments.benchmark import BENCHMARKS, Benchmark
from oddframe.experiments.league_record import Entry, Failure, League
from oddframe.experiments.parts import Draws
from oddframe.experiments.provenance import code, protocol_facts
from oddframe.experiments.reproduce import columns_of
from oddframe.experiments.reproduce_grid import known
from oddframe.experiments.reproduce_session import Session
from oddframe.experiments.reproduce_train import Task
from oddframe.experiments.training_record import Training
from oddframe.features.heard import sound_numbers
from oddframe.methods.registry import get_method, method_names
from oddframe.training.config import SMALL_DATA, MethodSection, RecipeSection, TrainConfig
from oddframe.training.listening import listens, listens_to

STEPS = 300
REFERENCE = "ur_dmu"
# UR-DMU as this project trains it on a few hundred videos, beside the published one.
SMALL = "ur_dmu_small"
# Names on the command line; what they are called elsewhere.
LEAGUE_BENCHMARKS = {
    "ped2": "ped2",
    "ur_fall": "ur_fall",
    "fight": "surveillance_fight",
    "shanghaitech_tracks": "shanghaitech_tracks",
}
# A loss that falls by more than this share of its whole fall in the last quarter is not done.
_STILL_FALLING = 0.05


@dataclass(frozen=True)
class Entrant:
    """A row of the league: its name, what it is called in print, and what is trained."""

    name: str
    title: str
    config: TrainConfig


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


def entrants(config: TrainConfig, names: Sequence[str] = ()) -> tuple[Entrant, ...]:
    """The methods called ``names``, by the league's recipe; without any, all that read its
    features.

    Raises:
        UsageError: there is no such method, or it reads other features.
    """
    reading = [name for name in method_names() if _reads(config, name)]
    wanted = dict.fromkeys(names or (*reading, SMALL))
    for name in wanted:
        if name != SMALL and not _reads(config, name):
            raise UsageError(
                f"{name} reads {get_method(name).backbones[0]}, and all in a league read "
                f"{config.features.backbone}; measure it by benchmarks/local.py"
            )
    return tuple(_entrant(config, name) for name in wanted)


def _reads(config: TrainConfig, name: str) -> bool:
    only = get_method(name).backbones
    return not only or config.features.backbone in only


def _entrant(config: TrainConfig, name: str) -> Entrant:
    section = SMALL_DATA if name == SMALL else MethodSection(name=name)
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
    entered = listens_to(config.model_copy(update=changes), config.features.backbone)
    title = f"{method.title}, small" if name == SMALL else method.title
    if listens(entered) and not sound_numbers(config.features.backbone):
        title += " (halves of the picture)"
    return Entrant(name, title, entered)


def tasks_of(rows: Sequence[Entrant], session: Session) -> list[Task]:
    """All trainings of a league; stopped early, all rows have some."""
    return [
        Task(row.title, row.config, part.repeat, part.fold)
        for part in session.parts
        for row in rows
    ]


def collected(
    session: Session,
    rows: Sequence[Entrant],
    failed: Sequence[tuple[Task, OddframeError]] = (),
) -> League:
    """The league of one benchmark from the trainings that there are by now."""
    setting = session.setting
    benchmark = BENCHMARKS[setting.dataset]
    recipe = session.config.full_recipe()
    return League(
        dataset=setting.dataset,
        title=benchmark.title,
        columns=columns_of(benchmark),
        parts=tuple((part.repeat, part.fold) for part in session.parts),
        steps=STEPS,
        segments=recipe.segments,
        bags=(recipe.normal_bags, recipe.abnormal_bags),
        average=recipe.average,
        joined=session.config.bags.mode == "joined",
        protocol=protocol_facts(setting.protocol),
        features_sha256=setting.features_sha256,
        code=code(),
        entries=tuple(_entry(session, row, failed) for row in rows),
    )


def _entry(session: Session, row: Entrant, failed: Sequence[tuple[Task, OddframeError]]) -> Entry:
    tasks = tasks_of([row], session)
    found = [known(task, session.setting) for task in tasks]
    there = [training for training in found if training is not None]
    method, recipe = row.config.chosen_method()[0], row.config.full_recipe()
    costs = [training.cost for training in there if training.cost is not None]
    return Entry(
        name=row.name,
        title=row.title,
        method=method.name,
        recipe="none"
        if method.stepless
        else f"{recipe.optimiser}, {recipe.lr:g}, {recipe.weight_decay:g}"
        + (f", norm {recipe.clip_norm:g}" if recipe.clip_norm else ""),
        figures=tuple(training.figures for training in there),
        costs=tuple(costs),
        notes=_notes(there),
        failed=tuple(
            Failure(task.repeat, task.fold, str(error))
            for task, error in failed
            if task.config == row.config
        ),
    )


def _notes(trainings: Sequence[Training]) -> tuple[str, ...]:
    """What a reader has to know of a row before its figures are trusted."""
    told = [warning for training in trainings for warning in training.warnings]
    lines = [
        f"{line} ({told.count(line)} of {len(trainings)} trainings)"
        for line in dict.fromkeys(told)
        if "left aside" not in line  # Of a method of normal videos: that is what it is.
    ]
    falling = sum(not flat(training) for training in trainings)
    if 2 * falling > len(trainings):
        lines.append(
            f"not converged: the loss still fell at the end in {falling} of "
            f"{len(trainings)} trainings"
        )
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
