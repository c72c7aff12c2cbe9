"""What a study holds: an evaluation, and how the model came about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oddframe.errors import InputError
from oddframe.evaluation.results import Evaluation


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
        """From the JSON lines that training writes, one a step.

        Raises:
            InputError: it cannot be read, or is no log of a training.
        """
        try:
            rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
            steps = [int(row["step"]) for row in rows]
            terms = [term for term in (rows[0] if rows else ()) if term != "step"]
            return cls(name, steps, {term: [float(row[term]) for row in rows] for term in terms})
        except OSError as error:
            raise InputError(f"{log}: cannot be read ({error.strerror or error})") from None
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{log}: not the log of a training ({error!r})") from None


@dataclass(frozen=True)
class SearchRow:
    """One row of a search.

    Attributes:
        settings: What was tried: ``{"learning rate": "1e-4", "steps": "300"}``.
        figure: What it gave; None: it was not run.
        chosen: Whether it was taken.
        note: What else to say: ``31 s``, ``did not fit into the budget``.
    """

    settings: Mapping[str, str]
    figure: float | None
    chosen: bool = False
    note: str = ""


@dataclass(frozen=True)
class SearchTable:
    """A grid and what each of its rows gave.

    Attributes:
        figure: What was compared: ``video AUC on 14 validation videos``.
        tried: The rows in the order that they were run.
        note: What to say below; may be empty.
    """

    figure: str
    tried: tuple[SearchRow, ...]
    note: str = ""


@dataclass(frozen=True)
class TextTable:
    """A table as text; the first column names the row."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class EvaluationReport:
    """What a page shows; parts that are not there are left out of it.

    Attributes:
        title: ``fight on clips.csv``.
        told: What was done, in words, a paragraph each.
        evaluation: On videos that were not trained on; None: there were none, and the page says so.
        warnings: What the reader should know before trusting it, a line each.
        curves: Learning curves, one a training.
        search: The grid that was searched.
        tables: Whatever else, for instance seeds or controls.
        facts: Name and value of what it takes to make this again.
    """

    title: str
    told: tuple[str, ...]
    evaluation: Evaluation | None
    warnings: tuple[str, ...] = ()
    curves: tuple[LearningCurve, ...] = ()
    search: SearchTable | None = None
    tables: tuple[TextTable, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
