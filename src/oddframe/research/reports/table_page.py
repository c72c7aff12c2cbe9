"""A reproduced table as a page: figures, differences, learning curves, and what was run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oddframe._utils.files import write_text
from oddframe.outputs.pages.charts import LearningCurve, term_charts
from oddframe.outputs.pages.templates import facts, render_card_page
from oddframe.outputs.text import TextTable
from oddframe.research.records import TrainingRecord
from oddframe.research.reports.table_text import (
    BEST_STEP,
    LAST_STEP,
    difference_text,
    published_difference,
    selection_name,
    table_facts,
    table_heading,
    table_paragraphs,
    table_title,
    text_tables,
    to_csv,
    to_json,
    to_latex,
    to_markdown,
)
from oddframe.research.reproduce.results import ReproducedRow, ReproducedTable

_WIDTH = 1000.0
# With fewer trainings, the summary does not say which rows differ.
_MIN_TRAININGS = 5


def write_table(table: ReproducedTable, out: Path, command: str) -> None:
    """Write a table as .md, .tex, .csv, .html and .json.

    Args:
        table: The table.
        out: Folder to write to.
        command: Command line that writes it.

    Raises:
        OddframeError: a file cannot be written.
    """
    path = out / table.spec.name
    for suffix, writer in ((".md", to_markdown), (".tex", to_latex), (".csv", to_csv)):
        write_text(path.with_suffix(suffix), writer(table))
    write_table_page(table, path.with_suffix(".html"), command)
    # Last: where it is, the others are.
    write_text(path.with_suffix(".json"), to_json(table, out, command))


def write_table_page(table: ReproducedTable, path: Path, command: str) -> None:
    """Write the page, one HTML file that needs no other file.

    Args:
        table: The table.
        path: HTML file.
        command: Command line that writes it.

    Raises:
        OddframeError: the file cannot be written.
    """
    title = table_title(table)
    curves, tests = list(_loss_curves(table)), list(_test_curves(table))
    footer = f"Figures of the {LAST_STEP}."
    if table.best_on_test:
        footer = f"{footer[:-1]}; those of the step that is {BEST_STEP} are named so."
    text = render_card_page(
        "reproduced",
        kind="oddframe reproduce" + f", {table.data_title}" * (table_heading(table) != title),
        title=title,
        summary=_summary(table),
        paragraphs=table_paragraphs(table),
        warnings=table.warnings,
        footer=footer,
        tables=[_figure_card(table, each) for each in text_tables(table)],
        learning=term_charts(curves),
        rows=[curve.name for curve in curves],
        tests=term_charts(tests),
        tested_rows=[curve.name for curve in tests],
        lead=table.columns[0].heading,
        best=BEST_STEP,
        trainings=_trainings_table(table),
        made=facts([*table_facts(table), ("command", command)]),
    )
    write_text(path, text)


def _summary(table: ReproducedTable) -> str:
    lead, reference = table.columns[0], table.reference
    values = table.values(reference, lead)
    if not len(values):
        return "Nothing is trained yet."
    text = f"{reference.row.name}: {lead.heading} {values.mean():.2f}"
    if len(values) > 1:
        text += f" \N{PLUS-MINUS SIGN} {values.std():.2f}"
    found = [table.difference(line, lead) for line in table.trained if line is not reference]
    intervals = [each for each in found if each is not None and np.isfinite(each.low)]
    if intervals and len(values) >= _MIN_TRAININGS:
        below = sum(each.high < 0 for each in intervals)
        above = sum(each.low > 0 for each in intervals)
        text += (
            f"; of {len(intervals)} other rows {below} clearly below, {above} clearly above, "
            f"{len(intervals) - below - above} not told apart"
        )
    return f"{text}, {LAST_STEP}"


def _figure_card(table: ReproducedTable, each: TextTable) -> dict[str, Any]:
    """A table with the classes of its cells, and the forest plot of a table of differences."""
    labels = each.word_columns or 0
    card: dict[str, Any] = {
        "table": TextTable(
            each.title,
            each.headings,
            tuple(tuple(map(_with_fixed_spaces, row)) for row in each.rows),
            each.note,
            each.word_columns,
        ),
        "columns": ["published" * name.startswith("published") for name in each.headings],
        "rows": ["whole" * (row[:labels] == table.reference.row.labels) for row in each.rows],
        "forest": None,
    }
    if each.title.startswith("Minus"):
        best = each.title.endswith(BEST_STEP)
        title = f"{table.columns[0].heading} minus {table.reference.row.name}"
        card["forest"] = _forest(table, best_on_test=best)
        card["forest_title"] = f"{title}, {selection_name(best)}"
    return card


def _with_fixed_spaces(cell: str) -> str:
    """A cell whose figure and deviation stay in one line, and its interval in one line."""
    value, bracket, interval = cell.partition(" (")
    value = value.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")
    if " to " not in interval:
        return value + bracket + interval
    # A line may end after a hyphen, but not after a minus sign.
    text = f"{value} (" + interval.replace(" ", "\N{NO-BREAK SPACE}")
    return text.replace("-", "\N{MINUS SIGN}")


def _forest(table: ReproducedTable, *, best_on_test: bool) -> dict[str, Any] | None:
    """Each row's difference, its interval and the published difference, as positions on a line."""
    lead = table.columns[0]
    published = [
        column
        for column in table.published
        if column.name in table.reference.row.published and column.beside in (lead.field, "")
    ][:1]
    found = []
    for line in table.trained:
        each = table.difference(line, lead, best_on_test=best_on_test)
        if each is not None and np.isfinite(each.value):
            theirs = published_difference(table, line, published[0]) if published else None
            found.append((line.row.name, each, theirs))
    values = [x for _, d, theirs in found for x in (d.value, d.low, d.high, theirs)]
    ends = [x for x in values if x is not None and np.isfinite(x)]
    if not ends:
        return None
    low, high = min(0.0, *ends), max(0.0, *ends)
    margin = 0.04 * (high - low or 1)
    low, high = low - margin, high + margin

    def x(value: float | None) -> float | None:
        if value is None or not np.isfinite(value):
            return None
        return _WIDTH * (value - low) / (high - low)

    return {
        "zero": x(0.0),
        "ends": (f"{low:+.1f}", f"{high:+.1f}"),
        "published": published[0].heading if published else "",
        "rows": [
            {
                "name": name,
                "text": difference_text(d),
                "value": x(d.value),
                "low": x(d.low),
                "high": x(d.high),
                "published": x(theirs),
            }
            for name, d, theirs in found
        ],
    }


def _loss_curves(table: ReproducedTable) -> Iterator[LearningCurve]:
    for line in table.trained:
        yield from _mean_curve(line, [(t.learning.steps, t.learning.terms) for t in line.trainings])


def _test_curves(table: ReproducedTable) -> Iterator[LearningCurve]:
    name = f"{table.columns[0].heading} on the test set"
    for line in table.trained if table.best_on_test else ():
        found = [each.best_on_test for each in line.trainings if each.best_on_test is not None]
        yield from _mean_curve(line, [(best.steps, {name: best.values}) for best in found])


def _mean_curve(
    line: ReproducedRow,
    curves: Sequence[tuple[tuple[int, ...], Mapping[str, tuple[float, ...]]]],
) -> Iterator[LearningCurve]:
    """The mean over the trainings with the same steps as the first one, if there are any."""
    same = [terms for steps, terms in curves if steps == curves[0][0]]
    if same and curves[0][0]:
        names = [name for name in same[0] if all(name in terms for terms in same)]
        means = {name: list(np.mean([terms[name] for terms in same], axis=0)) for name in names}
        yield LearningCurve(line.row.name, curves[0][0], means)


def _trainings_table(table: ReproducedTable) -> TextTable:
    lead = table.columns[0]
    rows = tuple(
        (
            line.row.name,
            f"{training.repeat}, {training.fold}",
            str(training.seed),
            f"{lead.scale * getattr(training.figures, lead.field):.2f}",
            *((_best_figure(table, training),) if table.best_on_test else ()),
            f"{training.seconds:.0f} s",
            f"{path.parent.name}/{path.name}",
        )
        for line in table.trained
        for path, training in zip(line.records, line.trainings, strict=True)
    )
    best = (f"{lead.heading}, {BEST_STEP}",) if table.best_on_test else ()
    headings = ("row", "repeat, fold", "seed", f"{lead.heading}, {LAST_STEP}", *best)
    note = "A record holds configuration, seed, code and features: oddframe report show RECORD."
    return TextTable("Trainings", (*headings, "took", "record"), rows, note)


def _best_figure(table: ReproducedTable, training: TrainingRecord) -> str:
    best, lead = training.best_on_test, table.columns[0]
    if best is None:
        return ""
    return f"{lead.scale * getattr(best.figures, lead.field):.2f} at step {best.step}"
