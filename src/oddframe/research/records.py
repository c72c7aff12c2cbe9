"""One training of a table: what it gave, and all that it takes to make it again, as one file.

Records as JSON files of a kind and a version.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from oddframe._utils.files import json_text, open_regular_file, write_text
from oddframe.errors import InputError
from oddframe.research.fold_figures import Figures
from oddframe.research.provenance import Code

Record = TypeVar("Record")


def read_record(
    path: Path, what: str, kind: str, schema: int, make: Callable[[dict[str, Any]], Record]
) -> Record:
    """A record, made of what stands in its file beside kind and version.

    Args:
        path: The file.
        what: What it is the record of, as the error says it.
        kind: Its kind.
        schema: Its version.
        make: Makes it of JSON types.

    Raises:
        InputError: no such file, or not one of these.
    """
    try:
        with open_regular_file(path) as file:
            data = json.loads(file.read())
        if (data.pop("kind"), data.pop("schema")) != (kind, schema):
            raise ValueError("of another kind or version")
        return make(data)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: not the record of {what} ({error})") from None


KIND, SCHEMA = "oddframe training", 1


@dataclass(frozen=True)
class Learning:
    """How a training went: steps, and the mean of every term of the loss since the step before."""

    steps: tuple[int, ...]
    terms: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class BestOnTest:
    """The best step on the test set, as authors report it; only test labels can choose it.

    Attributes:
        chosen_by: The figure that was looked at.
        step: The best one.
        figures: What the network gives at that step.
        steps: The steps that were looked at.
        values: What each of them gave.
    """

    chosen_by: str
    step: int
    figures: Figures
    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Cost:
    """What a method costs, in processor time: on a busy machine a clock would measure the others.

    Attributes:
        parameters: Numbers that are learned, or kept in their place.
        training_s: Seconds of processor time that training took, all threads together.
        head_ms: Milliseconds of processor time that scoring an hour of video takes, from features.
        device: Where both were measured; on a graphics card the processor only hands out the work.
    """

    parameters: int
    training_s: float
    head_ms: float
    device: str = "cpu"


@dataclass(frozen=True)
class Training:
    """What one training gave.

    Attributes:
        dataset: Name of the data set.
        figures: Of the network after the last step, on the test part; its repeat and fold.
        steps: Steps that were taken.
        seed: Of the weights, the noise and the bags.
        config: The whole configuration.
        facts: What of it a training depends on, written out.
        protocol: How the data was split and tested.
        features_sha256: Of what was learned from and tested on.
        code: What made it.
        torch: Version of PyTorch.
        device: Where it was trained.
        threads: Threads it was given.
        seconds: What it took, testing included.
        learning: Terms of the loss.
        warnings: What was noticed, a line each.
        best_on_test: Only where that was asked for.
        cost: What it took; not in records of older versions.
    """

    dataset: str
    figures: Figures
    steps: int
    seed: int
    config: Mapping[str, Any]
    facts: Mapping[str, Any]
    protocol: Mapping[str, Any]
    features_sha256: str
    code: Code
    torch: str
    device: str
    threads: int
    seconds: float
    learning: Learning
    warnings: tuple[str, ...] = ()
    best_on_test: BestOnTest | None = None
    cost: Cost | None = None

    @property
    def repeat(self) -> int:
        """Number of the repeat."""
        return self.figures.repeat

    @property
    def fold(self) -> int:
        """Number of the fold in it."""
        return self.figures.fold


def write_training(path: Path, training: Training) -> None:
    """Write the file, whole or not at all; figures that are not defined are null.

    Raises:
        OddframeError: it cannot be written.
    """
    data = {"kind": KIND, "schema": SCHEMA, **asdict(training)}
    write_text(path, json_text(data, indent=1) + "\n")


def read_training(path: Path) -> Training:
    """Read it back.

    Raises:
        InputError: no such file, or not one of these.
    """
    return read_record(path, "a training", KIND, SCHEMA, _training)


def _training(data: dict[str, Any]) -> Training:
    best, learning = data["best_on_test"], data["learning"]
    data |= {
        "figures": figures_from(data["figures"]),
        "code": Code(**data["code"]),
        "learning": Learning(
            tuple(learning["steps"]),
            {name: _floats(values) for name, values in learning["terms"].items()},
        ),
        "warnings": tuple(data["warnings"]),
        "best_on_test": None if best is None else _best(best),
        "cost": Cost(**data["cost"]) if data.get("cost") else None,
    }
    return Training(**data)


def _best(data: Mapping[str, Any]) -> BestOnTest:
    figures, steps, values = figures_from(data["figures"]), tuple(data["steps"]), data["values"]
    return BestOnTest(data["chosen_by"], data["step"], figures, steps, _floats(values))


def figures_from(data: Mapping[str, Any]) -> Figures:
    known = {f.name for f in fields(Figures)}
    values: dict[str, Any] = {k: math.nan if v is None else v for k, v in data.items()}
    return Figures(**{name: value for name, value in values.items() if name in known})


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(math.nan if value is None else float(value) for value in values)
