"""An evaluation as plain data and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from oddframe.evaluation.confidence import Interval
from oddframe.evaluation.results import Evaluation, Figures, VideoFigures
from oddframe.outputs.pages import evaluation_summary as words
from oddframe.outputs.pages.evaluation_data import Table

SCHEMA = 1


def to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """As JSON types, schema 1; shares and areas in [0, 1], what is undefined is null."""
    intervals = {
        "frame_auc": evaluation.frame_auc,
        "video_auc": evaluation.video_auc,
        "video_accuracy": evaluation.accuracy,
        "events_found": evaluation.events_found,
    }
    return {
        "schema": SCHEMA,
        "protocol": evaluation.protocol,
        "threshold": evaluation.rule.threshold,
        "all": _figures(evaluation.whole),
        "intervals_95": {name: _ends(interval) for name, interval in intervals.items()},
        "classes": {name: _figures(each) for name, each in evaluation.classes.items()},
        "groups": {name: _figures(each) for name, each in evaluation.groups.items()},
        "videos": [_video(each) for each in evaluation.videos],
    }


def to_markdown(evaluation: Evaluation, title: str, beware: Sequence[str] = ()) -> str:
    """The figures as tables: over all videos, by class, by group, by video.

    Args:
        evaluation: What was found.
        title: ``fight on clips``.
        beware: What the reader should know before trusting it, a line each.
    """
    lines = [f"# {_cell(title)}", "", words.summary(evaluation), ""]
    lines += [line for each in beware for line in (f"> {_cell(each)}", "")]
    rows = tuple(words.headline(evaluation))
    lines += _table(Table("", ("figure", "value", "95 %, or what it stands on"), rows))
    lines += [words.about_intervals(evaluation), ""]
    lines += [words.about_rate(evaluation.whole.false_alarms), ""]
    if evaluation.whole.frames is not None:
        lines += [words.about_protocol(evaluation), ""]
    for table in (
        words.parts_table("class", evaluation.classes),
        words.parts_table("group", evaluation.groups),
        words.videos_table(evaluation),
    ):
        lines += [f"## {table.title}", "", *_table(table)]
    return "\n".join(lines)


def _table(table: Table) -> list[str]:
    rows = [table.headings, ("---",) * len(table.headings), *table.rows]
    return ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows] + [""]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _ends(interval: Interval | None) -> list[float | None] | None:
    return None if interval is None else [_known(interval.low), _known(interval.high)]


def _figures(each: Figures) -> dict[str, Any]:
    rate, frames = each.false_alarms.per_hour, each.frames
    return {
        "videos": each.videos,
        "abnormal": each.abnormal,
        "hours": each.hours,
        "frames": None
        if frames is None
        else {name: _known(value) for name, value in vars(frames).items()},
        "video_auc": _known(each.video_auc),
        "video_accuracy": _known(each.confusion.accuracy),
        "confusion": dict(vars(each.confusion)),
        "events": {
            "found": each.found,
            "missed": each.missed,
            "delays_s": list(each.delays_s),
            "median_delay_s": _known(each.delay_s),
        },
        "false_alarms": {
            "count": each.false_alarms.count,
            "hours": each.false_alarms.hours,
            "per_hour": _known(rate.value),
            "per_hour_95": _ends(rate),
        },
    }


def _video(each: VideoFigures) -> dict[str, Any]:
    return {
        "video": str(each.video.path),
        "label": each.video.label,
        "group": each.video.group,
        "score": each.score,
        "threshold": each.rule.threshold,
        "called_abnormal": each.called,
        "right": each.right,
        "frame_auc": _known(each.auc),
        "events": [[event.start_s, event.end_s] for event in each.events],
        "truth": None if each.truth is None else [list(interval) for interval in each.truth],
    }
