"""A reproduced table as text tables, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from oddframe.evaluation.confidence import Interval
from oddframe.outputs.pages.evaluation_text import UNDEFINED
from oddframe.outputs.text import TextTable
from oddframe.research.figure_columns import FigureColumn
from oddframe.research.provenance import CodeVersion
from oddframe.research.reproduce.results import PublishedColumn, ReproducedRow, ReproducedTable

TABLE_KIND, _TABLE_SCHEMA = "oddframe table", 1
LAST_STEP, BEST_STEP = "last step", "best on test"
_BEST_STEP_NOTE = (
    "Best on test: the step was chosen on the test set itself, every 10 steps from step 20 on, by "
    "{lead}. No one who has no labels of the test set could choose so; never compare it with "
    "figures of the last step."
)
_CSV_COLUMNS = (
    "table dataset row figure selection published mean std n difference low high features_sha256"
)


def selection_name(best_on_test: bool) -> str:
    """Which step figures are of."""
    return BEST_STEP if best_on_test else LAST_STEP


def table_title(table: ReproducedTable) -> str:
    """``Table 3: One memory or two``."""
    number = table.spec.name.removeprefix("table")
    return f"Table {number}: {table.spec.title}" if number.isdigit() else table.spec.title


def table_heading(table: ReproducedTable) -> str:
    """``Table 3: One memory or two. UCSD Ped2``."""
    title = table_title(table)
    return title if table.data_title in title else f"{title}. {table.data_title}"


def table_paragraphs(table: ReproducedTable) -> list[str]:
    """What the figures are, a sentence each."""
    lines = [
        "Per cent, mean \N{PLUS-MINUS SIGN} standard deviation over up to "
        f"{table.wanted} trainings a row (draws, folds, seeds), of the network after the last step."
    ]
    if table.best_on_test:
        lines.append(_BEST_STEP_NOTE.format(lead=table.columns[0].heading))
    if table.published:
        lines.append(f"Published: {'; '.join(table.spec.sources)}.")
    if any(not column.beside for column in table.published):
        lines.append(
            "Published figures of other data sets stand there to compare directions, not sizes."
        )
    config = table.reference.row.config
    if config is not None and config.method.config.get("shortcut"):
        lines.append("UR-DMU has a linear path beside it here (docs/fight.md).")
    return lines


def table_facts(table: ReproducedTable) -> list[tuple[str, str]]:
    """What was run, as names and values; the records have all of it."""
    trainings = table.trainings
    facts = [
        ("data set", table.dataset),
        ("features, sha256", table.features_sha256),
        ("figures", " and ".join(map(selection_name, table.selections))),
    ]
    if trainings:
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


def figure_table(table: ReproducedTable, *, best_on_test: bool) -> TextTable:
    """Figures of all rows, each beside the published one."""
    selection, lead = selection_name(best_on_test), table.columns[0].heading
    # Published figures of other data come first.
    columns: list[FigureColumn | PublishedColumn] = [p for p in table.published if not p.beside]
    for column in table.columns:
        columns += [p for p in table.published if p.beside == column.field]
        columns.append(column)
    headings = (
        column.heading if isinstance(column, PublishedColumn) else f"{column.heading}, {selection}"
        for column in columns
    )
    rows = (
        (*line.row.labels, *(_figure_cell(table, line, column, best_on_test) for column in columns))
        for line in table.lines
    )
    return TextTable(
        f"Figures, {selection}",
        (*table.spec.labels, *headings),
        tuple(rows),
        f"Best on test: chosen on the test set by {lead}." if best_on_test else "",
        len(table.spec.labels),
    )


def _figure_cell(
    table: ReproducedTable,
    line: ReproducedRow,
    column: FigureColumn | PublishedColumn,
    best_on_test: bool,
) -> str:
    if isinstance(column, PublishedColumn):
        value = line.row.published.get(column.name)
        return "" if value is None else f"{value:.2f}"
    if line.row.config is None:
        return ""
    values = table.values(line, column, best_on_test=best_on_test)
    if not len(values):
        return UNDEFINED
    text = f"{values.mean():.2f}"
    if len(values) > 1:
        text += f" \N{PLUS-MINUS SIGN} {values.std():.2f}"
    return text if len(values) == table.wanted else f"{text} ({len(values)} of {table.wanted})"


def difference_table(table: ReproducedTable, *, best_on_test: bool) -> TextTable:
    """Each trained row minus the reference, beside the published difference."""
    reference, rows = table.reference, []
    # In a comparison nothing was published about the trained rows.
    published = [p for p in table.published if p.name in reference.row.published]
    for line in table.trained:
        found = [table.difference(line, c, best_on_test=best_on_test) for c in table.columns]
        if line is reference or all(each is None for each in found):
            continue
        cells = [UNDEFINED if each is None else difference_text(each) for each in found]
        theirs = (published_difference(table, line, column) for column in published)
        signed = ("" if value is None else f"{value:+.2f}" for value in theirs)
        rows.append((*line.row.labels, *signed, *cells))
    selection = selection_name(best_on_test)
    headings = [p.heading for p in published]
    headings += [f"{column.heading}, {selection}" for column in table.columns]
    return TextTable(
        f"Minus {reference.row.name}, {selection}",
        (*table.spec.labels, *headings),
        tuple(rows),
        "Paired over the trainings that both have; in parentheses the interval of 95 %, by "
        "Student's t.",
        len(table.spec.labels),
    )


def published_difference(
    table: ReproducedTable, line: ReproducedRow, column: PublishedColumn
) -> float | None:
    """A published figure minus that of the reference; None where one is not published."""
    value = line.row.published.get(column.name)
    reference = table.reference.row.published.get(column.name)
    return None if value is None or reference is None else value - reference


def difference_text(difference: Interval) -> str:
    """``+1.20 (0.40 to 2.10)``; only the value where there is no interval."""
    if not np.isfinite(difference.value):
        return UNDEFINED
    text = f"{difference.value:+.2f}"
    if np.isfinite(difference.low):
        text += f" ({difference.low:.2f} to {difference.high:.2f})"
    return text


def text_tables(table: ReproducedTable) -> list[TextTable]:
    """The figures and the differences; of the best step, too, if asked for."""
    tables = [
        make(table, best_on_test=best)
        for best in table.selections
        for make in (figure_table, difference_table)
    ]
    return [each for each in tables if each.rows]


def to_markdown(table: ReproducedTable) -> str:
    """The tables in Markdown, with what was run."""
    parts = [f"# {table_heading(table)}", *table_paragraphs(table)]
    parts += [f"> Warning: {warning}" for warning in table.warnings]
    for each in text_tables(table):
        parts += [f"## {each.title}", each.markdown().rstrip("\n"), each.note]
    parts.append("## What was run")
    parts.append("\n".join(f"- {name}: {value}" for name, value in table_facts(table)))
    return "\n\n".join(part for part in parts if part) + "\n"


def to_latex(table: ReproducedTable) -> str:
    """A ``table`` environment for each table; needs the packages booktabs and amssymb."""
    lines = ["% Needs \\usepackage{booktabs,amssymb}.", f"% {table_heading(table)}"]
    lines += [f"% {name}: {value}" for name, value in table_facts(table)]
    lines += [f"% Warning: {warning}" for warning in table.warnings]
    tables = (
        each.latex(f"{table_heading(table)}. {each.title}. {each.note}".strip())
        for each in text_tables(table)
    )
    return "\n".join(lines) + "\n" + "".join(tables)


def to_csv(table: ReproducedTable) -> str:
    """A line for each row and figure; per cent; unknown values are empty."""
    rows = []
    for line in table.lines:
        for best in table.selections:
            rows += [_csv_row(table, line, column, best) for column in table.columns]
        for other in table.published:
            if not other.beside and other.name in line.row.published:
                start = (table.spec.name, table.dataset, line.row.name, other.name, "published")
                rows.append((*start, str(line.row.published[other.name]), *[""] * 7))
    return TextTable("", tuple(_CSV_COLUMNS.split()), tuple(rows)).csv()


def _csv_row(
    table: ReproducedTable, line: ReproducedRow, column: FigureColumn, best_on_test: bool
) -> tuple[str, ...]:
    values = table.values(line, column, best_on_test=best_on_test)
    beside = next((p for p in table.published if p.beside == column.field), None)
    difference = table.difference(line, column, best_on_test=best_on_test)
    ends = () if difference is None else (difference.value, difference.low, difference.high)
    return (
        table.spec.name,
        table.dataset,
        line.row.name,
        column.field,
        selection_name(best_on_test),
        "" if beside is None else str(line.row.published.get(beside.name, "")),
        *((f"{values.mean():.4f}", f"{values.std():.4f}") if len(values) else ("", "")),
        str(len(values)),
        *([f"{x:.4f}" if np.isfinite(x) else "" for x in ends] or [""] * 3),
        table.features_sha256,
    )


def to_json(table: ReproducedTable, out: Path, command: str) -> str:
    """The table as JSON, schema 1; per cent; paths of records are relative to ``out``.

    Args:
        table: The table.
        out: Folder that it is written to.
        command: Command line that writes it.
    """
    data = {
        "kind": TABLE_KIND,
        "schema": _TABLE_SCHEMA,
        "table": table.spec.name,
        "title": table.spec.title,
        "dataset": table.dataset,
        "features_sha256": table.features_sha256,
        "selection": [selection_name(best) for best in table.selections],
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
    for best in table.selections:
        found: dict[str, Any] = {}
        for column in table.columns:
            values = table.values(line, column, best_on_test=best)
            apart = table.difference(line, column, best_on_test=best)
            ends = None if apart is None else [apart.value, apart.low, apart.high]
            found[column.field] = {
                "mean": float(values.mean()) if len(values) else None,
                "std": float(values.std()) if len(values) else None,
                "n": len(values),
                "minus_reference_95": ends and [x if math.isfinite(x) else None for x in ends],
            }
        row[selection_name(best)] = found
    row["records"] = [Path(os.path.relpath(path, out)).as_posix() for path in line.records]
    return row
