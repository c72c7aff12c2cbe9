"""What a figure depends on, as digests: the code, the features, the protocol, the configuration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from oddframe._utils.version import VERSION
from oddframe.research.protocol import (
    BenchmarkProtocol,
    ClipSplit,
    Folds,
    InnerFolds,
    OwnSplit,
    RandomDraws,
)
from oddframe.training.config import TrainConfig
from oddframe.training.data.features import VideoFeatures

_PACKAGE = Path(__file__).resolve().parents[1]
# Folders whose code changes no figure.
_WITHOUT_FIGURES = ("cli", "outputs")
# Names of the splits in records and digests, whatever their classes are called.
_SPLIT_NAMES: dict[type, str] = {
    Folds: "Folds",
    RandomDraws: "Draws",
    OwnSplit: "Given",
    InnerFolds: "Inner",
}


@dataclass(frozen=True)
class CodeVersion:
    """The code that computed a figure.

    Attributes:
        version: Version of oddframe.
        commit: Commit of the source tree; empty where oddframe was installed without one.
        sha256: Digest of the modules that figures depend on; it shows uncommitted changes, too.
    """

    version: str
    commit: str
    sha256: str


@lru_cache(maxsize=1)
def current_code() -> CodeVersion:
    """The code that is running."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        module = path.relative_to(_PACKAGE)
        if module.parts[0] not in _WITHOUT_FIGURES:
            digest.update(f"{module.as_posix()}\0".encode() + path.read_bytes())
    return CodeVersion(VERSION, _commit(_PACKAGE.parents[1]), digest.hexdigest())


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


def videos_digest(found: Sequence[VideoFeatures]) -> str:
    """sha256 (hex) of the features that are trained and tested on: contents, specs and labels."""
    digest = hashlib.sha256()
    for each in found:
        video = each.video
        specs = sorted(features.spec.hash() for features in each.features.values())
        truth = None if video.truth is None else (video.truth.unit, video.truth.intervals)
        row = (video.path.name, each.sha256, specs, video.abnormal, video.group, video.part, truth)
        digest.update(repr(row).encode())
    return digest.hexdigest()


def training_facts(config: TrainConfig) -> dict[str, Any]:
    """Everything in a configuration that a training depends on.

    All settings of the method are written out: two configurations that mean the same give the same
    facts.
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
        "temper": config.temperature_scaling,
    }


def protocol_facts(protocol: BenchmarkProtocol) -> dict[str, Any]:
    """A protocol as JSON types, without its number of repeats."""
    facts: dict[str, Any] = {}
    for name, value in vars(protocol).items():
        if name == "split":
            facts[name] = _split_facts(value)
        elif name != "repeats":
            is_rule = is_dataclass(value) and not isinstance(value, type)
            facts[name] = asdict(value) if is_rule else value
    return facts


def _split_facts(split: ClipSplit) -> dict[str, Any]:
    name = _SPLIT_NAMES[type(split)]
    if isinstance(split, OwnSplit):
        names = sorted(Path(test).name for test in split.test)
        return {"split": name, "test": len(names), "sha256": facts_digest(names)}
    facts = vars(split)
    if isinstance(split, InnerFolds):
        facts = facts | {"outer": _split_facts(split.outer)}
    return {"split": name, **facts}


def facts_digest(facts: Any) -> str:
    """sha256 (hex) of JSON types."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
