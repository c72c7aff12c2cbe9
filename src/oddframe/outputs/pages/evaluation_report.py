"""The contents of an evaluation page: an evaluation, and how the model was trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oddframe._utils.files import describe_read_error
from oddframe.errors import InputError
from oddframe.evaluation.results import Evaluation
from oddframe.outputs.tables import TextTable


@dataclass(frozen=True)
class LearningCurve:
    """Loss terms of one training.

    Attributes:
        name: Which training: ``seed 2022``.
        steps: (n,) step numbers.
        terms: (n,) values of each term by its name; ``loss`` is the total.
    """

    name: str
    steps: Sequence[int]
    terms: Mapping[str, Sequence[float]]

    @classmethod
    def read(cls, log: Path, name: str) -> LearningCurve:
        """Read the log of a training: JSON lines, one for each step.

        Args:
            log: The log file.
            name: Name of the curve.

        Raises:
            InputError: the file cannot be read, or is not the log of a training.
        """
        try:
            rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
            steps = [int(row["step"]) for row in rows]
            terms = [term for term in (rows[0] if rows else ()) if term != "step"]
            return cls(name, steps, {term: [float(row[term]) for row in rows] for term in terms})
        except OSError as error:
            raise InputError(f"{log}: {describe_read_error(error)}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{log}: not the log of a training ({error!r})") from None


@dataclass(frozen=True)
class SearchRow:
    """One row of a search.

    Attributes:
        settings: Settings that were tried: ``{"learning rate": "1e-4", "steps": "300"}``.
        figure: Their validation figure; None: they were not tried.
        chosen: Whether these settings were chosen.
        note: A remark: ``31 s``, ``did not fit into the budget``; may be empty.
    """

    settings: Mapping[str, str]
    figure: float | None
    chosen: bool = False
    note: str = ""


@dataclass(frozen=True)
class SearchTable:
    """A grid of settings and the figure of each.

    Attributes:
        figure: Name of the figure: ``video AUC on 14 validation videos``.
        rows: Settings in the order in which they were tried.
        note: Text below the table; may be empty.
    """

    figure: str
    rows: tuple[SearchRow, ...]
    note: str = ""


@dataclass(frozen=True)
class EvaluationReport:
    """What a page shows; it leaves out parts that are empty.

    Attributes:
        title: Title of the page: ``fight on clips.csv``.
        paragraphs: What was done.
        evaluation: Evaluation on videos that were not trained on; None: there were none, and the
            page says so.
        warnings: What a reader should know before trusting the figures.
        curves: Learning curves, one for each training.
        search: The search for settings.
        tables: Further tables, for instance of seeds.
        facts: Names and values of what it takes to repeat this.
    """

    title: str
    paragraphs: tuple[str, ...]
    evaluation: Evaluation | None
    warnings: tuple[str, ...] = ()
    curves: tuple[LearningCurve, ...] = ()
    search: SearchTable | None = None
    tables: tuple[TextTable, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
