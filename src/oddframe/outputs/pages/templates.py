"""What all pages share: templates, style and script in one file, a card, a table, facts."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

# Shown above a wide table on a narrow screen.
SWIPE_HINT_HTML = (
    '<p class="swipe" aria-hidden="true">\N{LEFT RIGHT ARROW} The table goes on: '
    "swipe it sideways.</p>"
)
# A value of more letters than this has a row of its own.
_LONG = 60


_TEMPLATES = Environment(
    loader=PackageLoader("oddframe.outputs", "assets"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Fact(NamedTuple):
    """A name and its value in a list of facts; ``kind`` is "", ``wide`` or ``code``."""

    name: str
    value: str
    kind: str = ""


def render_template(
    template: str,
    *,
    style: Sequence[str],
    script: Sequence[str] = (),
    sources: str = "img-src data:",
    data: Any = None,
    **values: Any,
) -> str:
    """A whole page that needs nothing around it: one HTML file.

    Every value is escaped unless it is ``Markup``. Nothing runs but the script that is named here,
    and nothing is loaded from anywhere but ``sources``.

    Args:
        template: Name of an HTML file in ``assets``, without its ending.
        style: Names of CSS files there.
        script: Names of JavaScript files there, which become one script.
        sources: Further directives of the page's content security policy.
        data: For the script, as JSON; None: none.
        values: For the template.
    """
    code = "\n".join(_asset(f"{name}.js") for name in script)
    policy = f"default-src 'none'; style-src 'unsafe-inline'; {sources}"
    if code:
        digest = b64encode(hashlib.sha256(code.encode()).digest()).decode()
        policy += f"; script-src 'sha256-{digest}'"
    text = None
    if data is not None:  # No string in it can end the script element.
        text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return _TEMPLATES.get_template(f"{template}.html").render(
        policy=Markup(policy),
        css=Markup("".join(_asset(f"{name}.css") for name in style)),
        script=Markup(code),
        data=None if text is None else Markup(text),
        **values,
    )


def _asset(name: str) -> str:
    return (files("oddframe.outputs") / "assets" / name).read_text(encoding="utf-8")


def render_card_page(
    *,
    kind: str,
    title: str,
    summary: str,
    paragraphs: Sequence[str],
    warnings: Sequence[str],
    body: Sequence[str],
    footer: str,
) -> str:
    """A page of cards.

    Args:
        kind: What kind of page it is: ``oddframe study``.
        title: Its title.
        summary: The one sentence that matters most.
        paragraphs: Paragraphs below it.
        warnings: What a reader should know before trusting it.
        body: Cards, as HTML.
        footer: The last line.
    """
    return render_template(
        "study",
        style=("report", "study"),
        over=kind,
        title=f"{title}: {kind}",
        name=title,
        summary=summary,
        told=paragraphs,
        warnings=warnings,
        body=[Markup(part) for part in body],
        footer=footer,
    )


def card_html(title: str, body: str, note: str = "") -> str:
    """A card; title and note are text, the body is HTML."""
    below = f'<p class="note below">{escape(note)}</p>' if note else ""
    return f'<section class="card"><h2>{escape(title)}</h2>{body}{below}</section>'


def facts_html(pairs: Sequence[tuple[str, str]]) -> str:
    """Names and values."""
    shown = [Fact(name, value, "wide" if len(value) > _LONG else "") for name, value in pairs]
    macros: Any = _TEMPLATES.get_template("macros.html").module
    return str(macros.facts(shown))


def rows_html(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text as rows of HTML."""
    return ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]


def table_html(headings: Sequence[str], rows: Sequence[str]) -> str:
    """A table whose rows are HTML; wider than the page, it scrolls by itself."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in headings)
    return (
        f'{SWIPE_HINT_HTML if len(headings) > 3 else ""}<div class="wide-table" tabindex="0"><table>'  # noqa: E501
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def collapsed_html(rows: int, body: str, max_rows: int = 14) -> str:
    """``body`` behind a click where it is a table of more than ``most`` rows."""
    if rows <= max_rows:
        return body
    return f"<details><summary>All {rows}</summary>{body}</details>"
