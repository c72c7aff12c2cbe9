"""Records: JSON files of a kind and a version that hold one dataclass; the record of a training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from oddframe._utils.files import describe_read_error, json_text, open_regular_file, write_text
from oddframe.errors import InputError
from oddframe.research.fold_figures import Figure, FoldFigures
from oddframe.research.provenance import CodeVersion

_RecordT = TypeVar("_RecordT")


class RecordFormat(Generic[_RecordT]):
    """How records of one type are read and written.

    Args:
        record: The dataclass.
        kind: Kind that the file names.
        schema: Version of the format that the file names.
        about: What is recorded, for error messages.
    """

    def __init__(self, record: type[_RecordT], kind: str, schema: int, about: str):
        self.kind, self.schema, self.about = kind, schema, about
        self._adapter = TypeAdapter(record)

    def read(self, path: Path) -> _RecordT:
        """The record in a file.

        Raises:
            InputError: the file does not exist, or holds something else.
        """
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
        """Write a file, whole or not at all; undefined figures are null.

        Raises:
            OddframeError: it cannot be written.
        """
        fields = self._adapter.dump_python(record, by_alias=True)
        data = {"kind": self.kind, "schema": self.schema, **fields}
        write_text(path, json_text(data, indent=1) + "\n")


@dataclass(frozen=True)
class LossCurves:
    """The loss during a training: steps, and the mean of each term since the step before."""

    steps: tuple[int, ...]
    terms: Mapping[str, tuple[Figure, ...]]


@dataclass(frozen=True)
class BestOnTest:
    """The best step on the test set, as authors report it; choosing it needs the test labels.

    Attributes:
        chosen_by: The figure that it is best by.
        step: The best step.
        figures: The network's figures after that step.
        steps: The steps after which the network was tested.
        values: The chosen figure after each of them.
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
        dataset: Name of the data set.
        figures: Of the network after the last step, on the test part; with repeat and fold.
        steps: Number of steps.
        seed: Seed of the weights, the noise and the bags.
        config: The whole configuration.
        facts: What the training depends on of it, written out.
        protocol: How the data was split and tested.
        features_sha256: Digest of the features that were trained and tested on.
        code: The code that trained.
        torch: Version of PyTorch.
        device: Where it was trained.
        threads: Number of threads.
        seconds: Time for training and testing.
        learning: The loss during the training.
        warnings: Warnings of the training, a line each.
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
        """Number of the repeat."""
        return self.figures.repeat

    @property
    def fold(self) -> int:
        """Number of the fold in the repeat."""
        return self.figures.fold


TRAINING_FORMAT = RecordFormat(TrainingRecord, "oddframe training", 1, "a training")

read_training, write_training = TRAINING_FORMAT.read, TRAINING_FORMAT.write
