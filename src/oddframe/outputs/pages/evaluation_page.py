"""The study: one page that says how good a detector is, and what it gets right and wrong.

Charts of a study as SVG inside HTML: they stretch with the page, their letters do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from oddframe._utils.files import write_text
from oddframe.evaluation.results import Evaluation, Metrics, VideoMetrics
from oddframe.outputs.drawing import step_curve
from oddframe.outputs.pages import evaluation_summary as words
from oddframe.outputs.pages.evaluation_report import (
    EvaluationReport,
    LearningCurve,
    SearchTable,
    TextTable,
)
from oddframe.outputs.pages.templates import (
    card_html,
    collapsed_html,
    facts_html,
    render_card_page,
    rows_html,
)
from oddframe.outputs.pages.templates import table_html as html_table
from oddframe.outputs.pages.thumbnails import render_galleries
from oddframe.outputs.text import format_clock
from oddframe.timeline import FloatArray

# Units of a drawing; the page stretches it to its own width and height.
_WIDE, _HIGH = 1000.0, 100.0
_BINS = 20
_MOST_STEPS = 500
_MOST_POINTS = 300
# Colours of lines in ``study.css``.
_COLOURS = 9


def score_chart(video: VideoMetrics) -> str:
    """The score over time, with threshold, events and what really happens."""
    base = video.track.timebase
    start, duration = base.start_s, max(base.duration_s, 1e-9)
    curve = step_curve(video, _MOST_STEPS)
    times, _, high = curve.outline()
    spans = [
        _box(kind, (a - start) / duration, (b - start) / duration, top, tall)
        for kind, top, tall, intervals in (
            ("truth", 0, _HIGH, video.truth or ()),
            ("mark", 0, 5, [(event.start_s, event.end_s) for event in video.events]),
        )
        for a, b in intervals
    ]
    line = _points((times - start) / duration, high)
    body = "".join(spans) + _level(video.rule.threshold)
    body += f'<polygon class="under" points="0,{_HIGH:g} {line} {_WIDE:g},{_HIGH:g}"/>'
    body += f'<polyline class="line" points="{line}"/>'
    hours = base.end_s >= 3600
    ends = (
        format_clock(start, hours=hours),
        format_clock(base.end_s, 1 if base.end_s < 60 else 0, hours=hours),
    )
    return _chart(body, f"Score of {video.video.path.name} over time", ("1", "0"), ends)


def distribution(evaluation: Evaluation) -> str:
    """Histograms of the videos' scores, abnormal ones upward and normal ones downward."""
    edges = np.linspace(0, 1, _BINS + 1)
    counts = {
        kind: np.histogram(
            np.clip([v.score for v in evaluation.videos if v.video.abnormal == kind], 0, 1), edges
        )[0]
        for kind in (True, False)
    }
    most = max(1, *(int(c.max()) for c in counts.values()))
    half = _HIGH / 2
    body = ""
    for kind, each in counts.items():
        for left, right, count in zip(edges[:-1], edges[1:], each, strict=True):
            if count:
                tall = half * 0.94 * count / most
                top = half - tall if kind else half
                bar = _box("abnormal" if kind else "normal", left + 0.003, right - 0.003, top, tall)
                about = f"{count} {'abnormal' if kind else 'normal'}, {left:.2f} to {right:.2f}"
                body += bar.replace("/>", f"><title>{about}</title></rect>")
    body += f'<path class="axis" d="M0 {half:g}H{_WIDE:g}"/>'
    for at in sorted({v.rule.threshold for v in evaluation.videos}):
        body += f'<path class="threshold" d="M{min(at, 1.0) * _WIDE:.1f} 0V{_HIGH:g}"/>'
    keys = "".join(f'<li><i class="k-{name}"></i>{name}</li>' for name in ("abnormal", "normal"))
    about = "How many videos have which highest score"
    chart = _chart(body, about, (str(most), str(most)), ("0", "score 1"))
    return f'<ul class="legend">{keys}</ul>{chart}'


def learning_charts(curves: Sequence[LearningCurve]) -> str:
    """A small chart a loss term, a line a training."""
    terms = list(dict.fromkeys(term for curve in curves for term in curve.terms))
    return "".join(f"<figure>{_term(curves, term)}</figure>" for term in terms)


def learning_legend(curves: Sequence[LearningCurve]) -> str:
    """Which colour is which training; nothing where there is only one."""
    if len(curves) < 2:
        return ""
    items = (
        f'<li><i class="k-line c{i % _COLOURS}"></i>{escape(curve.name)}</li>'
        for i, curve in enumerate(curves)
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def _term(curves: Sequence[LearningCurve], term: str) -> str:
    lines = [
        (
            i % _COLOURS,
            *_thinned(np.asarray(curve.steps, float), np.asarray(curve.terms[term], float)),
        )
        for i, curve in enumerate(curves)
        if len(curve.terms.get(term, ()))
    ]
    lines = [(i, x[np.isfinite(y)], y[np.isfinite(y)]) for i, x, y in lines]
    lines = [each for each in lines if len(each[1])]
    if not lines:
        return ""
    low = min(0.0, *(float(y.min()) for _, _, y in lines))
    high = max(float(y.max()) for _, _, y in lines)
    last = max(float(x[-1]) for _, x, _ in lines)
    drawn = "".join(
        f'<polyline class="line c{i % _COLOURS}" '
        f'points="{_points(x / max(last, 1), (y - low) / max(high - low, 1e-12))}"/>'
        for i, x, y in lines
    )
    ends = ("0", f"step {last:,.0f}")
    chart = _chart(drawn, f"{term} over the steps", (f"{high:.3g}", f"{low:.3g}"), ends)
    return f"<figcaption>{escape(term)}</figcaption>{chart}"


def _thinned(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Means of neighbours where there are more points than a small chart can show."""
    if len(x) <= _MOST_POINTS:
        return x, y
    parts = np.array_split(np.arange(len(x)), _MOST_POINTS)
    return np.array([x[p].mean() for p in parts]), np.array([y[p].mean() for p in parts])


def _chart(
    body: str,
    about: str,
    levels: tuple[str, str],
    ends: tuple[str, str],
) -> str:
    top, bottom = (escape(text) for text in levels)
    return (
        f'<div class="chart"><div class="levels"><span>{top}</span><span>{bottom}</span></div>'
        f'<div class="plot"><svg viewBox="0 0 {_WIDE:g} {_HIGH:g}" preserveAspectRatio="none" '
        f'role="img" aria-label="{escape(about)}">{body}</svg></div>'
        f'<div class="ends"><span>{escape(ends[0])}</span><span>{escape(ends[1])}</span>'
        "</div></div>"
    )


def _box(kind: str, left: float, correct: float, top: float, tall: float) -> str:
    # Never thinner than a hair: an event of seconds has to be seen in a video of hours.
    wide = max((correct - left) * _WIDE, 1.5)
    return (
        f'<rect class="{kind}" x="{left * _WIDE:.2f}" y="{top:.2f}" '
        f'width="{wide:.2f}" height="{tall:.2f}"/>'
    )


def _level(value: float) -> str:
    y = (1 - min(max(value, 0.0), 1.0)) * _HIGH
    return f'<path class="threshold" d="M0 {y:.2f}H{_WIDE:g}"/>'


def _points(x: FloatArray, y: FloatArray) -> str:
    """Points from shares of width and height, the latter from below."""
    pairs = zip(x * _WIDE, (1 - np.clip(y, 0, 1)) * _HIGH, strict=True)
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in pairs)


_CURVES = 3
_KEYS = (
    ("score", "score"),
    ("threshold", "threshold"),
    ("event", "event found"),
    ("truth", "what really happens"),
)


def write_evaluation_page(study: EvaluationReport, path: Path) -> None:
    """Write the page, one HTML file that needs nothing around it.

    Thumbnails are taken from the videos of the evaluation, where they can still be read.

    Args:
        study: What to show.
        path: HTML file.

    Raises:
        OddframeError: the file cannot be written.
    """
    evaluation = study.evaluation
    text = render_card_page(
        kind="oddframe study",
        title=study.title,
        summary=words.summary_sentence(evaluation)
        if evaluation
        else "Nothing was held out: no figures.",
        paragraphs=study.told,
        warnings=study.warnings,
        body=_sections(study),
        footer="Figures on these videos say how it did on these videos. Other cameras, other "
        "figures.",
    )
    write_text(path, text)


def _sections(study: EvaluationReport) -> list[str]:
    parts = _evaluation(study.evaluation) if study.evaluation else []
    if study.curves:
        note = "The loss and its terms; the scale of each starts at 0 or its lowest value."
        charts = f'<div class="smalls">{learning_charts(study.curves)}</div>'
        parts.append(card_html("Learning", learning_legend(study.curves) + charts, note))
    if study.search:
        parts.append(card_html("What was tried", _search(study.search), study.search.note))
    parts += [_table(table) for table in study.tables]
    if study.facts:
        parts.append(card_html("How this was made", facts_html(study.facts)))
    return parts


def _evaluation(evaluation: Evaluation) -> list[str]:
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd><small>{escape(about)}</small></div>"
        for name, value, about in words.key_figures(evaluation)
    )
    notes = [words.describe_alarm_rate(evaluation.overall.false_alarms)]
    if evaluation.overall.frames is not None:
        notes.append(words.describe_frame_protocol(evaluation))
    notes.append(words.describe_intervals(evaluation))
    shown = [card_html("Figures", f'<dl class="figures">{cells}</dl>', " ".join(notes))]
    shown.append(
        '<div class="tables">'
        + card_html("Videos at the threshold", _confusion(evaluation.overall))
        + card_html(
            "Highest score of each video",
            distribution(evaluation),
            f"Dashed: {words.describe_threshold(evaluation)}.",
        )
        + "</div>"
    )
    shown.append(card_html("Right and wrong", render_galleries(evaluation)))
    shown.append(card_html("Score curves", _curves(evaluation.videos)))
    shown += [
        _table(words.group_table(name, parts))
        for name, parts in (("class", evaluation.classes), ("group", evaluation.groups))
        if len(parts) > 1
    ]
    shown.append(_table(words.video_table(evaluation)))
    return shown


def _confusion(overall: Metrics) -> str:
    c = overall.confusion
    return (
        '<table class="confusion"><thead><tr><td></td><th scope="col">called abnormal</th>'
        '<th scope="col">called normal</th></tr></thead><tbody>'
        f'<tr><th scope="row">abnormal</th><td class="yes">{c.caught}<small>caught</small></td>'
        f'<td class="no">{c.missed}<small>missed</small></td></tr>'
        f'<tr><th scope="row">normal</th><td class="no">{c.alarmed}<small>false alarms</small></td>'
        f'<td class="yes">{c.quiet}<small>quiet</small></td></tr></tbody></table>'
    )


def _curves(videos: Sequence[VideoMetrics]) -> str:
    ordered = sorted(videos, key=words.score_margin)
    best = ordered[::-1][: min(_CURVES, len(videos) // 2)]
    worst = ordered[: min(_CURVES, len(videos) - len(best))]
    keys = _KEYS if any(v.truth for v in (*worst, *best)) else _KEYS[:-1]
    legend = "".join(f'<li><i class="k-{key}"></i>{name}</li>' for key, name in keys)
    text = f'<ul class="legend">{legend}</ul>'
    for title, chosen in (("The worst", worst), ("The best", best)):
        charts = "".join(
            f"<figure><figcaption>{escape(v.video.path.name)} "
            f'<span class="label">{escape(v.video.label)}</span> '
            f'<span class="{"yes" if v.correct else "no"}">{"right" if v.correct else "wrong"}</span>'  # noqa: E501
            f"</figcaption>{score_chart(v)}</figure>"
            for v in chosen
        )
        text += f'<h3>{title}</h3><div class="smalls">{charts}</div>' if charts else ""
    return text


def _search(search: SearchTable) -> str:
    names = list(dict.fromkeys(name for each in search.tried for name in each.settings))
    noted = any(each.note for each in search.tried)
    figures = [each.figure for each in search.tried if each.figure is not None]
    most = max([f for f in figures if np.isfinite(f)], default=1.0) or 1.0
    rows = []
    for each in search.tried:
        cells = "".join(f"<td>{escape(each.settings.get(name, ''))}</td>" for name in names)
        if each.figure is None or not np.isfinite(each.figure):
            cells += f"<td>{words.UNDEFINED}</td>"
        else:
            part = 100 * max(0.0, each.figure / most)
            cells += f'<td>{each.figure:.3f}<i class="bar" style="width:{part:.0f}%"></i></td>'
        mark = '<span class="yes">chosen</span> ' if each.chosen else ""
        cells += f"<td>{mark}{escape(each.note)}</td>" if noted or each.chosen else "<td></td>"
        rows.append(f"<tr{' class=chosen' if each.chosen else ''}>{cells}</tr>")
    return html_table((*names, search.figure, ""), rows)


def _table(table: TextTable) -> str:
    body = html_table(table.headings, rows_html(table.rows))
    return card_html(table.title, collapsed_html(len(table.rows), body), table.note)
