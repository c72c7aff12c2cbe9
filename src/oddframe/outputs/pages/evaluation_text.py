"""An evaluation as JSON data and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from oddframe.evaluation.confidence import Interval
from oddframe.evaluation.results import Evaluation, Metrics, VideoMetrics
from oddframe.outputs.pages import evaluation_summary as words
from oddframe.outputs.tables import TextTable

EVALUATION_SCHEMA = 1


def evaluation_to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as JSON types, schema 1; shares and areas in [0, 1], undefined values null."""
    intervals = {
        "frame_auc": evaluation.frame_auc,
        "video_auc": evaluation.video_auc,
        "video_accuracy": evaluation.accuracy,
        "events_found": evaluation.events_found,
    }
    return {
        "schema": EVALUATION_SCHEMA,
        "protocol": evaluation.protocol,
        "threshold": evaluation.rule.threshold,
        "all": _figures(evaluation.overall),
        "intervals_95": {name: _ends(interval) for name, interval in intervals.items()},
        "classes": {name: _figures(each) for name, each in evaluation.classes.items()},
        "groups": {name: _figures(each) for name, each in evaluation.groups.items()},
        "videos": [_video(each) for each in evaluation.videos],
    }


def evaluation_to_markdown(evaluation: Evaluation, title: str, warnings: Sequence[str] = ()) -> str:
    """The figures as Markdown tables: over all videos, by class, by group, by video.

    Args:
        evaluation: The figures.
        title: Heading: ``fight on clips``.
        warnings: What a reader should know before trusting the figures.
    """
    lines = [f"# {_one_line(title)}", "", words.summary_sentence(evaluation), ""]
    lines += [line for text in warnings for line in (f"> {_one_line(text)}", "")]
    rows = tuple(words.key_figures(evaluation))
    headings = ("figure", "value", "95 %, or what it stands on")
    lines.append(TextTable("", headings, rows).markdown())
    lines += [words.describe_intervals(evaluation), ""]
    lines += [words.describe_alarm_rate(evaluation.overall.false_alarms), ""]
    if evaluation.overall.frames is not None:
        lines += [words.describe_frame_protocol(evaluation), ""]
    for table in (
        words.group_table("class", evaluation.classes),
        words.group_table("group", evaluation.groups),
        words.video_table(evaluation),
    ):
        lines += [f"## {table.title}", "", table.markdown()]
    return "\n".join(lines)


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _ends(interval: Interval | None) -> list[float | None] | None:
    return None if interval is None else [_finite(interval.low), _finite(interval.high)]


def _figures(each: Metrics) -> dict[str, Any]:
    rate, frames = each.false_alarms.per_hour, each.frames
    return {
        "videos": each.videos,
        "abnormal": each.abnormal,
        "hours": each.hours,
        "frames": None
        if frames is None
        else {name: _finite(value) for name, value in vars(frames).items()},
        "video_auc": _finite(each.video_auc),
        "video_accuracy": _finite(each.confusion.accuracy),
        "confusion": dict(vars(each.confusion)),
        "events": {
            "found": each.found,
            "missed": each.missed,
            "delays_s": list(each.delays_s),
            "median_delay_s": _finite(each.delay_s),
        },
        "false_alarms": {
            "count": each.false_alarms.count,
            "hours": each.false_alarms.hours,
            "per_hour": _finite(rate.value),
            "per_hour_95": _ends(rate),
        },
    }


def _video(each: VideoMetrics) -> dict[str, Any]:
    return {
        "video": str(each.video.path),
        "label": each.video.label,
        "group": each.video.group,
        "score": each.score,
        "threshold": each.rule.threshold,
        "called_abnormal": each.predicted_abnormal,
        "right": each.correct,
        "frame_auc": _finite(each.auc),
        "events": [[event.start_s, event.end_s] for event in each.events],
        "truth": None if each.truth is None else [list(interval) for interval in each.truth],
    }
