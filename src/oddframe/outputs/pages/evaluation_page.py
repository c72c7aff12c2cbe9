"""The evaluation page: how good a detector is, and which videos it gets right and wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oddframe._utils.files import write_text
from oddframe.evaluation.results import Evaluation, VideoMetrics
from oddframe.outputs.pages import evaluation_summary as words
from oddframe.outputs.pages.charts import score_chart, score_histogram, term_charts
from oddframe.outputs.pages.evaluation_report import EvaluationReport, SearchTable
from oddframe.outputs.pages.templates import facts, render_card_page
from oddframe.outputs.pages.thumbnails import galleries

# Score curves of so many videos, the worst and the best.
_CURVES = 3
_LEGEND = (
    ("score", "score"),
    ("threshold", "threshold"),
    ("event", "event found"),
    ("truth", "what really happens"),
)


def write_evaluation_page(report: EvaluationReport, path: Path) -> None:
    """Write the page, one HTML file that needs no other file.

    Thumbnails are taken from the videos of the evaluation, where they can still be read.

    Args:
        report: What to show.
        path: HTML file.

    Raises:
        OddframeError: the file cannot be written.
    """
    found = report.evaluation
    text = render_card_page(
        "evaluation",
        kind="oddframe study",
        title=report.title,
        summary=words.summary_sentence(found) if found else "Nothing was held out: no figures.",
        paragraphs=report.paragraphs,
        warnings=report.warnings,
        footer="These figures are of these videos. They may be quite different on other cameras.",
        evaluation=_evaluation(found) if found else None,
        trainings=[curve.name for curve in report.curves],
        learning=term_charts(report.curves),
        search=_search(report.search) if report.search else None,
        tables=report.tables,
        made=facts(report.facts),
    )
    write_text(path, text)


def _evaluation(found: Evaluation) -> dict[str, Any]:
    notes = [words.describe_alarm_rate(found.overall.false_alarms)]
    if found.overall.frames is not None:
        notes.append(words.describe_frame_protocol(found))
    notes.append(words.describe_intervals(found))
    ordered = sorted(found.videos, key=words.score_margin)
    best = ordered[::-1][: min(_CURVES, len(ordered) // 2)]
    worst = ordered[: min(_CURVES, len(ordered) - len(best))]
    return {
        "notes": " ".join(notes),
        "figures": words.key_figures(found),
        "confusion": found.overall.confusion,
        "threshold": words.describe_threshold(found),
        "histogram": score_histogram(found),
        "galleries": galleries(found),
        "legend": _LEGEND if any(v.truth for v in (*worst, *best)) else _LEGEND[:-1],
        "curves": (("The worst", _curves(worst)), ("The best", _curves(best))),
        "tables": words.breakdown_tables(found),
    }


def _curves(videos: Sequence[VideoMetrics]) -> list[dict[str, Any]]:
    return [
        {
            "name": video.video.path.name,
            "label": video.video.label,
            "correct": video.correct,
            "chart": score_chart(video),
        }
        for video in videos
    ]


def _search(search: SearchTable) -> dict[str, Any]:
    """The rows of a search, with a bar for each figure as a share of the highest one."""
    names = list(dict.fromkeys(name for row in search.rows for name in row.settings))
    figures = [row.figure for row in search.rows if row.figure is not None]
    highest = max(filter(np.isfinite, figures), default=1.0) or 1.0
    rows = []
    for row in search.rows:
        value = np.nan if row.figure is None else row.figure
        known = bool(np.isfinite(value))
        rows.append(
            {
                "settings": [row.settings.get(name, "") for name in names],
                "figure": words.format_share(value),
                "percent": f"{100 * max(0.0, value / highest):.0f}" if known else None,
                "chosen": row.chosen,
                "note": row.note,
            }
        )
    return {"headings": (*names, search.figure, ""), "rows": rows, "note": search.note}
