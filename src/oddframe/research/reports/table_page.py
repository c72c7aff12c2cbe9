"""A reproduced table as one page: figures, differences, learning curves, what was run."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

import numpy as np

from oddframe._utils.files import write_text
from oddframe.outputs.pages import templates as pages
from oddframe.outputs.pages.evaluation_page import learning_charts, learning_legend
from oddframe.outputs.pages.evaluation_report import LearningCurve
from oddframe.research.records import Training
from oddframe.research.reports.table_sheets import (
    BEST,
    LAST,
    Sheet,
    difference_text,
    published_difference,
    sheets,
)
from oddframe.research.reports.table_text import about, facts, heading, title
from oddframe.research.reproduce.reproduce import Line, Reproduced

_WIDE = 1000.0
# Trainings from which on rows are said to be told apart.
_LEAST = 5


def write_page(table: Reproduced, path: Path, command: str) -> None:
    """Write the page, one HTML file that needs nothing around it.

    Args:
        table: What to show.
        path: HTML file.
        command: What makes it again.

    Raises:
        OddframeError: the file cannot be written.
    """
    name = title(table)
    text = pages.render_card_page(
        kind="oddframe reproduce" + (f", {table.data_title}" if heading(table) != name else ""),
        title=name,
        summary=_summary(table),
        paragraphs=about(table),
        warnings=table.warnings,
        body=_cards(table, command),
        footer=f"Figures of the {LAST}"
        + (f"; those of the step that is {BEST} are named so." if table.best_on_test else "."),
    )
    write_text(path, text)


def _summary(table: Reproduced) -> str:
    lead, reference = table.columns[0], table.reference
    values = table.values(reference, lead)
    if not len(values):
        return "Nothing is trained yet."
    text = f"{reference.row.name}: {lead.heading} {values.mean():.2f}"
    if len(values) > 1:
        text += f" \N{PLUS-MINUS SIGN} {values.std():.2f}"
    apart = [table.difference(line, lead) for line in table.trained if line is not reference]
    clear = [each for each in apart if each is not None and np.isfinite(each.low)]
    if len(values) < _LEAST:
        clear = []
    below = sum(each.high < 0 for each in clear)
    above = sum(each.low > 0 for each in clear)
    if clear:
        text += (
            f"; of {len(clear)} other rows {below} clearly below, {above} clearly above, "
            f"{len(clear) - below - above} not told apart"
        )
    return f"{text}, {LAST}"


def _cards(table: Reproduced, command: str) -> list[str]:
    cards = []
    for sheet in sheets(table):
        cards.append(pages.card_html(sheet.title, _sheet(table, sheet), sheet.note))
        if sheet.title.startswith("Minus"):
            best = sheet.title.endswith(BEST)
            name = f"{table.columns[0].heading} minus {table.reference.row.name}"
            chosen = BEST if best else LAST
            cards.append(pages.card_html(f"{name}, {chosen}", _forest(table, best=best)))
    if curves := _learning(table):
        note = "Means over the trainings of a row; the scale of each starts at 0 or its lowest."
        charts = f'<div class="smalls">{learning_charts(curves)}</div>'
        cards.append(pages.card_html("Learning", learning_legend(curves) + charts, note))
    if looks := _looks(table):
        note = (
            f"{table.columns[0].heading} on the test set while training, mean over the trainings: "
            f"what {BEST} is chosen by, and nothing else."
        )
        charts = f'<div class="smalls">{learning_charts(looks)}</div>'
        cards.append(
            pages.card_html(f"On the test set ({BEST})", learning_legend(looks) + charts, note)
        )
    cards.append(_trainings(table))
    made = [*facts(table), ("command", command)]
    cards.append(pages.card_html("How this was made", pages.facts_html(made)))
    return cards


def _sheet(table: Reproduced, sheet: Sheet) -> str:
    grey = [heading.startswith("published") for heading in sheet.headings]
    head = "".join(
        f'<th scope="col"{" class=published" if old else ""}>{escape(name)}</th>'
        for name, old in zip(sheet.headings, grey, strict=True)
    )
    whole = table.reference.row.labels
    rows = []
    for row in sheet.rows:
        cells = "".join(
            f"<td{' class=published' if old else ''}>{escape(_unbroken(cell))}</td>"
            for cell, old in zip(row, grey, strict=True)
        )
        rows.append(f"<tr{' class=whole' if row[: sheet.words] == whole else ''}>{cells}</tr>")
    return (
        f'{pages.SWIPE_HINT_HTML}<div class="wide-table dense" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _unbroken(cell: str) -> str:
    """A figure and its deviation in one line; an interval in one, where need be in the next."""
    value, bracket, interval = cell.partition(" (")
    value = value.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")
    if " to " not in interval:
        return value + bracket + interval
    # A line may end behind a hyphen, but not behind a minus.
    whole = f"{value} (" + interval.replace(" ", "\N{NO-BREAK SPACE}")
    return whole.replace("-", "\N{MINUS SIGN}")


def _forest(table: Reproduced, *, best: bool) -> str:
    """A strip a row: its difference, the interval around it, and the published difference."""
    lead = table.columns[0]
    known = [p for p in table.published if p.name in table.reference.row.published]
    beside = [p for p in known if p.beside in (lead.field, "")][:1]
    found = []
    for line in table.trained:
        each = table.difference(line, lead, best_on_test=best)
        if each is not None and np.isfinite(each.value):
            theirs = published_difference(table, line, beside[0]) if beside else None
            found.append((line, each, theirs))
    ends = [x for _, d, them in found for x in (d.value, d.low, d.high, them) if x is not None]
    ends = [x for x in ends if np.isfinite(x)]
    if not ends:
        return ""
    low, high = min(0.0, *ends), max(0.0, *ends)
    low, high = low - 0.04 * (high - low or 1), high + 0.04 * (high - low or 1)

    def at(value: float) -> float:
        return _WIDE * (value - low) / (high - low)

    text = ""
    for line, each, theirs in found:
        body = f'<path class="zero" d="M{at(0):.1f} 0V20"/>'
        if theirs is not None:
            body += f'<rect class="them" x="{at(theirs) - 4:.1f}" y="4" width="8" height="12"/>'
        if np.isfinite(each.low):
            body += f'<path class="reach" d="M{at(each.low):.1f} 10H{at(each.high):.1f}"/>'
        body += f'<rect class="dot" x="{at(each.value) - 4:.1f}" y="4" width="8" height="12"/>'
        name, told = escape(line.row.name), escape(difference_text(each))
        text += (
            f'<span class="name">{name}</span><span class="strip"><svg viewBox="0 0 1000 20" '
            f'preserveAspectRatio="none" role="img" aria-label="{name}: {told}">{body}</svg></span>'
            f"<span>{told}</span>"
        )
    scale = f'<span class="scale"><span>{low:+.1f}</span><span>{high:+.1f}</span></span>'
    keys = '<li><i class="k-ours"></i>ours, 95 %</li>'
    if beside:
        keys += f'<li><i class="k-them"></i>{escape(beside[0].heading)}</li>'
    return f'<ul class="legend">{keys}</ul><div class="forest">{text}{scale}</div>'


def _learning(table: Reproduced) -> list[LearningCurve]:
    curves = []
    for line in table.trained:
        seen = [(t.learning.steps, t.learning.terms) for t in line.trainings]
        curves += _mean(line, seen)
    return curves


def _looks(table: Reproduced) -> list[LearningCurve]:
    curves = []
    for line in table.trained if table.best_on_test else ():
        found = [each.best_on_test for each in line.trainings if each.best_on_test is not None]
        name = f"{table.columns[0].heading} on the test set"
        curves += _mean(line, [(best.steps, {name: best.values}) for best in found])
    return curves


def _mean(
    line: Line, seen: list[tuple[tuple[int, ...], Mapping[str, tuple[float, ...]]]]
) -> list[LearningCurve]:
    """The mean over trainings; one that was as long as the first counts."""
    same = [terms for steps, terms in seen if steps == seen[0][0]]
    if not same or not seen[0][0]:
        return []
    names = [name for name in same[0] if all(name in terms for terms in same)]
    means = {name: list(np.mean([terms[name] for terms in same], axis=0)) for name in names}
    return [LearningCurve(line.row.name, seen[0][0], means)]


def _trainings(table: Reproduced) -> str:
    lead = table.columns[0]
    rows = [
        (
            line.row.name,
            f"{training.repeat}, {training.fold}",
            str(training.seed),
            f"{lead.scale * getattr(training.figures, lead.field):.2f}",
            *(_best(table, training) if table.best_on_test else ()),
            f"{training.seconds:.0f} s",
            f"{path.parent.name}/{path.name}",
        )
        for line in table.trained
        for path, training in zip(line.records, line.trainings, strict=True)
    ]
    best = (f"{lead.heading}, {BEST}",) if table.best_on_test else ()
    headings = ("row", "repeat, fold", "seed", f"{lead.heading}, {LAST}", *best, "took", "record")
    body = pages.collapsed_html(len(rows), pages.table_html(headings, pages.rows_html(rows)))
    note = "A record holds configuration, seed, code and features: oddframe report show RECORD."
    return pages.card_html("Trainings", body, note)


def _best(table: Reproduced, training: Training) -> tuple[str, ...]:
    best, lead = training.best_on_test, table.columns[0]
    if best is None:
        return ("",)
    return (f"{lead.scale * getattr(best.figures, lead.field):.2f} at step {best.step}",)
