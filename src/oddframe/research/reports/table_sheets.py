"""The sheets of a reproduced table: figures beside published ones, differences, as text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oddframe.evaluation.confidence import Interval
from oddframe.outputs.pages.evaluation_summary import UNDEFINED
from oddframe.research.reproduce.reproduce import Line, PublishedColumn, Reproduced
from oddframe.research.table import Column

LAST, BEST = "last step", "best on test"


@dataclass(frozen=True)
class Sheet:
    """A table of text.

    Attributes:
        title: What its figures are.
        headings: Of the columns.
        rows: One a line.
        words: Leading columns that are words.
        note: What to say below.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int
    note: str = ""


def sheets(table: Reproduced) -> list[Sheet]:
    """The figures and each row against the reference; of the best step, too, if asked for."""
    found = []
    for best in (False, True)[: 1 + table.best_on_test]:
        found.append(_figures(table, best))
        found.append(_differences(table, best))
    return [sheet for sheet in found if sheet.rows]


def _figures(table: Reproduced, best: bool) -> Sheet:
    order = _order(table)
    rows = [
        (*line.row.labels, *(_cell(table, line, column, best) for column in order))
        for line in table.lines
    ]
    chosen = BEST if best else LAST
    headings = tuple(
        column.heading if isinstance(column, PublishedColumn) else f"{column.heading}, {chosen}"
        for column in order
    )
    lead = table.columns[0].heading
    note = f"Best on test: chosen on the test set by {lead}." if best else ""
    return Sheet(
        f"Figures, {chosen}",
        (*table.spec.labels, *headings),
        tuple(rows),
        len(table.spec.labels),
        note,
    )


def _order(table: Reproduced) -> list[Column | PublishedColumn]:
    """Published figures of other data first, of this one each before ours."""
    order: list[Column | PublishedColumn] = [p for p in table.published if not p.beside]
    for column in table.columns:
        order += [p for p in table.published if p.beside == column.field]
        order.append(column)
    return order


def _cell(table: Reproduced, line: Line, column: Column | PublishedColumn, best: bool) -> str:
    if isinstance(column, PublishedColumn):
        value = line.row.published.get(column.name)
        return "" if value is None else f"{value:.2f}"
    if line.row.config is None:
        return ""
    values = table.values(line, column, best_on_test=best)
    if not len(values):
        return UNDEFINED
    text = f"{values.mean():.2f}"
    if len(values) > 1:
        text += f" \N{PLUS-MINUS SIGN} {values.std():.2f}"
    return text if len(values) == table.wanted else f"{text} ({len(values)} of {table.wanted})"


def _differences(table: Reproduced, best: bool) -> Sheet:
    reference, rows = table.reference, []
    # In a comparison nothing was published of our rows.
    beside = [p for p in table.published if p.name in reference.row.published]
    for line in table.trained:
        found = [table.difference(line, c, best_on_test=best) for c in table.columns]
        if line is reference or all(each is None for each in found):
            continue
        published = (published_difference(table, line, p) for p in beside)
        cells = [UNDEFINED if each is None else difference_text(each) for each in found]
        rows.append((*line.row.labels, *map(_signed, published), *cells))
    words = len(table.spec.labels)
    chosen = BEST if best else LAST
    heads = [p.heading for p in beside]
    heads += [f"{column.heading}, {chosen}" for column in table.columns]
    return Sheet(
        f"Minus {reference.row.name}, {chosen}",
        (*table.spec.labels, *heads),
        tuple(rows),
        words,
        "Paired over the trainings that both have; in parentheses the interval of 95 %, by "
        "Student's t.",
    )


def published_difference(table: Reproduced, line: Line, column: PublishedColumn) -> float | None:
    """A published figure minus that of the reference; None where one is not published."""
    here = line.row.published.get(column.name)
    there = table.reference.row.published.get(column.name)
    return None if here is None or there is None else here - there


def difference_text(found: Interval) -> str:
    """``+1.2 (0.4 to 2.1)``; without an interval where there is none."""
    if not np.isfinite(found.value):
        return UNDEFINED
    text = _signed(found.value)
    if np.isfinite(found.low):
        text += f" ({found.low:.2f} to {found.high:.2f})"
    return text


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.2f}"
