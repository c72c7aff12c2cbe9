"""A hook of mkdocs: links that leave ``docs/`` become text with the path in the repository.

The pages link to ``../benchmarks/RESULTS.md`` and to source files, which are right where the
repository is read, and are not part of the website.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

LINK = re.compile(r"(?<!!)\[([^]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def rewrite(markdown: str, page: str) -> str:
    """Rewrite the links of one page.

    Args:
        markdown: Text of the page.
        page: Its path below ``docs/``.
    """

    def replace(found: re.Match[str]) -> str:
        text, target = found[1], found[2]
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), target))
        if "://" in target or path.startswith("docs/"):
            return found[0]
        return f"`{path}`" if path.endswith(text.strip("`")) else f"{text} (`{path}`)"

    return LINK.sub(replace, markdown)


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """What mkdocs calls for each page."""
    return rewrite(markdown, page.file.src_uri)
