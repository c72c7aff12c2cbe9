"""A reproduced table as text: Markdown, LaTeX, CSV, each saying what its figures are.

A reproduced table as JSON: its figures, and which records they come from.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from oddframe.research.provenance import Code
from oddframe.research.reports.table_sheets import BEST, LAST, sheets
from oddframe.research.reproduce.reproduce import Line, Reproduced
from oddframe.research.table import Column

_BEST_IS = (
    "Best on test: the step was chosen on the test set itself, every 10 steps from step 20 on, by "
    "{lead}. No one who has no labels of the test set could choose so; never compare it with "
    "figures of the last step."
)
_CSV = "table dataset row figure selection published mean std n difference low high features_sha256"
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "_": r"\_",
        "%": r"\%",
        "&": r"\&",
        "#": r"\#",
        "$": r"\$",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\N{CHECK MARK}": r"\checkmark",
        "\N{PLUS-MINUS SIGN}": r"$\pm$",
        "\N{MINUS SIGN}": "$-$",
        "\N{EN DASH}": "--",
    }
)


def about(table: Reproduced) -> list[str]:
    """What the figures are, a sentence each."""
    told = [
        "Per cent, mean \N{PLUS-MINUS SIGN} standard deviation over up to "
        f"{table.wanted} trainings a row (draws, folds, seeds), of the network after the last step."
    ]
    if table.best_on_test:
        told.append(_BEST_IS.format(lead=table.columns[0].heading))
    if table.published:
        told.append(f"Published: {'; '.join(table.spec.sources)}.")
    if any(not column.beside for column in table.published):
        told.append(
            "Published figures of other data sets stand there to compare directions, not sizes."
        )
    config = table.reference.row.config
    if config is not None and config.method.config.get("shortcut"):
        told.append("UR-DMU has a linear path beside it here (docs/fight.md).")
    return told


def to_markdown(table: Reproduced) -> str:
    """All of it, with where it comes from."""
    lines = [f"# {heading(table)}", ""]
    lines += [line for told in about(table) for line in (told, "")]
    lines += [line for told in table.warnings for line in (f"> Beware: {told}", "")]
    for sheet in sheets(table):
        lines += [f"## {sheet.title}", ""]
        ruler = ["---"] * sheet.words + ["---:"] * (len(sheet.headings) - sheet.words)
        for row in (sheet.headings, ruler, *sheet.rows):
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
        lines += ["", *([sheet.note, ""] if sheet.note else [])]
    lines += ["## What was run", ""]
    lines += [f"- {name}: {value}" for name, value in facts(table)]
    return "\n".join(lines) + "\n"


def to_latex(table: Reproduced) -> str:
    """A ``table`` for each sheet; needs the packages booktabs and amssymb."""
    text = ["% Needs \\usepackage{booktabs,amssymb}.", f"% {heading(table)}"]
    text += [f"% {name}: {value}" for name, value in facts(table)]
    text += [f"% Beware: {told}" for told in table.warnings]
    for sheet in sheets(table):
        columns = "l" * sheet.words + "r" * (len(sheet.headings) - sheet.words)
        caption = f"{heading(table)}. {sheet.title}. {sheet.note}".strip()
        text += [
            "\\begin{table}",
            "  \\centering",
            f"  \\caption{{{_latex(caption)}}}",
            f"  \\begin{{tabular}}{{{columns}}}",
            "    \\toprule",
            "    " + " & ".join(map(_latex, sheet.headings)) + r" \\",
            "    \\midrule",
            *("    " + " & ".join(map(_latex, row)) + r" \\" for row in sheet.rows),
            "    \\bottomrule",
            "  \\end{tabular}",
            "\\end{table}",
        ]
    return "\n".join(text) + "\n"


def to_csv(table: Reproduced) -> str:
    """A line for each row and figure; per cent; what is not known is empty."""
    file = io.StringIO()
    write = csv.writer(file, lineterminator="\n").writerow
    write(_CSV.split())
    for line in table.lines:
        for best in (False, True)[: 1 + table.best_on_test]:
            for column in table.columns:
                write(_csv_row(table, line, column, best))
        for other in table.published:
            if not other.beside and other.name in line.row.published:
                start = (table.spec.name, table.dataset, line.row.name, other.name, "published")
                write((*start, line.row.published[other.name], *[""] * 7))
    return file.getvalue()


def _csv_row(table: Reproduced, line: Line, column: Column, best: bool) -> tuple[object, ...]:
    values = table.values(line, column, best_on_test=best)
    beside = next((p for p in table.published if p.beside == column.field), None)
    published = "" if beside is None else line.row.published.get(beside.name, "")
    found = table.difference(line, column, best_on_test=best)
    ends = ("", "", "") if found is None else (found.value, found.low, found.high)
    return (
        table.spec.name,
        table.dataset,
        line.row.name,
        column.field,
        BEST if best else LAST,
        published,
        *((f"{values.mean():.4f}", f"{values.std():.4f}") if len(values) else ("", "")),
        len(values),
        *(f"{x:.4f}" if x != "" and np.isfinite(x) else "" for x in ends),
        table.features_sha256,
    )


def heading(table: Reproduced) -> str:
    """``Table 3: One memory or two. UCSD Ped2``."""
    name = title(table)
    return name if table.data_title in name else f"{name}. {table.data_title}"


def title(table: Reproduced) -> str:
    """``Table 3: One memory or two``."""
    number = table.spec.name.removeprefix("table")
    return f"Table {number}: {table.spec.title}" if number.isdigit() else table.spec.title


def facts(table: Reproduced) -> list[tuple[str, str]]:
    """What was run, in a few lines; the records have all of it."""
    trainings = [each for line in table.trained for each in line.trainings]
    told = [
        ("data set", table.dataset),
        ("features, sha256", table.features_sha256),
        ("figures", f"{LAST} and {BEST}" if table.best_on_test else LAST),
    ]
    if trainings:
        words = sorted({code_words(t.code) for t in trainings})
        seeds = sorted({t.seed for t in trainings})
        minutes = sum(t.seconds for t in trainings) / 60
        told += [
            ("made by", "; ".join(words)),
            ("PyTorch", ", ".join(sorted({t.torch for t in trainings}))),
            ("seeds", ", ".join(map(str, seeds[:20])) + (" ..." if seeds[20:] else "")),
            ("steps", ", ".join(map(str, sorted({t.steps for t in trainings})))),
            ("trainings", f"{len(trainings)}, {minutes:.0f} minutes"),
        ]
    return told


def code_words(code: Code) -> str:
    """``oddframe 0.1.0, commit cc11ed2, code 5e0f...``."""
    commit = f"commit {code.commit[:12]}" if code.commit else "no commit"
    return f"oddframe {code.version}, {commit}, code {code.sha256[:12]}"


def _latex(text: str) -> str:
    return text.translate(_LATEX)


Writer = Callable[[Reproduced], str]
WRITERS: dict[str, Writer] = {"md": to_markdown, "tex": to_latex, "csv": to_csv}


KIND, SCHEMA = "oddframe table", 1


def to_json(table: Reproduced, out: Path, command: str) -> str:
    """As JSON, schema 1; per cent; records are paths below ``out``, where it will lie.

    Args:
        table: The table.
        out: Folder that it is written to.
        command: What makes it again.
    """
    data = {
        "kind": KIND,
        "schema": SCHEMA,
        "table": table.spec.name,
        "title": table.spec.title,
        "dataset": table.dataset,
        "features_sha256": table.features_sha256,
        "selection": [LAST, BEST] if table.best_on_test else [LAST],
        "reference": table.reference.row.name,
        "command": command,
        "warnings": list(table.warnings),
        "rows": [_row(table, line, out) for line in table.lines],
        "markdown": to_markdown(table),
    }
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def _row(table: Reproduced, line: Line, out: Path) -> dict[str, Any]:
    row: dict[str, Any] = {
        "row": line.row.name,
        "labels": list(line.row.labels),
        "published": dict(line.row.published),
    }
    if line.row.config is None:
        return row
    for best in (False, True)[: 1 + table.best_on_test]:
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
        row[BEST if best else LAST] = found
    row["records"] = [Path(os.path.relpath(path, out)).as_posix() for path in line.records]
    return row
