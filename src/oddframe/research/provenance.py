"""What a figure depends on, as digests: the code, the features, the protocol, the config."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import oddframe
from oddframe.research.protocol import Protocol
from oddframe.research.splits import Draws, Folds, Given, Inner, Split
from oddframe.training.config import TrainConfig
from oddframe.training.data.features import VideoFeatures

_PACKAGE = Path(oddframe.__file__).resolve().parent
# What says or draws figures changes none.
_NOT_COUNTED = ("cli", "outputs")
# What records and digests call each way to split, whatever its class is called.
_SPLIT_NAMES: dict[type, str] = {Folds: "Folds", Draws: "Draws", Given: "Given", Inner: "Inner"}


@dataclass(frozen=True)
class Code:
    """Which code made a figure.

    Attributes:
        version: Of oddframe.
        commit: Of the source tree, empty where oddframe was installed without one.
        sha256: Of the modules that figures depend on: what is not committed yet shows here.
    """

    version: str
    commit: str
    sha256: str


@lru_cache(maxsize=1)
def code() -> Code:
    """The code that runs."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        inside = path.relative_to(_PACKAGE)
        if inside.parts[0] not in _NOT_COUNTED:
            digest.update(f"{inside.as_posix()}\0".encode() + path.read_bytes())
    return Code(oddframe.__version__, _commit(_PACKAGE.parents[1]), digest.hexdigest())


def _commit(tree: Path) -> str:
    """The commit that a source tree is at, read from its files; empty where there is none."""
    try:
        head = (tree / ".git" / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        if (tree / ".git" / name).is_file():
            return (tree / ".git" / name).read_text().strip()
        packed = (tree / ".git" / "packed-refs").read_text().splitlines()
        return next((line.split()[0] for line in packed if line.endswith(f" {name}")), "")
    except OSError:
        return ""


def features_digest(found: Sequence[VideoFeatures]) -> str:
    """sha256 (hex) of what is learned from and tested on: contents, specs and labels, in order."""
    digest = hashlib.sha256()
    for each in found:
        video = each.video
        specs = sorted(features.spec.hash() for features in each.features.values())
        truth = None if video.truth is None else (video.truth.unit, video.truth.intervals)
        row = (video.path.name, each.sha256, specs, video.abnormal, video.group, video.part, truth)
        digest.update(repr(row).encode())
    return digest.hexdigest()


def training_facts(config: TrainConfig) -> dict[str, Any]:
    """All of a config that a training depends on beside its features and its part.

    The method's settings are written out: two ways to say the same are the same.
    """
    method, settings = config.chosen_method()
    recipe = asdict(config.full_recipe())
    others = config.recipe.model_dump(include={"feature_noise", "feature_dropout", "seed"})
    return {
        "method": method.name,
        "settings": settings.model_dump(mode="json"),
        "recipe": recipe | others,
        "bags": config.bags.model_dump(mode="json"),
        "standardise": config.standardise,
        "temper": config.temper,
    }


def protocol_facts(protocol: Protocol) -> dict[str, Any]:
    """A protocol as JSON types, but for how often it is repeated."""
    facts: dict[str, Any] = {}
    for name, value in vars(protocol).items():
        if name == "split":
            facts[name] = _split_facts(value)
        elif name != "repeats":
            plain = is_dataclass(value) and not isinstance(value, type)
            facts[name] = asdict(value) if plain else value
    return facts


def _split_facts(split: Split) -> dict[str, Any]:
    if isinstance(split, Given):
        names = sorted(Path(test).name for test in split.test)
        return {"split": _SPLIT_NAMES[Given], "test": len(names), "sha256": digest_of(names)}
    facts = vars(split)
    if isinstance(split, Inner):
        facts = facts | {"outer": _split_facts(split.outer)}
    return {"split": _SPLIT_NAMES[type(split)], **facts}


def digest_of(facts: Any) -> str:
    """sha256 (hex) of JSON types."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
