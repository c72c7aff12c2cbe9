"""Renders a page, one HTML file with style, script and data in it, from ``outputs/assets``."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from oddframe.outputs.text import format_duration

# A longer value gets a row of its own in a list of facts (letters).
_LONG = 60

TEMPLATES = Environment(
    loader=PackageLoader("oddframe.outputs", "assets"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters["duration"] = format_duration


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
    """Render a whole page from files of ``assets``, all named without their endings.

    Every value is escaped unless it is ``Markup``. The page's content security policy allows the
    script that is named here and no other, and nothing is loaded except from ``sources``, which are
    further directives. ``data`` are written as JSON for the script.
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


def render_card_page(template: str, *, kind: str, title: str, **values: Any) -> str:
    """Render a template that extends ``cards.html``; ``kind`` is such as ``oddframe evaluation``.

    ``values``: ``summary`` (the most important sentence), ``paragraphs`` below it, ``warnings``,
    ``footer``, and the variables of the template.
    """
    title_line = f"{title}: {kind}"
    return render_template(
        template, style=("report", "cards"), over=kind, title=title_line, name=title, **values
    )
