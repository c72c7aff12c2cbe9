"""The rows of a league: who takes part, and by which recipe.

The recipe is the local one of the benchmarks: each benchmark's own segments and bags, the same
number of steps for all; optimiser, weight decay and clipping are each method's own, as its authors
give them, and so is its learning rate, times what was chosen on validation recordings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from oddframe.errors import UsageError
from oddframe.experiments.league_rates import Rates, at_rate
from oddframe.features.heard import sound_numbers
from oddframe.methods.registry import get_method, method_names
from oddframe.training.config import MethodSection, RecipeSection, TrainConfig
from oddframe.training.feature_section import FeatureSection, SamplingChanges
from oddframe.training.listening import listens, listens_to

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
    entered = listens_to(config.model_copy(update=changes), config.features.backbone)
    title = f"{method.title}, small" if name == SMALL or name in _NARROWER else method.title
    if listens(entered) and not sound_numbers(config.features.backbone):
        title += " (halves of the picture)"
    return Entrant(name, title, entered)
