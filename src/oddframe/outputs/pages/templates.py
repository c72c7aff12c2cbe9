"""Renders a page from its Jinja2 template.

A page is one HTML file with style, script and data in it. Templates, styles and scripts lie in
``outputs/assets``.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

# A longer value gets a row of its own in a list of facts (letters).
_LONG = 60

TEMPLATES = Environment(
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


def facts(pairs: Sequence[tuple[str, str]]) -> list[Fact]:
    """Facts of names and values; a long value is wide."""
    return [Fact(name, value, "wide" if len(value) > _LONG else "") for name, value in pairs]


def render_template(
    template: str,
    *,
    style: Sequence[str],
    script: Sequence[str] = (),
    sources: str = "img-src data:",
    data: Any = None,
    **values: Any,
) -> str:
    """Render a whole page: one HTML file that needs no other file.

    Every value is escaped unless it is ``Markup``. The page's content security policy allows the
    script that is named here and no other, and nothing is loaded except from ``sources``.

    Args:
        template: Name of an HTML file in ``assets``, without its ending.
        style: Names of CSS files there.
        script: Names of JavaScript files there, which become one script.
        sources: Further directives of the page's content security policy.
        data: Data for the script, written as JSON; None: no data.
        values: Variables of the template.
    """
    code = "\n".join(_asset(f"{name}.js") for name in script)
    policy = f"default-src 'none'; style-src 'unsafe-inline'; {sources}"
    if code:
        digest = b64encode(hashlib.sha256(code.encode()).digest()).decode()
        policy += f"; script-src 'sha256-{digest}'"
    text = None
    if data is not None:  # Without "<" no string in the data can end the script element.
        text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return TEMPLATES.get_template(f"{template}.html").render(
        policy=Markup(policy),
        css=Markup("".join(_asset(f"{name}.css") for name in style)),
        script=Markup(code),
        data=None if text is None else Markup(text),
        **values,
    )


def _asset(name: str) -> str:
    return (files("oddframe.outputs") / "assets" / name).read_text(encoding="utf-8")


def render_card_page(
    template: str,
    *,
    kind: str,
    title: str,
    summary: str,
    paragraphs: Sequence[str],
    warnings: Sequence[str],
    footer: str,
    **values: Any,
) -> str:
    """Render a page of cards.

    Args:
        template: A template that extends ``cards.html``.
        kind: Kind of page: ``oddframe evaluation``.
        title: Title of the page.
        summary: The most important sentence.
        paragraphs: Paragraphs below it.
        warnings: What a reader should know before trusting the figures.
        footer: Last line of the page.
        values: Variables of the template.
    """
    return render_template(
        template,
        style=("report", "cards"),
        over=kind,
        title=f"{title}: {kind}",
        name=title,
        summary=summary,
        paragraphs=paragraphs,
        warnings=warnings,
        footer=footer,
        **values,
    )
