"""The documentation as a website: it builds without warnings and loads nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import oddframe
from tests.conftest import ROOT
from tests.outputs.conftest import browser  # noqa: F401  # A fixture.

if TYPE_CHECKING:
    from playwright.sync_api import Browser

sys.path.insert(0, str(ROOT / "tools"))
from docs_links import rewrite

LOADED = re.compile(r'<(?:script|img)[^>]* src="([^"]*)|<link[^>]* href="([^"]*)')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "-d", str(folder)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_links_out_of_the_docs_become_paths() -> None:
    text = "[figures](../../benchmarks/RESULTS.md#league), [`fit`](../../src/fit.py), [x](../x.md)"
    assert rewrite(text, "methods/rtfm.md") == (
        "figures (`benchmarks/RESULTS.md`), `fit` (`src/fit.py`), [x](../x.md)"
    )
    for kept in ("[a](https://example.org/a)", "![curve](../images/curve.png)", "[b](#b)"):
        assert rewrite(kept, "methods/rtfm.md") == kept


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = [*site.rglob("*.html")]
    assert len(pages) >= len([*(ROOT / "docs").rglob("*.md")])
    for page in pages:
        loaded = [one for pair in LOADED.findall(page.read_text()) for one in pair]
        assert not [one for one in loaded if "//" in one], page


def test_the_page_of_the_python_api_lists_every_public_name(site: Path) -> None:
    page = (site / "reference" / "python.html").read_text()
    missing = [name for name in oddframe.__all__ if f'id="oddframe.{name}"' not in page]
    assert missing == ["__version__"]


@pytest.mark.browser
def test_the_search_works_from_the_file_system(site: Path, browser: Browser) -> None:  # noqa: F811
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "methods" / "rtfm.html").as_uri())
    page.click(".md-search__input")
    page.keyboard.type("sport")
    page.wait_for_selector(".md-search-result__item a[href*='fight.html']")
    assert all(url.startswith(("file:", "data:")) for url in asked)
