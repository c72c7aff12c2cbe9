"""What was run, in words: a training and everything it depends on, or a table of trainings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from oddframe._utils.files import describe_read_error, exists, is_dir, open_regular_file
from oddframe.errors import InputError
from oddframe.outputs.pages.evaluation_text import UNDEFINED
from oddframe.research.grid import TRAININGS_FOLDER
from oddframe.research.records import TRAINING_FORMAT, TrainingRecord, read_training
from oddframe.research.reproduce.report import TABLE_KIND, describe_code
from oddframe.research.reproduce.tables import BEST_STEP, LAST_STEP

_FIGURES = ("auc", "auc_sub", "ap", "ap_trapezoid", "ap_sub", "far", "clip_auc")


def describe_run(path: Path) -> str:
    """The record of a training, a table, or a folder of both, in words."""
    if is_dir(path):
        return _describe_folder(path)
    data = _read(path)
    if data.get("kind") == TRAINING_FORMAT.kind:
        return describe_training(read_training(path))
    if data.get("kind") == TABLE_KIND:
        return _describe_table(path, data)
    raise InputError(f"{path}: neither a table nor the record of a training; see docs/reproduce.md")


def run_as_json(path: Path) -> dict[str, Any]:
    """The record of a training, or a table with its trainings, as JSON types."""
    data = _read(path)
    if data.get("kind") == TABLE_KIND:
        for row in data["rows"]:
            row["trainings"] = [_read(path.parent / each) for each in row.get("records", ())]
    elif data.get("kind") != TRAINING_FORMAT.kind:
        raise InputError(f"{path}: neither a table nor the record of a training")
    return data


def describe_training(t: TrainingRecord) -> str:
    """The figures of a training, then everything that is needed to repeat it."""
    lines = [
        f"{t.facts['method']} on {t.dataset}, repeat {t.repeat}, fold {t.fold}, seed {t.seed}",
        "",
        f"figures of the {LAST_STEP} ({t.steps})",
        *_figure_lines(vars(t.figures)),
    ]
    if best := t.best_on_test:
        lines += ["", f"{BEST_STEP} (step {best.step}, chosen on the test set by {best.chosen_by})"]
        lines += _figure_lines(vars(best.figures))
    facts = [
        ("data set", t.dataset),
        ("features, sha256", t.features_sha256),
        ("seed", str(t.seed)),
        ("code", describe_code(t.code)),
        ("code, sha256", t.code.sha256),
        ("PyTorch", t.torch),
        ("device, threads", f"{t.device}, {t.threads}"),
        ("took", f"{t.seconds:.0f} s"),
        *(("warning", warning) for warning in t.warnings),
    ]
    lines += ["", *(f"{name:<18} {value}" for name, value in facts)]
    for name, values in (("depends on", t.facts), ("protocol", t.protocol), ("config", t.config)):
        text = yaml.safe_dump(json.loads(json.dumps(values)), sort_keys=False, width=100)
        lines += ["", f"{name}:", *(f"  {line}" for line in text.splitlines())]
    return "\n".join(lines)


def _figure_lines(values: Mapping[str, float]) -> list[str]:
    found = ((name, values[name]) for name in _FIGURES)
    return [f"  {n:<16} {f'{100 * x:.4f}' if math.isfinite(x) else UNDEFINED}" for n, x in found]


def _describe_table(path: Path, data: Mapping[str, Any]) -> str:
    lines = [data["markdown"], "## Trainings", ""]
    for row in data["rows"]:
        for name in row.get("records", ()):
            record = path.parent / name
            if not exists(record):
                lines.append(f"- {row['row']}: {record}: gone")
                continue
            t = read_training(record)
            lines.append(
                f"- {row['row']}: seed {t.seed}, AUC {100 * t.figures.auc:.2f}, "
                f"AP {100 * t.figures.ap:.2f}, features {t.features_sha256[:12]}, "
                f"{describe_code(t.code)}: {record}"
            )
    return "\n".join([*lines, "", f"made by: {data['command']}"])


def _describe_folder(folder: Path) -> str:
    tables = [path for path in sorted(folder.glob("*.json")) if _kind(path) == TABLE_KIND]
    records = sorted((folder / TRAININGS_FOLDER).glob("*/*.json")) or sorted(folder.glob("*.json"))
    lines = [f"{path}: {_read(path)['title']}" for path in tables]
    for path in records:
        if _kind(path) == TRAINING_FORMAT.kind:
            t = read_training(path)
            lines.append(f"{path}: {t.facts['method']}, seed {t.seed}, {describe_code(t.code)}")
    if not lines:
        raise InputError(f"{folder}: holds no table and no record of a training")
    return "\n".join(lines)


def _kind(path: Path) -> str:
    try:
        return str(_read(path).get("kind"))
    except InputError:
        return ""


def _read(path: Path) -> dict[str, Any]:
    try:
        with open_regular_file(path) as file:
            data = json.loads(file.read())
    except OSError as error:
        raise InputError(f"{path}: {describe_read_error(error)}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path}: not JSON, so no run of oddframe reproduce") from None
    return data if isinstance(data, dict) else {}
