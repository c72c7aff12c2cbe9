"""An evaluation as text: sentences and tables for page and terminal, Markdown, JSON data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from oddframe.evaluation.confidence import Interval
from oddframe.evaluation.evaluate import (
    MIN_GROUPS,
    Evaluation,
    FalseAlarmRate,
    Metrics,
    VideoMetrics,
)
from oddframe.outputs.text import TextTable, format_count, format_duration, one_line

UNDEFINED = "\N{EN DASH}"
_PROTOCOLS = {
    "frames": "every frame has a score of its own",
    "official": "each snippet's score repeated for its frames, the tail dropped, as published",
}


def format_share(value: float, digits: int = 3) -> str:
    """``0.912``; a dash where it is undefined."""
    return f"{value:.{digits}f}" if np.isfinite(value) else UNDEFINED


def format_interval(interval: Interval | None) -> str:
    """``0.85 to 0.95``, with enough digits that the ends differ; empty without an interval."""
    if interval is None or not np.isfinite(interval.low):
        return ""
    for digits in (2, 3, 4):
        low, high = format_share(interval.low, digits), format_share(interval.high, digits)
        if low != high:
            break
    return f"{low} to {high}"


def format_rate(value: float) -> str:
    """Events per hour: ``0.37``, ``12``, ``1,220``."""
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.2g}"


def format_hours(value: float) -> str:
    """Hours of video as a duration: ``12.3 h``, ``48 min``."""
    return f"{value:.1f} h" if value >= 0.995 else format_duration(value * 3600)


def format_alarm_rate(alarms: FalseAlarmRate) -> str:
    """``2.1 (0.3 to 7.6)``; a dash without hours."""
    if alarms.hours <= 0:
        return UNDEFINED
    found = alarms.per_hour
    return f"{format_rate(found.value)} ({format_rate(found.low)} to {format_rate(found.high)})"


def describe_alarm_rate(alarms: FalseAlarmRate) -> str:
    if alarms.hours <= 0:
        return "There is no normal video to count false alarms in."
    count = f"{alarms.count or 'No'} false alarm{'' if alarms.count == 1 else 's'}"
    rate = alarms.per_hour
    little = " So little video says almost nothing about a whole day." if alarms.hours < 1 else ""
    return (
        f"{count} in {format_hours(alarms.hours)} in which nothing happens: "
        f"{format_rate(rate.value)} an hour, and with 95 % certainty between "
        f"{format_rate(rate.low)} and {format_rate(rate.high)} (exact Poisson interval).{little}"
    )


def describe_intervals(evaluation: Evaluation) -> str:
    groups = "resampling whole groups (recordings, cameras)"
    text = "Ranges of shares are exact 95 % intervals (Clopper and Pearson)"
    if len(evaluation.groups) < MIN_GROUPS:
        return f"{text}; they take videos for independent, which those of one recording are not."
    return f"{text}, or those by {groups} where these are wider. Ranges of areas are by {groups}."


def describe_frame_protocol(evaluation: Evaluation) -> str:
    return f"Frame figures: {_PROTOCOLS[evaluation.protocol]}."


def key_figures(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """The most important figures: name, value, and its interval or what it is counted on."""
    overall = evaluation.overall
    found = []
    if overall.frames is not None:
        frames = overall.frames
        about = format_interval(evaluation.frame_auc) or f"{frames.n_frames:,} frames"
        found.append(("frame AUC", format_share(frames.auc), about))
        found.append(("frame AP", format_share(frames.ap), f"{frames.n_anomalous:,} odd frames"))
    if np.isfinite(overall.video_auc):
        about = format_interval(evaluation.video_auc) or format_count(overall.videos, "video")
        found.append(("video AUC", format_share(overall.video_auc), about))
    correct = f"{overall.confusion.correct} of {overall.confusion.videos}"
    found.append(("videos right", correct, format_interval(evaluation.accuracy)))
    if true := overall.found + overall.missed:
        delay = f", median delay {overall.delay_s:.1f} s" if overall.found else ""
        about = format_interval(evaluation.events_found) + delay
        found.append(("true events found", f"{overall.found} of {true}", about))
        precision = format_share(overall.mean_interval_precision)
        error = f"median boundary error {overall.boundary_error_s:.1f} s" if overall.found else ""
        found.append(("mAP@tIoU 0.1 to 0.5", precision, error))
    if overall.false_alarms.hours > 0:
        per_hour = overall.false_alarms.per_hour
        about = f"{format_rate(per_hour.low)} to {format_rate(per_hour.high)}"
        found.append(("false alarms an hour", format_rate(per_hour.value), about))
    return found


def summary_sentence(evaluation: Evaluation) -> str:
    c = evaluation.overall.confusion
    abnormal = c.true_positives + c.false_negatives
    normal = c.true_negatives + c.false_positives
    parts = []
    if abnormal:
        parts.append(f"{c.true_positives} of {format_count(abnormal, 'abnormal video')} caught")
    if normal:
        parts.append(f"{c.true_negatives} of {format_count(normal, 'normal video')} quiet")
    return ", ".join(parts) + f", at {describe_threshold(evaluation)}."


def describe_threshold(evaluation: Evaluation) -> str:
    """``the threshold 0.7``, or the range of the cameras' own thresholds."""
    values = [video.rule.threshold for video in evaluation.videos]
    low, high = min(values), max(values)
    if low == high:
        return f"the threshold {low:.3g}"
    return f"the thresholds of their cameras, {low:.3g} to {high:.3g}"


def group_table(title: str, parts: Mapping[str, Metrics]) -> TextTable:
    """A row for each class or group."""
    has_frames = any(part.frames is not None for part in parts.values())
    headings = [title, "videos", "abnormal"]
    headings += ["frame AUC", "frame AP", "events found", "delay"] if has_frames else []
    headings += ["video AUC", "right", "false alarms an hour"]
    rows = []
    for name, part in parts.items():
        cells = [name, str(part.videos), str(part.abnormal)]
        if has_frames:
            areas, events = part.frames, part.found + part.missed
            cells += [
                format_share(areas.auc) if areas else UNDEFINED,
                format_share(areas.ap) if areas else UNDEFINED,
                f"{part.found} of {events}" if events else UNDEFINED,
                f"{part.delay_s:.1f} s" if part.found else UNDEFINED,
            ]
        right = f"{part.confusion.correct} of {part.confusion.videos}"
        cells += [format_share(part.video_auc), right, format_alarm_rate(part.false_alarms)]
        rows.append(tuple(cells))
    return TextTable(f"By {title}", tuple(headings), tuple(rows))


def video_table(evaluation: Evaluation) -> TextTable:
    """A row for each video, wrong ones first, the worst at the top."""
    has_truth = any(v.truth for v in evaluation.videos)
    headings: tuple[str, ...] = ("video", "label", "group", "score", "events", "said", "right")
    headings += ("frame AUC", "found", "false alarms") if has_truth else ()
    rows = []
    for each in sorted(evaluation.videos, key=score_margin):
        cells = [
            each.video.path.name,
            each.video.label,
            each.video.group,
            format_share(each.score),
            str(len(each.events)),
            "abnormal" if each.predicted_abnormal else "normal",
            "yes" if each.correct else "no",
        ]
        if has_truth:
            found = alarms = UNDEFINED
            if match := each.match:
                found, alarms = f"{match.found} of {match.found + match.missed}", str(match.false)
            cells += [format_share(each.auc), found, alarms]
        rows.append(tuple(cells))
    return TextTable("By video", headings, tuple(rows))


def breakdown_tables(evaluation: Evaluation) -> list[TextTable]:
    """Tables by class and by group, where there are several, and by video."""
    parts = {"class": evaluation.classes, "group": evaluation.groups}
    tables = [group_table(name, each) for name, each in parts.items() if len(each) > 1]
    return [*tables, video_table(evaluation)]


def score_margin(video: VideoMetrics) -> float:
    """Distance of a video's score to the threshold; negative where the video is called wrongly."""
    above = video.score - video.rule.threshold
    return above if video.video.abnormal else -above


def evaluation_to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """The answer of ``oddframe evaluate --json``, schema 1, for ``json_text``: NaN becomes null."""
    return {
        "model": evaluation.model,
        "data": evaluation.data,
        "schema": 1,
        "protocol": evaluation.protocol,
        "threshold": evaluation.rule.threshold,
        "all": _figures(evaluation.overall),
        "intervals_95": {
            "frame_auc": _ends(evaluation.frame_auc),
            "video_auc": _ends(evaluation.video_auc),
            "video_accuracy": _ends(evaluation.accuracy),
            "events_found": _ends(evaluation.events_found),
        },
        "classes": {name: _figures(each) for name, each in evaluation.classes.items()},
        "groups": {name: _figures(each) for name, each in evaluation.groups.items()},
        "videos": [_video(each) for each in evaluation.videos],
        "warnings": evaluation.warnings,
        "failed": evaluation.failed,
    }


def evaluation_to_markdown(evaluation: Evaluation) -> str:
    """The figures as Markdown tables: over all videos, by class, by group, by video."""
    lines = [f"# {one_line(evaluation.title)}", "", summary_sentence(evaluation), ""]
    lines += [line for text in evaluation.warnings for line in (f"> {one_line(text)}", "")]
    rows = tuple(key_figures(evaluation))
    headings = ("figure", "value", "95 %, or what it stands on")
    lines.append(TextTable("", headings, rows).markdown())
    lines += [describe_intervals(evaluation), ""]
    lines += [describe_alarm_rate(evaluation.overall.false_alarms), ""]
    if evaluation.overall.frames is not None:
        lines += [describe_frame_protocol(evaluation), ""]
    for table in (
        group_table("class", evaluation.classes),
        group_table("group", evaluation.groups),
        video_table(evaluation),
    ):
        lines += [f"## {table.title}", "", table.markdown()]
    return "\n".join(lines)


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def _figures(each: Metrics) -> dict[str, Any]:
    rate, frames, videos = each.false_alarms.per_hour, each.frames, each.confusion
    return {
        "videos": each.videos,
        "abnormal": each.abnormal,
        "hours": each.hours,
        "frames": None if frames is None else vars(frames),
        "video_auc": each.video_auc,
        "video_accuracy": videos.accuracy,
        "confusion": {
            "caught": videos.true_positives,
            "missed": videos.false_negatives,
            "alarmed": videos.false_positives,
            "quiet": videos.true_negatives,
        },
        "events": {
            "found": each.found,
            "missed": each.missed,
            "delays_s": each.delays_s,
            "median_delay_s": each.delay_s,
            "median_boundary_error_s": each.boundary_error_s,
            "average_precision_by_overlap": {
                str(overlap): value for overlap, value in each.interval_precision.items()
            },
        },
        "false_alarms": {
            "count": each.false_alarms.count,
            "hours": each.false_alarms.hours,
            "per_hour": rate.value,
            "per_hour_95": _ends(rate),
        },
    }


def _video(each: VideoMetrics) -> dict[str, Any]:
    return {
        "video": each.video.path,
        "label": each.video.label,
        "group": each.video.group,
        "score": each.score,
        "threshold": each.rule.threshold,
        "called_abnormal": each.predicted_abnormal,
        "right": each.correct,
        "frame_auc": each.auc,
        "events": [[event.start_s, event.end_s] for event in each.events],
        "truth": each.truth,
    }
