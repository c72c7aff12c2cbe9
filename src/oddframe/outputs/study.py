"""The study: one page that says how good a detector is, and what it gets right and wrong."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from oddframe.experiments.evaluation import Evaluation, Figures, VideoFigures
from oddframe.files import write_text
from oddframe.outputs import study_words as words
from oddframe.outputs.page import card, facts, folded, page, text_rows
from oddframe.outputs.page import table as html_table
from oddframe.outputs.study_charts import (
    distribution,
    learning_charts,
    learning_legend,
    score_chart,
)
from oddframe.outputs.study_data import LearningCurve, Search, Study, Table, Tried
from oddframe.outputs.study_thumbnails import galleries

__all__ = ["LearningCurve", "Search", "Study", "Table", "Tried", "write_study"]

_CURVES = 3
_KEYS = (
    ("score", "score"),
    ("threshold", "threshold"),
    ("event", "event found"),
    ("truth", "what really happens"),
)


def write_study(study: Study, path: Path) -> None:
    """Write the page, one HTML file that needs nothing around it.

    Thumbnails are taken from the videos of the evaluation, where they can still be read.

    Args:
        study: What to show.
        path: HTML file.

    Raises:
        OddframeError: the file cannot be written.
    """
    evaluation = study.evaluation
    text = page(
        over="oddframe study",
        title=study.title,
        summary=words.summary(evaluation) if evaluation else "Nothing was held out: no figures.",
        told=study.told,
        warnings=study.warnings,
        body=_sections(study),
        footer="Figures on these videos say how it did on these videos. Other cameras, other "
        "figures.",
    )
    write_text(path, text)


def _sections(study: Study) -> list[str]:
    parts = _evaluation(study.evaluation) if study.evaluation else []
    if study.curves:
        note = "The loss and its terms; the scale of each starts at 0 or its lowest value."
        charts = f'<div class="smalls">{learning_charts(study.curves)}</div>'
        parts.append(card("Learning", learning_legend(study.curves) + charts, note))
    if study.search:
        parts.append(card("What was tried", _search(study.search), study.search.note))
    parts += [_table(table) for table in study.tables]
    if study.facts:
        parts.append(card("How this was made", facts(study.facts)))
    return parts


def _evaluation(evaluation: Evaluation) -> list[str]:
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd><small>{escape(about)}</small></div>"
        for name, value, about in words.headline(evaluation)
    )
    notes = [words.about_rate(evaluation.whole.false_alarms)]
    if evaluation.whole.frames is not None:
        notes.append(words.about_protocol(evaluation))
    notes.append(words.about_intervals(evaluation))
    shown = [card("Figures", f'<dl class="figures">{cells}</dl>', " ".join(notes))]
    shown.append(
        '<div class="tables">'
        + card("Videos at the threshold", _confusion(evaluation.whole))
        + card(
            "Highest score of each video",
            distribution(evaluation),
            f"Dashed: {words.at_threshold(evaluation)}.",
        )
        + "</div>"
    )
    shown.append(card("Right and wrong", galleries(evaluation)))
    shown.append(card("Score curves", _curves(evaluation.videos)))
    shown += [
        _table(words.parts_table(name, parts))
        for name, parts in (("class", evaluation.classes), ("group", evaluation.groups))
        if len(parts) > 1
    ]
    shown.append(_table(words.videos_table(evaluation)))
    return shown


def _confusion(whole: Figures) -> str:
    c = whole.confusion
    return (
        '<table class="confusion"><thead><tr><td></td><th scope="col">called abnormal</th>'
        '<th scope="col">called normal</th></tr></thead><tbody>'
        f'<tr><th scope="row">abnormal</th><td class="yes">{c.caught}<small>caught</small></td>'
        f'<td class="no">{c.missed}<small>missed</small></td></tr>'
        f'<tr><th scope="row">normal</th><td class="no">{c.alarmed}<small>false alarms</small></td>'
        f'<td class="yes">{c.quiet}<small>quiet</small></td></tr></tbody></table>'
    )


def _curves(videos: Sequence[VideoFigures]) -> str:
    ordered = sorted(videos, key=words.margin)
    best = ordered[::-1][: min(_CURVES, len(videos) // 2)]
    worst = ordered[: min(_CURVES, len(videos) - len(best))]
    keys = _KEYS if any(v.truth for v in (*worst, *best)) else _KEYS[:-1]
    legend = "".join(f'<li><i class="k-{key}"></i>{name}</li>' for key, name in keys)
    text = f'<ul class="legend">{legend}</ul>'
    for title, chosen in (("The worst", worst), ("The best", best)):
        charts = "".join(
            f"<figure><figcaption>{escape(v.video.path.name)} "
            f'<span class="label">{escape(v.video.label)}</span> '
            f'<span class="{"yes" if v.right else "no"}">{"right" if v.right else "wrong"}</span>'
            f"</figcaption>{score_chart(v)}</figure>"
            for v in chosen
        )
        text += f'<h3>{title}</h3><div class="smalls">{charts}</div>' if charts else ""
    return text


def _search(search: Search) -> str:
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


def _table(table: Table) -> str:
    body = html_table(table.headings, text_rows(table.rows))
    return card(table.title, folded(len(table.rows), body), table.note)
