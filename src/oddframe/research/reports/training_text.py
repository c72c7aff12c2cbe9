"""What a run was, in words: a training with all that it depends on, or a table of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from oddframe._utils.files import exists, is_dir, open_regular_file
from oddframe.errors import InputError
from oddframe.outputs.pages.evaluation_summary import UNDEFINED
from oddframe.research.records import KIND as TRAINING
from oddframe.research.records import Training, read_training
from oddframe.research.reports.table_sheets import BEST, LAST
from oddframe.research.reports.table_text import KIND as TABLE
from oddframe.research.reports.table_text import code_words
from oddframe.research.session import TRAININGS

_FIGURES = ("auc", "auc_sub", "ap", "ap_trapezoid", "ap_sub", "far", "clip_auc")


def shown(path: Path) -> str:
    """A run in words: the record of a training, a table, or a folder of both.

    Raises:
        InputError: it is none of these.
    """
    if is_dir(path):
        return _folder(path)
    data = _read(path)
    if data.get("kind") == TRAINING:
        return training_text(read_training(path))
    if data.get("kind") == TABLE:
        return _table(path, data)
    raise InputError(f"{path}: neither a table nor the record of a training; see docs/reproduce.md")


def plain(path: Path) -> dict[str, Any]:
    """The same as JSON types: of a table with its trainings.

    Raises:
        InputError: it is no file of these.
    """
    data = _read(path)
    if data.get("kind") == TABLE:
        for row in data["rows"]:
            row["trainings"] = [_read(path.parent / each) for each in row.get("records", ())]
    elif data.get("kind") != TRAINING:
        raise InputError(f"{path}: neither a table nor the record of a training")
    return data


def training_text(training: Training) -> str:
    """All of a training: figures, then what it takes to make it again."""
    t = training
    lines = [
        f"{t.facts['method']} on {t.dataset}, repeat {t.repeat}, fold {t.fold}, seed {t.seed}",
        "",
        f"figures of the {LAST} ({t.steps})",
        *_figures(vars(t.figures)),
    ]
    if t.best_on_test is not None:
        best = t.best_on_test
        lines += ["", f"{BEST} (step {best.step}, chosen on the test set by {best.chosen_by})"]
        lines += _figures(vars(best.figures))
    lines += ["", *(f"{name:<18} {value}" for name, value in _made(t))]
    lines += [f"beware             {line}" for line in t.warnings]
    for name, values in (("depends on", t.facts), ("protocol", t.protocol), ("config", t.config)):
        text = yaml.safe_dump(json.loads(json.dumps(values)), sort_keys=False, width=100)
        lines += ["", f"{name}:", *(f"  {line}" for line in text.splitlines())]
    return "\n".join(lines)


def _made(t: Training) -> list[tuple[str, str]]:
    return [
        ("data set", t.dataset),
        ("features, sha256", t.features_sha256),
        ("seed", str(t.seed)),
        ("code", code_words(t.code)),
        ("code, sha256", t.code.sha256),
        ("PyTorch", t.torch),
        ("device, threads", f"{t.device}, {t.threads}"),
        ("took", f"{t.seconds:.0f} s"),
    ]


def _figures(values: Mapping[str, float]) -> list[str]:
    found = ((name, values[name]) for name in _FIGURES)
    return [
        f"  {name:<16} {100 * x:.4f}" if math.isfinite(x) else f"  {name:<16} {UNDEFINED}"
        for name, x in found
    ]


def _table(path: Path, data: Mapping[str, Any]) -> str:
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
                f"{code_words(t.code)}: {record}"
            )
    return "\n".join([*lines, "", f"made by: {data['command']}"])


def _folder(folder: Path) -> str:
    found = [path for path in sorted(folder.glob("*.json")) if _kind(path) == TABLE]
    records = sorted((folder / TRAININGS).glob("*/*.json")) or sorted(folder.glob("*.json"))
    lines = [f"{path}: {_read(path)['title']}" for path in found]
    for path in records:
        if _kind(path) == TRAINING:
            t = read_training(path)
            lines.append(f"{path}: {t.facts['method']}, seed {t.seed}, {code_words(t.code)}")
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
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path}: not JSON, so no run of oddframe reproduce") from None
    return data if isinstance(data, dict) else {}
