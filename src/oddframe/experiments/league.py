"""The league: every method on the same draws, seeds, features and bags, by one recipe.

The recipe is the local one of the benchmarks: each benchmark's own segments and bags, the same
number of steps for all, the last step; optimiser, rates and clipping are each method's own, as its
authors give them. Nothing is chosen for any method, so nothing can be chosen by a test video.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
from oddframe.training.feature_section import FeatureSection, SamplingChanges
from oddframe.training.listening import listens, listens_to

STEPS = 300
REFERENCE = "ur_dmu"
# What this project makes of it.
OWN = "oddframe"
# Where the published width would take a day of trainings on two cores.
_NARROWER = {"hasan": MethodSection(name="hasan", config={"widths": [64, 32, 16]})}
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


@dataclass(frozen=True)
class Heat:
    """Rows that read the same features, and the session that has these."""

    session: Session
    rows: tuple[Entrant, ...]

    @property
    def tasks(self) -> list[Task]:
        """All its trainings; stopped early, all rows have some."""
        return [
            Task(row.title, row.config, part.repeat, part.fold)
            for part in self.session.parts
            for row in self.rows
        ]


def entrants(
    config: TrainConfig, names: Sequence[str] = (), *, frames: bool = True
) -> tuple[Entrant, ...]:
    """The methods called ``names``, by the league's recipe; without any, all that can be.

    A method that looks at frames reads its own features of the same videos.

    Args:
        config: The benchmark's.
        names: In the registry, and ``ur_dmu_small``.
        frames: Whether there are frames to look at.

    Raises:
        UsageError: there is no such method, or there are no frames for it.
    """
    able = [name for name in method_names() if frames or _reads(config, name)]
    wanted = dict.fromkeys(names or (*able, SMALL))
    for name in wanted:
        if name != SMALL and not frames and not _reads(config, name):
            raise UsageError(f"{name} looks at frames, and this benchmark has only features")
    return tuple(_entrant(config, name) for name in wanted)


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
    section = SMALL_DATA if name == SMALL else _NARROWER.get(name, MethodSection(name=name))
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
    entered = listens_to(config.model_copy(update=changes), config.features.backbone)
    title = f"{method.title}, small" if name == SMALL or name in _NARROWER else method.title
    if listens(entered) and not sound_numbers(config.features.backbone):
        title += " (halves of the picture)"
    return Entrant(name, title, entered)


def collected(heats: Sequence[Heat], failed: Sequence[tuple[Task, OddframeError]] = ()) -> League:
    """The league of one benchmark from the trainings that there are by now."""
    session = heats[0].session
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
        entries=tuple(_entry(heat.session, row, failed) for heat in heats for row in heat.rows),
    )


def _entry(session: Session, row: Entrant, failed: Sequence[tuple[Task, OddframeError]]) -> Entry:
    tasks = Heat(session, (row,)).tasks
    found = [known(task, session.setting) for task in tasks]
    there = [training for training in found if training is not None]
    method, recipe = row.config.chosen_method()[0], row.config.full_recipe()
    costs = [
        replace(training.cost, device=training.device)
        for training in there
        if training.cost is not None
    ]
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
        notes=(*_looks(row.config), *_notes(there)),
        failed=tuple(
            Failure(task.repeat, task.fold, str(error))
            for task, error in failed
            if task.config == row.config
        ),
    )


def _looks(config: TrainConfig) -> tuple[str, ...]:
    """A line of a method that does not read what the others read."""
    only = config.chosen_method()[0].backbones
    return (f"looks at frames, {config.features.backbone}",) if only else ()


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
