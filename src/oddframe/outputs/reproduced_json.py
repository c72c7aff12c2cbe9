"""A reproduced table as JSON: its figures, and which records they come from."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from oddframe.experiments.reproduce import Line, Reproduced
from oddframe.outputs.reproduced_sheets import BEST, LAST
from oddframe.outputs.reproduced_text import to_markdown

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
