"""A reproduced table as Markdown, LaTeX, CSV and JSON, and as a page with its curves."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, replace
from pathlib import Path
from typing import Any

import numpy as np

from oddframe._utils.files import write_text
from oddframe.evaluation.confidence import Interval
from oddframe.outputs.pages.charts import LearningCurve, term_charts
from oddframe.outputs.pages.evaluation_text import UNDEFINED
from oddframe.outputs.pages.templates import facts, render_card_page
from oddframe.outputs.text import TextTable
from oddframe.research.fold_figures import FigureColumn
from oddframe.research.records import BestOnTest, CodeVersion
from oddframe.research.reproduce.tables import (
    BEST_STEP,
    LAST_STEP,
    PublishedColumn,
    ReproducedRow,
    ReproducedTable,
)
from oddframe.timeline import FloatArray

TABLE_KIND = "oddframe table"
_BEST_STEP_NOTE = (
    "Best on test: the step was chosen on the test set itself, every 10 steps from step 20 on, by "
    "{lead}. No one who has no labels of the test set could choose so; never compare it with "
    "figures of the last step."
)
_CSV_COLUMNS = (
    "table dataset row figure selection published mean std n difference low high features_sha256"
)
_WIDTH = 1000.0  # Of a forest plot.
# With fewer trainings, the summary does not say which rows differ.
_MIN_TRAININGS = 5


def _table_title(table: ReproducedTable) -> str:
    """``Table 3: One memory or two``."""
    number = table.spec.name.removeprefix("table")
    return f"Table {number}: {table.spec.title}" if number.isdigit() else table.spec.title


def _table_heading(table: ReproducedTable) -> str:
    """``Table 3: One memory or two. UCSD Ped2``."""
    title = _table_title(table)
    return title if table.data_title in title else f"{title}. {table.data_title}"


def _table_paragraphs(table: ReproducedTable) -> list[str]:
    lines = [
        "Per cent, mean \N{PLUS-MINUS SIGN} standard deviation over up to "
        f"{table.wanted} trainings a row (draws, folds, seeds), of the network after the last step."
    ]
    if table.best_on_test:
        lines.append(_BEST_STEP_NOTE.format(lead=table.columns[0].heading))
    if table.published:
        lines.append(f"Published: {'; '.join(table.spec.sources)}.")
    if any(not column.field for column in table.published):
        lines.append(
            "Published figures of other data sets stand there to compare directions, not sizes."
        )
    config = table.reference.row.config
    if config is not None and config.method.config.get("shortcut"):
        lines.append("UR-DMU has a linear path beside it here (docs/fight.md).")
    return lines


def _table_facts(table: ReproducedTable) -> list[tuple[str, str]]:
    """What was run; the records have all of it."""
    facts = [
        ("data set", table.dataset),
        ("features, sha256", table.features_sha256),
        ("figures", " and ".join(table.selections)),
    ]
    if trainings := table.trainings:
        seeds = sorted({t.seed for t in trainings})
        minutes = sum(t.seconds for t in trainings) / 60
        facts += [
            ("made by", "; ".join(sorted({describe_code(t.code) for t in trainings}))),
            ("PyTorch", ", ".join(sorted({t.torch for t in trainings}))),
            ("seeds", ", ".join(map(str, seeds[:20])) + (" ..." if seeds[20:] else "")),
            ("steps", ", ".join(map(str, sorted({t.steps for t in trainings})))),
            ("trainings", f"{len(trainings)}, {minutes:.0f} minutes"),
        ]
    return facts


def describe_code(code: CodeVersion) -> str:
    """``oddframe 0.1.0, commit cc11ed2, code 5e0f...``."""
    commit = f"commit {code.commit[:12]}" if code.commit else "no commit"
    return f"oddframe {code.version}, {commit}, code {code.sha256[:12]}"


def _figure_table(table: ReproducedTable, selection: str) -> TextTable:
    # Published figures of other data come first.
    columns: list[FigureColumn | PublishedColumn] = [p for p in table.published if not p.field]
    for column in table.columns:
        columns += [p for p in table.published if p.field == column.field]
        columns.append(column)
    headings = (
        column.heading if isinstance(column, PublishedColumn) else f"{column.heading}, {selection}"
        for column in columns
    )
    rows = (
        (*line.row.labels, *(_figure_cell(table, line, column, selection) for column in columns))
        for line in table.lines
    )
    note = ""
    if selection == BEST_STEP:
        note = f"Best on test: chosen on the test set by {table.columns[0].heading}."
    labels = table.spec.labels
    return TextTable(f"Figures, {selection}", (*labels, *headings), tuple(rows), note, len(labels))


def _figure_cell(
    table: ReproducedTable,
    line: ReproducedRow,
    column: FigureColumn | PublishedColumn,
    selection: str,
) -> str:
    if isinstance(column, PublishedColumn):
        value = line.row.published.get(column.name)
        return "" if value is None else f"{value:.2f}"
    if line.row.config is None:
        return ""
    values = table.values(line, column, selection)
    if not len(values):
        return UNDEFINED
    text = _mean_text(values)
    return text if len(values) == table.wanted else f"{text} ({len(values)} of {table.wanted})"


def _mean_text(values: FloatArray) -> str:
    deviation = f" \N{PLUS-MINUS SIGN} {values.std():.2f}" if len(values) > 1 else ""
    return f"{values.mean():.2f}{deviation}"


def _difference_table(table: ReproducedTable, selection: str) -> TextTable:
    """Each trained row minus the reference, beside the published difference."""
    reference, rows = table.reference, []
    # In a comparison nothing was published about the trained rows.
    published = [p for p in table.published if p.name in reference.row.published]
    for line in table.trained:
        found = [table.difference(line, c, selection) for c in table.columns]
        if line is reference or all(each is None for each in found):
            continue
        cells = [UNDEFINED if each is None else _difference_text(each) for each in found]
        theirs = (_published_difference(table, line, column) for column in published)
        signed = ("" if value is None else f"{value:+.2f}" for value in theirs)
        rows.append((*line.row.labels, *signed, *cells))
    headings = [p.heading for p in published]
    headings += [f"{column.heading}, {selection}" for column in table.columns]
    title, labels = f"Minus {reference.row.name}, {selection}", table.spec.labels
    note = (
        "Paired over the trainings that both have; in parentheses the interval of 95 %, by "
        "Student's t."
    )
    return TextTable(title, (*labels, *headings), tuple(rows), note, len(labels))


def _published_difference(
    table: ReproducedTable, line: ReproducedRow, column: PublishedColumn
) -> float | None:
    value = line.row.published.get(column.name)
    reference = table.reference.row.published.get(column.name)
    return None if value is None or reference is None else value - reference


def _difference_text(difference: Interval) -> str:
    """``+1.20 (0.40 to 2.10)``; only the value where there is no interval."""
    if not np.isfinite(difference.value):
        return UNDEFINED
    text = f"{difference.value:+.2f}"
    if np.isfinite(difference.low):
        text += f" ({difference.low:.2f} to {difference.high:.2f})"
    return text


def _text_tables(table: ReproducedTable) -> list[TextTable]:
    makers = (_figure_table, _difference_table)
    tables = [make(table, selection) for selection in table.selections for make in makers]
    return [each for each in tables if each.rows]


def to_markdown(table: ReproducedTable) -> str:
    parts = [f"# {_table_heading(table)}", *_table_paragraphs(table)]
    parts += [f"> Warning: {warning}" for warning in table.warnings]
    for each in _text_tables(table):
        parts += [f"## {each.title}", each.markdown().rstrip("\n"), each.note]
    parts.append("## What was run")
    parts.append("\n".join(f"- {name}: {value}" for name, value in _table_facts(table)))
    return "\n\n".join(part for part in parts if part) + "\n"


def to_latex(table: ReproducedTable) -> str:
    """A ``table`` environment for each table; needs the packages booktabs and amssymb."""
    heading = _table_heading(table)
    lines = ["% Needs \\usepackage{booktabs,amssymb}.", f"% {heading}"]
    lines += [f"% {name}: {value}" for name, value in _table_facts(table)]
    lines += [f"% Warning: {warning}" for warning in table.warnings]
    tables = _text_tables(table)
    texts = (each.latex(f"{heading}. {each.title}. {each.note}".strip()) for each in tables)
    return "\n".join(lines) + "\n" + "".join(texts)


def to_csv(table: ReproducedTable) -> str:
    """A line for each row and figure; per cent; unknown values are empty."""
    rows = []
    for line in table.lines:
        for selection in table.selections:
            rows += [_csv_row(table, line, column, selection) for column in table.columns]
        for other in table.published:
            if not other.field and other.name in line.row.published:
                start = (table.spec.name, table.dataset, line.row.name, other.name, "published")
                rows.append((*start, str(line.row.published[other.name]), *[""] * 7))
    return TextTable("", tuple(_CSV_COLUMNS.split()), tuple(rows)).csv()


def _csv_row(
    table: ReproducedTable, line: ReproducedRow, column: FigureColumn, selection: str
) -> tuple[str, ...]:
    values = table.values(line, column, selection)
    published = next((p.name for p in table.published if p.field == column.field), "")
    difference = table.difference(line, column, selection)
    ends = astuple(difference) if difference else (math.nan,) * 3
    return (
        table.spec.name,
        table.dataset,
        line.row.name,
        column.field,
        selection,
        str(line.row.published.get(published, "")),
        *((f"{values.mean():.4f}", f"{values.std():.4f}") if len(values) else ("", "")),
        str(len(values)),
        *(f"{x:.4f}" if math.isfinite(x) else "" for x in ends),
        table.features_sha256,
    )


def to_json(table: ReproducedTable, out: Path, command: str) -> str:
    """Schema 1; per cent; paths of records are relative to ``out``."""
    data = {
        "kind": TABLE_KIND,
        "schema": 1,
        "table": table.spec.name,
        "title": table.spec.title,
        "dataset": table.dataset,
        "features_sha256": table.features_sha256,
        "selection": list(table.selections),
        "reference": table.reference.row.name,
        "command": command,
        "warnings": list(table.warnings),
        "rows": [_json_row(table, line, out) for line in table.lines],
        "markdown": to_markdown(table),
    }
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def _json_row(table: ReproducedTable, line: ReproducedRow, out: Path) -> dict[str, Any]:
    row: dict[str, Any] = {
        "row": line.row.name,
        "labels": list(line.row.labels),
        "published": dict(line.row.published),
    }
    if line.row.config is None:
        return row
    for selection in table.selections:
        found: dict[str, Any] = {}
        for column in table.columns:
            values = table.values(line, column, selection)
            difference = table.difference(line, column, selection)
            found[column.field] = {
                "mean": float(values.mean()) if len(values) else None,
                "std": float(values.std()) if len(values) else None,
                "n": len(values),
                "minus_reference_95": difference
                and [x if math.isfinite(x) else None for x in astuple(difference)],
            }
        row[selection] = found
    row["records"] = [Path(os.path.relpath(path, out)).as_posix() for path in line.records]
    return row


def write_table(table: ReproducedTable, out: Path, command: str) -> None:
    """Write a table as .md, .tex, .csv, .html and .json; ``command`` is the one that writes it."""
    path = out / table.spec.name
    for suffix, writer in ((".md", to_markdown), (".tex", to_latex), (".csv", to_csv)):
        write_text(path.with_suffix(suffix), writer(table))
    write_table_page(table, path.with_suffix(".html"), command)
    # Last: where it is, the others are.
    write_text(path.with_suffix(".json"), to_json(table, out, command))


def write_table_page(table: ReproducedTable, path: Path, command: str) -> None:
    title = _table_title(table)
    curves, tests = list(_loss_curves(table)), list(_test_curves(table))
    footer = f"Figures of the {LAST_STEP}."
    if table.best_on_test:
        footer = f"{footer[:-1]}; those of the step that is {BEST_STEP} are named so."
    text = render_card_page(
        "reproduced",
        kind="oddframe reproduce" + f", {table.data_title}" * (_table_heading(table) != title),
        title=title,
        summary=_summary(table),
        paragraphs=_table_paragraphs(table),
        warnings=table.warnings,
        footer=footer,
        tables=[_figure_card(table, each) for each in _text_tables(table)],
        learning=term_charts(curves),
        rows=[curve.name for curve in curves],
        tests=term_charts(tests),
        tested_rows=[curve.name for curve in tests],
        lead=table.columns[0].heading,
        best=BEST_STEP,
        trainings=_trainings_table(table),
        made=facts([*_table_facts(table), ("command", command)]),
    )
    write_text(path, text)


def _summary(table: ReproducedTable) -> str:
    lead, reference = table.columns[0], table.reference
    values = table.values(reference, lead)
    if not len(values):
        return "Nothing is trained yet."
    text = f"{reference.row.name}: {lead.heading} {_mean_text(values)}"
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
    cells = tuple(tuple(map(_with_fixed_spaces, row)) for row in each.rows)
    card: dict[str, Any] = {
        "table": replace(each, rows=cells),
        "columns": ["published" * name.startswith("published") for name in each.headings],
        "rows": ["whole" * (row[:labels] == table.reference.row.labels) for row in each.rows],
        "forest": None,
    }
    if each.title.startswith("Minus"):
        selection = each.title.rpartition(", ")[2]
        title = f"{table.columns[0].heading} minus {table.reference.row.name}"
        card["forest"] = _forest(table, selection)
        card["forest_title"] = f"{title}, {selection}"
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


def _forest(table: ReproducedTable, selection: str) -> dict[str, Any] | None:
    """Each row's difference, its interval and the published difference, as positions on a line."""
    lead, known = table.columns[0], table.reference.row.published
    comparable = (p for p in table.published if p.name in known and p.field in (lead.field, ""))
    published = next(comparable, None)
    found = []
    for line in table.trained:
        each = table.difference(line, lead, selection)
        if each is not None and np.isfinite(each.value):
            theirs = _published_difference(table, line, published) if published else None
            found.append((line.row.name, each, theirs))
    values: list[float | None] = [x for _, d, theirs in found for x in (*astuple(d), theirs)]
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
        "published": published.heading if published else "",
        "rows": [
            {"name": name, "text": _difference_text(d), "published": x(theirs)}
            | {end: x(value) for end, value in asdict(d).items()}
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

    def best_figure(best: BestOnTest | None) -> str:
        return f"{lead.value(best.figures):.2f} at step {best.step}" if best else ""

    rows = tuple(
        (
            line.row.name,
            f"{training.repeat}, {training.fold}",
            str(training.seed),
            f"{lead.value(training.figures):.2f}",
            *((best_figure(training.best_on_test),) if table.best_on_test else ()),
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
