"""What every page of cards shares: its frame, a card, a table, a list of facts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template

# A value of more letters than this has a row of its own.
_LONG = 60


def page(
    *,
    over: str,
    title: str,
    summary: str,
    told: Sequence[str],
    warnings: Sequence[str],
    body: Sequence[str],
    footer: str,
) -> str:
    """A whole page that needs nothing around it.

    Args:
        over: What kind of page it is.
        title: Its title.
        summary: The one sentence that matters most.
        told: Paragraphs below it.
        warnings: What a reader should know before trusting it.
        body: Cards, as HTML.
        footer: The last line.
    """
    assets = files("oddframe.outputs") / "assets"
    frame, css, own = (
        (assets / name).read_text(encoding="utf-8")
        for name in ("study.html", "report.css", "study.css")
    )
    return Template(frame).substitute(
        css=css + own,
        over=escape(over),
        title=escape(f"{title}: {over}"),
        name=escape(title),
        summary=escape(summary),
        told="".join(f'<p class="knows">{escape(line)}</p>' for line in told),
        warnings=_warnings(warnings),
        body="\n".join(body),
        footer=escape(footer),
    )


def card(title: str, body: str, note: str = "") -> str:
    """A card; title and note are text, the body is HTML."""
    below = f'<p class="note below">{escape(note)}</p>' if note else ""
    return f'<section class="card"><h2>{escape(title)}</h2>{body}{below}</section>'


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Names and values."""
    cells = "".join(
        f"<div{' class=wide' if len(value) > _LONG else ''}><dt>{escape(name)}</dt>"
        f"<dd>{escape(value)}</dd></div>"
        for name, value in pairs
    )
    return f"<dl>{cells}</dl>"


def text_rows(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text as rows of HTML."""
    return ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]


def table(headings: Sequence[str], rows: Sequence[str]) -> str:
    """A table whose rows are HTML; wider than the page, it scrolls by itself."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in headings)
    return (
        f'<div class="wide-table" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def folded(rows: int, body: str, most: int = 14) -> str:
    """``body`` behind a click where it is a table of more than ``most`` rows."""
    if rows <= most:
        return body
    return f"<details><summary>All {rows}</summary>{body}</details>"


def _warnings(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<section class="card warnings"><h2>Before you trust it</h2><ul>{items}</ul></section>'
