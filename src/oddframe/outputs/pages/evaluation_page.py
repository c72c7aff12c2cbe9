"""The evaluation page: how good a detector is, which videos it gets right, how it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oddframe._utils.files import file_sha256, json_text, write_text
from oddframe.detector import Detector
from oddframe.errors import InputError
from oddframe.evaluation.evaluate import Evaluation, VideoMetrics
from oddframe.events import smooth_frame_scores
from oddframe.features.formats.feature_file import is_feature_file
from oddframe.outputs.drawing import KeyFrameCollector, RgbImage, embedded_jpeg, step_curve
from oddframe.outputs.pages.charts import LearningCurve, score_chart, score_histogram, term_charts
from oddframe.outputs.pages.evaluation_text import (
    breakdown_tables,
    describe_alarm_rate,
    describe_frame_protocol,
    describe_intervals,
    describe_threshold,
    evaluation_to_dict,
    evaluation_to_markdown,
    format_hours,
    key_figures,
    score_margin,
    summary_sentence,
)
from oddframe.outputs.pages.templates import facts, render_card_page
from oddframe.outputs.text import TextTable, format_clock
from oddframe.video.decoding.isolated import open_source


@dataclass(frozen=True)
class EvaluationReport:
    """What a page shows; it leaves out parts that are empty.

    Attributes:
        evaluation: None: no videos were held out, and the page says so.
        search: The search for settings, for the template: ``headings``, ``rows`` and ``note``.
        facts: Names and values of what it takes to repeat this.
    """

    title: str
    paragraphs: tuple[str, ...]
    evaluation: Evaluation | None
    warnings: tuple[str, ...] = ()
    curves: tuple[LearningCurve, ...] = ()
    search: Mapping[str, Any] | None = None
    tables: tuple[TextTable, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()


_CURVES = 3  # Score curves of so many videos, the worst and the best.
_LEGEND = (
    ("score", "score"),
    ("threshold", "threshold"),
    ("event", "event found"),
    ("truth", "what really happens"),
)


def write_evaluation_page(report: EvaluationReport, path: Path) -> None:
    """Write the page, with thumbnails of the evaluation's videos where they can be read."""
    found = report.evaluation
    text = render_card_page(
        "evaluation",
        kind="oddframe evaluation",
        title=report.title,
        summary=summary_sentence(found) if found else "Nothing was held out: no figures.",
        paragraphs=report.paragraphs,
        warnings=report.warnings,
        footer="These figures are of these videos. They may be quite different on other cameras.",
        evaluation=_evaluation(found) if found else None,
        trainings=[curve.name for curve in report.curves],
        learning=term_charts(report.curves),
        search=report.search,
        tables=report.tables,
        made=facts(report.facts),
    )
    write_text(path, text)


def _evaluation(found: Evaluation) -> dict[str, Any]:
    notes = [describe_alarm_rate(found.overall.false_alarms)]
    if found.overall.frames is not None:
        notes.append(describe_frame_protocol(found))
    notes.append(describe_intervals(found))
    ordered = sorted(found.videos, key=score_margin)
    best = ordered[::-1][: min(_CURVES, len(ordered) // 2)]
    worst = ordered[: min(_CURVES, len(ordered) - len(best))]
    return {
        "notes": " ".join(notes),
        "figures": key_figures(found),
        "confusion": found.overall.confusion,
        "threshold": describe_threshold(found),
        "histogram": score_histogram(found),
        "galleries": _galleries(found),
        "legend": _LEGEND if any(v.truth for v in (*worst, *best)) else _LEGEND[:-1],
        "curves": [
            (title, [(video, score_chart(video)) for video in videos])
            for title, videos in (("The worst", worst), ("The best", best))
        ],
        "tables": breakdown_tables(found),
    }


_MAX_VIDEOS = 8
_MAX_SIDE = 256
_QUALITY = 76
# Abnormal, called abnormal, heading, explanation.
_KINDS = (
    (True, False, "Missed", "Abnormal, but never reached the threshold; the lowest scores first."),
    (False, True, "False alarms", "Normal, but called abnormal; the highest scores first."),
    (True, True, "Caught", "Abnormal, and called so; the narrowest first."),
    (False, False, "Quiet", "Normal, and called so; the narrowest first."),
)


def _galleries(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Galleries of up to four kinds of videos, each video at its highest score."""
    found = []
    for abnormal, predicted, name, about in _KINDS:
        videos = [
            video
            for video in evaluation.videos
            if (video.video.abnormal, video.predicted_abnormal) == (abnormal, predicted)
        ]
        shown = sorted(videos, key=score_margin)[:_MAX_VIDEOS]
        more = "" if len(shown) == len(videos) else f" of {len(videos)} shown"
        gallery: dict[str, Any] = {"name": name, "about": about, "count": f"{len(shown)}{more}"}
        gallery |= {"correct": abnormal == predicted, "videos": list(map(_thumbnail, shown))}
        if shown:
            found.append(gallery)
    return found


def _thumbnail(video: VideoMetrics) -> dict[str, Any]:
    """A video with its picture in the middle of the stretch with the highest score."""
    base = video.track.timebase
    highest = int(np.argmax(smooth_frame_scores(video.track, video.rule.smooth_s)))
    peak = step_curve(video, base.n_frames).middle(float(base.frame_times[highest]))
    picture = _picture(video, peak)
    shown = {"name": video.video.path.name, "score": f"{video.score:.2f}"}
    embedded = None if picture is None else embedded_jpeg(picture, _QUALITY)
    return {**shown, "time": format_clock(peak, 1), "picture": embedded}


def _picture(video: VideoMetrics, seconds: float) -> RgbImage | None:
    """The frame at a time; None where the video cannot be read, or is a file of features."""
    path = video.video.path
    if is_feature_file(path):
        return None
    collector = KeyFrameCollector([seconds], _MAX_SIDE)
    try:
        fps = video.track.timebase.fps if path.is_dir() else None
        for frame in open_source(path, fps=fps).frames():
            collector.add(frame)
            if collector.done:
                break
        collector.close()
    except InputError:
        return None
    return collector.images.get(seconds)


def write_evaluation(evaluation: Evaluation, detector: Detector, out: Path) -> None:
    """Write ``evaluation.html`` and ``.md``, then ``evaluation.json`` with the sha256 of both."""
    tables, page = out / "evaluation.md", out / "evaluation.html"
    write_text(tables, evaluation_to_markdown(evaluation))
    write_evaluation_page(_evaluation_report(evaluation, detector), page)
    files = {path.name: file_sha256(path) for path in (tables, page)}
    record = {**evaluation_to_dict(evaluation), "files": files}
    write_text(out / "evaluation.json", json_text(record, indent=2) + "\n")


def _evaluation_report(evaluation: Evaluation, detector: Detector) -> EvaluationReport:
    """What the page of an evaluation shows."""
    model, info, rule, overall = detector.model, detector.info, evaluation.rule, evaluation.overall
    introduction = (
        f"{overall.videos} labelled videos, {overall.abnormal} of them abnormal, "
        f"{format_hours(overall.hours)} in all, scored by “{model.name}”, which was trained to "
        f"find {model.detects}. A video is called abnormal where it has an event."
    )
    facts = (
        ("Model", f"{model.name} (oddframe {model.version})"),
        ("Method", model.method),
        ("Backbone", info.backbone),
        ("Profile and engine", f"{info.profile}, {info.engine}"),
        ("An event", f"starts at {rule.threshold:.3g}, ends below {rule.release:.3g}"),
        ("SHA-256 of the model file", model.sha256),
    )
    return EvaluationReport(
        evaluation.title, (introduction,), evaluation, evaluation.warnings, facts=facts
    )
