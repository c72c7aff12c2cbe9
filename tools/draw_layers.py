"""Draw the package's layers from the table in docs/architecture.md: docs/images/layers.svg.

    python tools/draw_layers.py

A box is a layer, the highest on top; beside it stand its folders and files, and its lines of code.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from textwrap import wrap

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "oddframe"
PAGE = ROOT / "docs" / "architecture.md"
PICTURE = ROOT / "docs" / "images" / "layers.svg"

WIDTH, MARGIN, NAME_X, TEXT_X = 960, 12, 28, 178
LINE, PADDING, GAP, LETTERS = 17, 9, 5, 104
_ROW = re.compile(r"^\| `(\w+)` \| (.+) \|$", re.MULTILINE)
# One colour for each group of layers: what people start, what is learned, what is read, the rest.
_GROUPS = {
    "#f6d9c4": ("cli", "research", "api", "watch", "scoring", "scoring_job", "outputs"),
    "#d7e4f4": (
        *("evaluation", "training", "exporting", "detector", "stream", "look_for"),
        *("modelfile", "reasons", "prototypes", "methods"),
    ),
    "#dcecd6": ("datasets", "features", "backbones", "video"),
    "#ebe8e1": ("cameras", "events", "heatmap", "metrics", "timeline", "_utils", "errors"),
}


def layers() -> list[tuple[str, str]]:
    """Name and purpose of each layer, the highest first, as the page's table has them."""
    return [(m[1], m[2]) for m in _ROW.finditer(PAGE.read_text(encoding="utf-8"))]


def contents(layer: str) -> str:
    """The folders (with a slash) and modules of a layer; empty for a single module."""
    folder = PACKAGE / layer
    if not folder.is_dir():
        return ""
    folders = sorted(p.parent.name + "/" for p in folder.glob("*/__init__.py"))
    files = sorted(p.stem for p in folder.glob("*.py") if p.stem != "__init__")
    return ", ".join(folders + files)


def svg() -> str:
    """The picture."""
    y, parts = MARGIN, []
    for name, purpose in layers():
        fill = next(colour for colour, names in _GROUPS.items() if name in names)
        text = [(line, "#222") for line in wrap(purpose, LETTERS)]
        text += [(line, "#667") for line in wrap(contents(name), LETTERS)]
        height = 2 * PADDING + LINE * len(text) - 3
        parts.append(
            f'<rect x="{MARGIN}" y="{y}" width="{WIDTH - 2 * MARGIN}" height="{height}" rx="7" '
            f'fill="{fill}"/>'
        )
        parts.append(
            f'<text x="{NAME_X}" y="{y + PADDING + 12}" class="name">{escape(name)}</text>'
        )
        for i, (line, colour) in enumerate(text):
            parts.append(
                f'<text x="{TEXT_X}" y="{y + PADDING + 12 + LINE * i}" fill="{colour}">'
                f"{escape(line)}</text>"
            )
        y += height + GAP
    height = y - GAP + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="system-ui, sans-serif" font-size="13" role="img" '
        f'aria-label="The layers of oddframe">\n'
        "<style>.name{font-weight:600;font-size:14px}</style>\n"
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


if __name__ == "__main__":
    PICTURE.write_text(svg(), encoding="utf-8")
    print(PICTURE.relative_to(ROOT))
