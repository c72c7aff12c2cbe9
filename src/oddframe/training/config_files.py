"""Find configurations by name or path, and change them as the command line and Python ask."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Literal

from oddframe._utils.files import exists, is_file
from oddframe.errors import UsageError
from oddframe.methods.registry import get_method
from oddframe.training.config import (
    FeatureChanges,
    MethodSection,
    TrainConfig,
    with_method_backbone,
)
from oddframe.video.snippets.preprocessing import parse_grid

_PACKAGE = Path(__file__).resolve().parents[1]
# In the installed package, or in the source tree.
_FOLDERS = (_PACKAGE / "configs", _PACKAGE.parents[1] / "configs")


def shipped_configs() -> dict[str, Path]:
    """The shipped YAML files by name: ``fight``, ``ped2``, ``urdmu_published`` ..."""
    found = [path for folder in _FOLDERS for path in sorted(folder.glob("*.yaml"))]
    return {path.stem: path for path in reversed(found)}


def shipped_config(name: str) -> Path:
    """The shipped YAML file of that name.

    Raises:
        UsageError: there is none; the message names the nearest.
    """
    shipped = shipped_configs()
    if name in shipped:
        return shipped[name]
    near = difflib.get_close_matches(Path(name).stem.lower(), shipped, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    known = ", ".join(sorted(shipped)) or "none"
    raise UsageError(f"no configuration is called {name}, only {known}{meant}")


def find_config(name_or_path: str) -> Path:
    """The file of that path, or else the shipped configuration of that name.

    Raises:
        UsageError: there is neither; the message names the nearest.
    """
    path = Path(name_or_path)
    if is_file(path) or (exists(path) and name_or_path not in shipped_configs()):
        return path
    return shipped_config(name_or_path)


def with_method(config: TrainConfig, name: str) -> TrainConfig:
    """``config`` with another method and its default settings, learning rate and weight decay.

    Also changes the features where the method does not read those of ``config``.

    Raises:
        UsageError: there is no such method.
    """
    if get_method(name).name == config.method.name:
        return config
    changed = config.with_recipe(lr=None, weight_decay=None)
    return with_method_backbone(changed.model_copy(update={"method": MethodSection(name=name)}))


def with_fast(config: TrainConfig) -> TrainConfig:
    """``config`` with a profile ``fast``, by default of one snippet in five."""
    if config.fast is not None:
        return config
    return config.model_copy(update={"fast": FeatureChanges(stride=5 * config.features.stride)})


def with_grid(config: TrainConfig, kind: Literal["tiles", "regions"], text: str) -> TrainConfig:
    """``config`` with ``tiles`` or ``regions`` of so many rows and columns, as ``2x3``.

    Raises:
        UsageError: ``text`` is no grid, or the configuration asks for crops or mirrored pictures.
    """
    grid = parse_grid(text)
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
