"""The index of a folder of results: complete, right after any run, and usable."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from oddframe.detector import VideoResult
from oddframe.errors import OddframeError
from oddframe.outputs.pages.folder_index import FolderIndex, is_index
from oddframe.outputs.write import write

if TYPE_CHECKING:
    from playwright.sync_api import Browser

MakeResult = Callable[..., VideoResult]
EVIL = "<script>document.title='evil'</script>\"'&.mp4"


@pytest.fixture
def folder(make_result: MakeResult, tmp_path: Path) -> Path:
    """Results of three videos, a fourth that failed, a fifth that is still to come."""
    index = FolderIndex(tmp_path, dict.fromkeys("abc", "x") | {"d": EVIL, "e": "cam/e.mp4"})
    for stem, odd in (("a", []), ("b", [(5, 8), (30, 33)]), ("c", [(9, 10)])):
        result = make_result(1200, 25.0, odd, video=f"cam/{stem}.mp4")
        write(result, ["json", "html"], tmp_path, stem)
        index.add_result(stem, result)
    index.add_failure("d", EVIL, "not a video <b>")
    index.write()
    return tmp_path


def text_of(folder: Path) -> str:
    return (folder / "index.html").read_text(encoding="utf-8")


def videos_of(folder: Path) -> list[str]:
    table = text_of(folder).split('id="videos"')[1].split("</table>")[0]
    return re.findall(r'<tr data-name="([^"]*)"', table)


def test_videos_are_listed_worst_first_with_failures_and_pending_ones(folder: Path) -> None:
    page = text_of(folder)
    assert "3 events in 3 videos" in page
    assert "1 could not be scored. 1 not scored yet." in page
    assert videos_of(folder)[-1] == "cam/a.mp4"
    assert "not a video &lt;b&gt;" in page
    assert "<li>cam/e.mp4</li>" in page
    assert "<script>document" not in page
    assert 'href="b.html#event-2"' in page


def test_notes_name_gaps(make_result: MakeResult, tmp_path: Path) -> None:
    pts = np.arange(1200) / 25 + np.where(np.arange(1200) < 600, 0, 3600)
    index = FolderIndex(tmp_path, {"a": "a.mp4", "b": "b.mp4"})
    index.add_result("a", make_result(1200, 25.0, [], video="a.mp4", pts=pts, gaps=(600,)))
    index.add_result("b", make_result(1200, 25.0, [], video="b.mp4"))
    index.write()
    assert text_of(tmp_path).count("its time stamps jump by 1:00:00 at 0:00:24") == 1


def test_results_of_other_runs_and_earlier_failures_stay(
    folder: Path, make_result: MakeResult
) -> None:
    result = make_result(1200, 25.0, [(1, 2)], video="cam/e.mp4")
    index = FolderIndex(folder, {"e": "cam/e.mp4"})
    assert index.needed
    index.write(finished=False)
    assert "1 not scored yet" in text_of(folder)
    write(result, ["json", "html"], folder, "e")
    index.add_result("e", result)
    index.write()
    assert sorted(videos_of(folder)) == [f"cam/{stem}.mp4" for stem in "abce"]
    assert "not a video &lt;b&gt;" in text_of(folder)
    index = FolderIndex(folder, {"d": EVIL})
    write(make_result(video=EVIL), ["json"], folder, "d")
    index.add_result("d", make_result(video=EVIL))
    index.write()
    assert "could not be scored" not in text_of(folder)
    assert len(videos_of(folder)) == 5
    assert 'href="d.html"' not in text_of(folder)  # No report was asked for.


def test_videos_of_one_name_are_shown_with_their_folders(
    make_result: MakeResult, tmp_path: Path
) -> None:
    index = FolderIndex(tmp_path, {})
    for i, video in enumerate(("/rec/cam1/a.mp4", "/rec/cam2/a.mp4", "/rec/b.mp4")):
        index.add_result(str(i), make_result(video=video))
    index.write()
    for name in ("cam1/a.mp4", "cam2/a.mp4", "b.mp4"):
        assert f">{name}</span>" in text_of(tmp_path)


def test_an_outdated_report_is_not_linked(folder: Path, make_result: MakeResult) -> None:
    """Its page shows other scores than its score file: a run was killed between the two."""
    (folder / "b.html").write_text("of another threshold")
    index = FolderIndex(folder, {"z": "z.mp4"})
    index.write()
    assert 'href="a.html"' in text_of(folder)
    assert 'href="b.html' not in text_of(folder)


def test_a_page_that_oddframe_did_not_write_is_kept(folder: Path, tmp_path: Path) -> None:
    (folder / "index.html").write_text("<title>My cameras</title>")
    index = FolderIndex(folder, {"a": "cam/a.mp4"})
    with pytest.raises(OddframeError, match=r"index\.html: not written by oddframe"):
        index.write()
    assert text_of(folder) == "<title>My cameras</title>"


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_sorts_filters_and_links_the_reports(
    browser: Browser, folder: Path, width: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto((folder / "index.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.title() != "evil"

    def shown(table: str) -> list[str]:
        return page.locator(f"#{table} tbody tr:not([hidden]) th").all_inner_texts()

    assert shown("videos")[-1] == "a.mp4"
    page.click("#videos th[data-key=name] button")
    assert shown("videos") == ["a.mp4", "b.mp4", "c.mp4"]
    page.click("#videos th[data-key=events] button")
    assert shown("videos") == ["b.mp4", "c.mp4", "a.mp4"]
    page.check("#eventful")
    assert shown("videos") == ["b.mp4", "c.mp4"]
    assert "2 of 3 videos shown" in page.inner_text("#h-videos + .count")
    page.fill("#find", "B.MP4")
    assert shown("videos") == ["b.mp4"]
    assert shown("events") == ["b.mp4", "b.mp4"]
    page.fill("#least", "1")
    assert shown("events") == []
    page.fill("#least", "0")
    hint = page.locator(".swipe").first
    assert hint.is_visible() == (width == 390)
    page.click("#events tr:not([hidden]) a")
    assert page.title() == "b.mp4: oddframe report"
    assert page.locator("tr.now").count() == 1
    assert complaints == []
    page.close()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_of_that_name_is_no_index(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "index.html")
    assert not is_index(tmp_path / "index.html")
