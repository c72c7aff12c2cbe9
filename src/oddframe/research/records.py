"""Records: JSON files of a kind and a version that hold one dataclass; the record of a training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from oddframe._utils.files import describe_read_error, json_text, open_regular_file, write_text
from oddframe._utils.version import VERSION
from oddframe.errors import InputError
from oddframe.research.fold_figures import Figure, FoldFigures
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
_SPLIT_NAMES = {Folds: "Folds", RandomDraws: "Draws", OwnSplit: "Given", InnerFolds: "Inner"}


@dataclass(frozen=True)
class CodeVersion:
    """The code that computed a figure; ``commit`` is empty where it was installed without one.

    ``sha256`` is of the modules that figures depend on; it shows uncommitted changes, too.
    """

    version: str
    commit: str
    sha256: str


@lru_cache(maxsize=1)
def current_code() -> CodeVersion:
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
    others = config.recipe.model_dump(include={"feature_noise", "feature_dropout", "seed"})
    return {
        "method": method.name,
        "settings": settings.model_dump(mode="json"),
        "recipe": asdict(config.full_recipe()) | others,
        "bags": config.bags.model_dump(mode="json"),
        "standardise": config.standardise,
        "temper": config.temperature_scaling,
    }


def protocol_facts(protocol: BenchmarkProtocol) -> dict[str, Any]:
    """A protocol as JSON types, without its number of repeats."""
    facts = asdict(protocol) | {"split": _split_facts(protocol.split)}
    del facts["repeats"]
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


_RecordT = TypeVar("_RecordT")


class RecordFormat(Generic[_RecordT]):
    """How records of one type are read and written; ``about`` is for error messages."""

    def __init__(self, record: type[_RecordT], kind: str, schema: int, about: str):
        self.kind, self.schema, self.about = kind, schema, about
        self._adapter = TypeAdapter(record)

    def read(self, path: Path) -> _RecordT:
        """The record in a file; InputError if it holds something else."""
        try:
            with open_regular_file(path) as file:
                data = json.loads(file.read())
            if (data["kind"], data["schema"]) != (self.kind, self.schema):
                raise ValueError("of another kind or version")
            return self._adapter.validate_python(data)
        except OSError as error:
            raise InputError(f"{path}: {describe_read_error(error)}") from None
        except ValidationError as error:
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            reason = str(error)
        raise InputError(f"{path}: not the record of {self.about} ({reason})")

    def write(self, path: Path, record: _RecordT) -> None:
        """Write a file, whole or not at all; undefined figures are null."""
        data = {"kind": self.kind, "schema": self.schema}
        data |= self._adapter.dump_python(record, by_alias=True)
        write_text(path, json_text(data, indent=1) + "\n")


@dataclass(frozen=True)
class LossCurves:
    """The loss during a training: steps, and the mean of each term since the step before."""

    steps: tuple[int, ...]
    terms: Mapping[str, tuple[Figure, ...]]


@dataclass(frozen=True)
class BestOnTest:
    """The best step on the test set, as authors report it; choosing it needs the test labels.

    The network was tested after each of ``steps``; ``values`` are the figure ``chosen_by`` then.
    """

    chosen_by: str
    step: int
    figures: FoldFigures
    steps: tuple[int, ...]
    values: tuple[Figure, ...]


@dataclass(frozen=True)
class Cost:
    """What a method costs, in processor time: on a busy machine, the clock measures other work.

    Attributes:
        parameters: Number of learned parameters, or of stored values of a method without any.
        training_s: Processor seconds of the training, all threads together.
        head_ms: Processor milliseconds for scoring an hour of video, given its features.
        device: Where both were measured; on a graphics card the processor only starts the work.
    """

    parameters: int
    training_s: float
    head_ms: float
    device: str = "cpu"


@dataclass(frozen=True)
class TrainingRecord:
    """The result of one training, and everything that is needed to repeat it.

    Attributes:
        figures: Of the network after the last step, on the test part; with repeat and fold.
        seed: Seed of the weights, the noise and the bags.
        facts: What the training depends on of the configuration, written out.
        best_on_test: Only if it was asked for.
        cost: Processor time and parameters; older records have none.
    """

    dataset: str
    figures: FoldFigures
    steps: int
    seed: int
    config: Mapping[str, Any]
    facts: Mapping[str, Any]
    protocol: Mapping[str, Any]
    features_sha256: str
    code: CodeVersion
    torch: str
    device: str
    threads: int
    seconds: float
    learning: LossCurves
    warnings: tuple[str, ...] = ()
    best_on_test: BestOnTest | None = None
    cost: Cost | None = None

    @property
    def repeat(self) -> int:
        return self.figures.repeat

    @property
    def fold(self) -> int:
        return self.figures.fold


TRAINING_FORMAT = RecordFormat(TrainingRecord, "oddframe training", 1, "a training")

read_training, write_training = TRAINING_FORMAT.read, TRAINING_FORMAT.write
