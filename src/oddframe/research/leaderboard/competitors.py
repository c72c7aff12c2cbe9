"""The methods of a league, and the recipe that trains them.

The recipe is that of this project's benchmarks: each benchmark's own segments and bags, and the
same number of steps for all. Optimiser, weight decay and clipping are each method's own, as its
authors give them, and so is its learning rate, times a factor that was chosen on validation
recordings (``rates``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oddframe.errors import UsageError
from oddframe.features.spec import count_audio_dims
from oddframe.methods.registry import get_method, method_names
from oddframe.training.audio_config import uses_audio, with_audio_dim
from oddframe.training.config import (
    FeatureSection,
    MethodSection,
    RecipeSection,
    SamplingChanges,
    TrainConfig,
)

STEPS = 300
REFERENCE_METHOD = "ur_dmu"
# The method of this project.
OWN_METHOD = "oddframe"
# One weight per feature dimension, which any other method should beat.
BASELINE_METHOD = "linear"
# A quarter of UR-DMU's width with a linear path beside it, for a few hundred videos; docs/fight.md
# has its figures on validation recordings.
SMALL_UR_DMU = "ur_dmu_small"
_SMALL_UR_DMU = MethodSection(
    name="ur_dmu", config={"hidden": 128, "heads": 4, "head_dim": 32, "shortcut": True}
)


@dataclass(frozen=True)
class Competitor:
    """A row of the league: its name, its title in tables, and what is trained."""

    name: str
    title: str
    config: TrainConfig


def list_competitors(
    config: TrainConfig,
    names: Sequence[str] = (),
    *,
    frames: bool = True,
) -> tuple[Competitor, ...]:
    """The methods called ``names``, by the league's recipe; without names, all that can be trained.

    A method that reads frames gets features of its own, of the same videos.

    Args:
        config: The benchmark's configuration.
        names: Names in the registry of methods, or ``ur_dmu_small``.
        frames: Whether the data set has frames.

    Raises:
        UsageError: there is no such method, or it needs frames and there are none.
    """
    able = [name for name in method_names() if frames or _reads_features_of(config, name)]
    wanted = dict.fromkeys(names or (*able, SMALL_UR_DMU))
    for name in wanted:
        if name != SMALL_UR_DMU and not frames and not _reads_features_of(config, name):
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
    if name == SMALL_UR_DMU:
        section, method = _SMALL_UR_DMU, get_method(_SMALL_UR_DMU.name)
    else:
        method = get_method(name)
        section = MethodSection(name=name, config=dict(method.league_config))
    own = config.recipe
    recipe = RecipeSection(
        steps=STEPS,
        segments=own.segments,
        normal_bags=own.normal_bags,
        abnormal_bags=own.abnormal_bags,
        average=own.average,
    )
    changes = {
        "method": section,
        "recipe": recipe,
        "standardise": True,
        "temperature_scaling": True,
    }
    if not _reads_features_of(config, section.name):
        changes |= {"features": FeatureSection(backbone=method.backbones[0])}
        changes |= {"fast": None, "training_features": SamplingChanges()}
    changed = with_audio_dim(config.model_copy(update=changes), config.features.backbone)
    title = method.title
    if name == SMALL_UR_DMU or method.league_config:
        title += ", small"
    if uses_audio(changed) and not count_audio_dims(config.features.backbone):
        title += " (halves of the picture)"
    return Competitor(name, title, changed)
