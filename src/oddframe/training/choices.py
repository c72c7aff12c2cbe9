"""What the command line changes of a configuration."""

from __future__ import annotations

from typing import Literal

from oddframe.errors import UsageError
from oddframe.methods.registry import get_method
from oddframe.training.config import MethodSection, TrainConfig, reading_its_own
from oddframe.training.feature_section import FeatureChanges
from oddframe.video.views import grid_of


def with_method(config: TrainConfig, name: str) -> TrainConfig:
    """``config`` with another method, and that one's own settings, rate, decay and, if it reads
    only some backbones' features, the first of them.

    Raises:
        UsageError: there is no such method.
    """
    if get_method(name).name == config.method.name:
        return config
    changed = config.with_recipe(lr=None, weight_decay=None)
    return reading_its_own(changed.model_copy(update={"method": MethodSection(name=name)}))


def with_fast(config: TrainConfig) -> TrainConfig:
    """``config`` with a profile ``fast``, which looks at one snippet of five if it has none yet."""
    if config.fast is not None:
        return config
    return config.model_copy(update={"fast": FeatureChanges(stride=5 * config.features.stride)})


def with_grid(config: TrainConfig, kind: Literal["tiles", "regions"], text: str) -> TrainConfig:
    """``config`` with pictures in ``tiles`` or ``regions``, ``2x3``: rows x columns.

    Raises:
        UsageError: ``text`` is not that, or the configuration asks for crops or mirrored pictures.
    """
    grid = grid_of(text)
    seen = config.training_features
    fast = None if config.fast is None else config.fast.crops
    if any(c not in (None, ("full",)) for c in (config.features.crops, seen.crops, fast)):
        raise UsageError(
            f"--{kind}: the configuration asks for crops, and the two exclude each other"
        )
    if config.training_features.mirrored:
        raise UsageError(
            f"--{kind}: the configuration asks for mirrored pictures, too; leave one out"
        )
    changes: dict[str, object] = {"tiles": None, "regions": None, kind: grid}
    return config.model_copy(update={"features": config.features.model_copy(update=changes)})
