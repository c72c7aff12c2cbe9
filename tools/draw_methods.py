"""Draw every method's architecture as one small block diagram: docs/images/methods/NAME.svg.

    python tools/draw_methods.py

The method's page, docs/methods/NAME.md, describes its diagram in a comment, ``<!-- diagram``. A
line is a column, from left to right; an indented line continues it. `` // `` separates boxes that
stand one below the other, ``|`` a box's name from what it does. Names in braces stand for the
method's default settings. ``~`` marks what only training has: it is dashed, and scores do not
depend on it. After ``loss:`` come the terms of the loss. Features and scores, the first and the
last column, are added.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise, product
from pathlib import Path
from textwrap import wrap

from oddframe._utils.files import write_text
from oddframe.methods.base import AnyMethod
from oddframe.methods.registry import get_method, method_names

DOCS = Path(__file__).resolve().parent.parent / "docs"
IMAGES = DOCS / "images" / "methods"

_DIAGRAM = re.compile(r"^<!-- diagram\n(.*?)\n-->$", re.DOTALL | re.MULTILINE)

WIDE, TALL, ACROSS, BELOW, EDGE = 168, 74, 36, 14, 16
LETTERS, LINES = 27, 3  # That fit into a box.
TO = "\N{RIGHTWARDS ARROW}"
INK, GREY, BLUE, WARM, LINE = "#1f2630", "#5d6778", "#2563a8", "#b8720a", "#8a94a3"


@dataclass(frozen=True)
class Box:
    """A box: what it says, whether only training has it, and its left upper corner."""

    name: str
    about: str
    training: bool
    x: float = 0
    y: float = 0


@dataclass(frozen=True)
class Diagram:
    """Columns of boxes, and the terms of the loss."""

    columns: tuple[tuple[Box, ...], ...]
    terms: tuple[Box, ...]


def read_diagram(method: AnyMethod) -> Diagram:
    """The diagram that a method's page describes, with the method's default settings.

    Raises:
        SystemExit: the page describes none.
    """
    page = DOCS / "methods" / f"{method.name}.md"
    found = _DIAGRAM.search(page.read_text(encoding="utf-8"))
    if found is None:
        raise SystemExit(f"{page}: no comment <!-- diagram")
    text = found[1].replace("\n  ", " ").format(**method.Config().model_dump())
    *lines, loss = text.split("\n")
    middle = [tuple(_box(part) for part in line.split(" // ")) for line in lines]
    ends = (Box("features", "(B, T, D)", False),), (Box("scores", "(B, T), 0 to 1", False),)
    terms = (_box(f"~{term}") for term in loss.removeprefix("loss: ").split("; "))
    return Diagram((ends[0], *middle, ends[1]), tuple(terms))


def _box(text: str) -> Box:
    name, _, about = text.strip().partition("|")
    return Box(name.removeprefix("~"), about, name.startswith("~"))


def svg(diagram: Diagram, title: str) -> str:
    """The picture."""
    most = max(len(column) for column in diagram.columns)
    high = most * TALL + (most - 1) * BELOW
    columns = [
        [
            Box(
                box.name,
                box.about,
                box.training,
                EDGE + i * (WIDE + ACROSS),
                EDGE
                + (high - len(column) * TALL - (len(column) - 1) * BELOW) / 2
                + j * (TALL + BELOW),
            )
            for j, box in enumerate(column)
        ]
        for i, column in enumerate(diagram.columns)
    ]
    across = max(len(columns), len(diagram.terms))
    width = 2 * EDGE + across * WIDE + (across - 1) * ACROSS
    floor = EDGE + high + 24
    terms = [
        Box(term.name, term.about, True, EDGE + i * (WIDE + ACROSS), floor + 22)
        for i, term in enumerate(diagram.terms)
    ]
    parts = [arrow for pair in pairwise(columns) for arrow in _arrows(*pair)]
    parts += [_box_svg(box, WARM if box.training else BLUE) for column in columns for box in column]
    parts.append(_text_svg(EDGE, floor + 8, "Learns by", 11, GREY, anchor="start"))
    parts += [_box_svg(term, WARM) for term in terms]
    height = floor + 22 + TALL + EDGE
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
            f'width="{width:g}" height="{height:g}" font-family="Helvetica, Arial, sans-serif" '
            f'role="img"><title>{escape(title)}</title>',
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="{LINE}"/></marker>'
            "</defs>",
            f'<rect width="{width:g}" height="{height:g}" rx="8" fill="white"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _arrows(left: Sequence[Box], right: Sequence[Box]) -> Iterator[str]:
    """Row by row where as many stand on either side, else from each to each; what only training
    has leads to nothing else."""
    rows = len(left) == len(right) > 1
    for a, b in zip(left, right, strict=True) if rows else product(left, right):
        if a.training and not b.training:
            continue
        x, y, to, at = a.x + WIDE, a.y + TALL / 2, b.x - 2, b.y + TALL / 2
        half = (x + to) / 2
        dashed = ' stroke-dasharray="4 3"' if b.training else ""
        yield (
            f'<path d="M{x:g} {y:g}C{half:g} {y:g} {half:g} {at:g} {to:g} {at:g}" fill="none" '
            f'stroke="{LINE}" stroke-width="1.4"{dashed} marker-end="url(#tip)"/>'
        )


def wrap_text(about: str) -> list[str]:
    """Lines of a box; what arrows join stays together where it can."""
    return wrap(about.replace(f" {TO} ", f"\N{NO-BREAK SPACE}{TO}\N{NO-BREAK SPACE}"), LETTERS)


def _box_svg(box: Box, colour: str) -> str:
    dashed = ' stroke-dasharray="5 3"' if box.training else ""
    fill = "white" if box.training else "#eef4fb"
    lines = wrap_text(box.about)
    top = box.y + TALL / 2 - 6.5 * len(lines) + 5
    parts = [
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{WIDE}" height="{TALL}" rx="7" fill="{fill}" '
        f'stroke="{colour}" stroke-width="1.4"{dashed}/>',
        _text_svg(box.x + WIDE / 2, top, box.name, 13, INK, bold=True),
    ]
    for i, line in enumerate(lines):
        parts.append(_text_svg(box.x + WIDE / 2, top + 15 + 13 * i, line, 11, GREY))
    return "".join(parts)


def _text_svg(
    x: float,
    y: float,
    words: str,
    size: int,
    colour: str,
    *,
    bold: bool = False,
    anchor: str = "middle",
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"'
        f"{weight}>{escape(words)}</text>"
    )


def main() -> None:
    """Write all."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name in method_names():
        method = get_method(name)
        write_text(IMAGES / f"{name}.svg", svg(read_diagram(method), method.title))


if __name__ == "__main__":
    main()
