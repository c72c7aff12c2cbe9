from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from oddframe.detector import VideoResult
from oddframe.events import EventRule
from oddframe.outputs.report import Media, write_html
from oddframe.outputs.write import write
from oddframe.video.reader import VideoFile
from tests.conftest import encode
from tests.outputs.conftest import INFO, build
from tests.sounds import tone, with_sound

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

MakeResult = Callable[..., VideoResult]
EVIL = "<script>document.title='evil'</script>\"'&.mp4"


def page_of(result: VideoResult, path: Path, media: Media | None = None) -> str:
    write_html(result, path, media)
    return path.read_text(encoding="utf-8")


def test_the_page_says_what_was_found_and_what_the_model_knows(
    make_result: MakeResult, tmp_path: Path
) -> None:
    result = make_result(1200, 25.0, [(5.0, 8.0), (30.0, 33.0)])
    page = page_of(result, tmp_path / "a.html")
    assert "2 events in 48 s." in page
    assert "trained to find fights" in page
    assert "2 damaged packets skipped" in page
    mended = page_of(replace(result, mended_frames=1), tmp_path / "b.html")
    assert "2 damaged packets skipped, 1 damaged frame mended by the decoder" in mended
    assert INFO.sha256 in page
    assert "What really happens" not in page


def test_no_events_is_said_plainly(make_result: MakeResult, tmp_path: Path) -> None:
    assert "No events found in 48 s." in page_of(make_result(1200, 25.0), tmp_path / "a.html")


def test_found_missed_and_false_alarms_are_told_apart(
    make_result: MakeResult, tmp_path: Path
) -> None:
    truth = [(5.0, 8.0), (20.0, 22.0)]
    result = make_result(1200, 25.0, [(5.0, 8.0), (30.0, 33.0)], truth=truth)
    page = page_of(result, tmp_path / "a.html")
    assert "1 of 2 true events found, 1 false alarm." in page
    for word in ("real", "false alarm", "found", "missed"):
        assert len(re.findall(f">{word}</span>", page)) == 1


def test_nothing_on_the_page_points_outside(make_result: MakeResult, tmp_path: Path) -> None:
    page = page_of(make_result(1200, 25.0, [(5.0, 8.0)]), tmp_path / "a.html")
    plain = re.sub("'sha256-[^']*'", "", page).replace("http://www.w3.org/2000/svg", "")
    assert "//" not in plain.split("<script>")[0]
    assert "default-src 'none'" in page


def test_text_from_outside_is_escaped_everywhere(tmp_path: Path) -> None:
    info = replace(INFO, name=EVIL, knows=EVIL, method=EVIL, sha256=EVIL, engine=EVIL)
    result = replace(build(100, 25.0, [(1.0, 2.0)], video=EVIL), model=info)
    page = page_of(result, tmp_path / "a.html", Media.linked(EVIL))
    assert "<script>document" not in page


def test_ten_hours_make_a_small_page(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result(900_000, 25.0, [(7000.0, 7040.0)], rule=EventRule(smooth_s=2.0))
    page = page_of(result, tmp_path / "a.html")
    assert len(page) < 200_000
    assert "1 event in 10:00:00 h." in page


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two seconds of a real fight, with a name that would break a careless page."""
    clip = Path(__file__).parent.parent / "data" / "fi150.mp4"
    folder = tmp_path_factory.mktemp("report")
    video = folder / "cam <b> & 'yard'.mp4"
    video.write_bytes(clip.read_bytes())
    result = build(50, 25.0, [(0.6, 1.2)], video=str(video), truth=[(0.7, 1.3)])
    write(result, ["html"], folder, None)
    return folder / "report.html"


@pytest.fixture
def page(browser: Browser, demo: Path) -> Iterator[Page]:
    """The report, opened; at the end, it must have asked for nothing and complained of nothing."""
    context = browser.new_context(viewport={"width": 1100, "height": 1000})
    page = context.new_page()
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(demo.as_uri())
    until(page, "document.querySelector('video').readyState >= 2")
    yield page
    context.close()
    outside = [url for url in requests if not url.startswith(("data:", demo.as_uri()))]
    assert outside == []
    assert complaints == []


def until(page: Page, condition: str) -> None:
    """Wait for a condition; the page forbids the ``eval`` that Playwright's own waiting needs."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never happened: {condition}")


def current_time(page: Page) -> float:
    return float(page.evaluate("document.querySelector('video').currentTime"))


@pytest.mark.browser
def test_the_video_plays_and_the_playhead_follows(page: Page) -> None:
    page.evaluate("document.querySelector('video').play()")
    until(page, "document.querySelector('video').currentTime > 0.3")
    until(page, "Number(document.querySelector('#curve').ariaValueNow) > 0.3")
    size = page.evaluate("(v => [v.videoWidth, v.videoHeight])(document.querySelector('video'))")
    assert size == [352, 240]
    assert page.evaluate("document.querySelector('video').duration") == pytest.approx(2.0, abs=0.05)


@pytest.mark.browser
def test_a_click_in_the_middle_of_the_curve_seeks_to_the_middle(page: Page) -> None:
    box = page.locator("#curve polygon.under").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] - 5)
    until(page, "!document.querySelector('video').seeking")
    assert current_time(page) == pytest.approx(1.0, abs=0.05)
    assert page.inner_text("#time") == "0:01.0"
    assert page.inner_text("#state") == "Event 1"
    assert page.locator("tr.now").count() == 1


@pytest.mark.browser
def test_a_drag_and_the_keyboard_seek_too(page: Page) -> None:
    box = page.locator("#curve polygon.under").bounding_box()
    assert box is not None
    y = box["y"] + box["height"] - 5
    page.mouse.move(box["x"] + box["width"] * 0.2, y)
    assert "score" in page.inner_text("#tip")
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, y, steps=5)
    page.mouse.up()
    assert current_time(page) == pytest.approx(1.5, abs=0.05)
    page.focus("#curve")
    page.keyboard.press("ArrowLeft")
    assert current_time(page) == pytest.approx(0.5, abs=0.05)
    page.keyboard.press("Home")
    assert current_time(page) == 0
    page.keyboard.press("Space")
    until(page, "!document.querySelector('video').paused")


@pytest.mark.browser
def test_a_click_on_an_event_or_its_time_seeks_to_its_start(page: Page) -> None:
    page.click("table.events tr[data-event='0'] img")
    assert current_time(page) == pytest.approx(0.64, abs=0.001)
    page.keyboard.press("Home")
    page.click("section[aria-labelledby=h-truth] button")
    assert current_time(page) == pytest.approx(0.7, abs=0.001)
    page.evaluate("document.querySelector('video').currentTime = 0")
    until(page, "document.querySelector('#time').textContent === '0:00.0'")
    page.click("#after")
    assert current_time(page) == pytest.approx(0.64, abs=0.001)


@pytest.mark.browser
def test_a_name_with_markup_is_only_text(page: Page) -> None:
    assert page.inner_text("h1") == "cam <b> & 'yard'.mp4"
    assert page.locator("h1 b").count() == 0


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_narrow_screen(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": 360, "height": 740})
    until(
        page,
        "document.querySelector('#curve svg').viewBox.baseVal.width"
        " === document.querySelector('#curve').clientWidth",
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    channels = [int(value) for value in re.findall(r"\d+", ground)]
    assert (np.mean(channels) > 128) == (scheme == "light")


@pytest.mark.browser
def test_a_page_without_the_video_still_shows_its_curve(
    browser: Browser, make_result: MakeResult, tmp_path: Path
) -> None:
    write_html(make_result(900_000, 25.0, [(7000.0, 7040.0)]), tmp_path / "a.html")
    opened = browser.new_page()
    opened.goto((tmp_path / "a.html").as_uri())
    data = json.loads(
        opened.inner_text("#data", timeout=1000) or opened.text_content("#data") or ""
    )
    assert len(data["high"]) <= 1200
    assert opened.locator("#curve .band").count() == 1
    opened.click("table.events button")
    assert opened.inner_text("#time").startswith("1:56:")
    opened.close()


def on_screen(page: Page, seconds: float) -> float:
    """Grey level that a video shows at a time."""
    return float(
        page.evaluate(
            """async (seconds) => {
              const video = document.querySelector("video");
              video.currentTime = seconds;
              await new Promise((done) => video.addEventListener("seeked", done, { once: true }));
              await new Promise((done) => setTimeout(done, 100));
              const canvas = document.createElement("canvas").getContext("2d");
              canvas.drawImage(video, 0, 0, 8, 8);
              return canvas.getImageData(4, 4, 1, 1).data[0];
            }""",
            seconds,
        )
    )


@pytest.mark.browser
@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "aac"), (".mkv", "libopus")])
def test_a_browser_shows_each_frame_at_the_time_that_is_written(
    browser: Browser, tmp_path: Path, suffix: str, codec: str
) -> None:
    frames = [np.full((64, 64, 3), 20 + 4 * i, np.uint8) for i in range(50)]
    path = tmp_path / f"v{suffix}"
    with_sound(path, frames, [tone(4.5)], picture_at_s=2.5, codec=codec)
    times = [frame.time_s for frame in VideoFile(path).frames()]
    data = b64encode(path.read_bytes()).decode()
    page = browser.new_page()
    page.set_content(f'<video muted src="data:video/mp4;base64,{data}"></video>')
    until(page, "document.querySelector('video').readyState >= 2")
    for number in (5, 25, 45):
        assert on_screen(page, times[number] + 0.02) == pytest.approx(20 + 4 * number, abs=2)
    page.close()


@pytest.mark.browser
def test_a_file_that_a_browser_starts_later_is_sought_all_the_same(
    browser: Browser, tmp_path: Path
) -> None:
    frames = [np.full((64, 64, 3), 20 + 4 * i, np.uint8) for i in range(50)]
    path = encode(tmp_path / "late.mp4", frames, times=[2.5 + i / 25 for i in range(50)])
    assert next(VideoFile(path).frames()).time_s == 0
    result = build(50, 25.0, [(0.6, 1.2)], video=str(path))
    write_html(result, tmp_path / "a.html", Media.linked(path.name))
    page = browser.new_page()
    page.goto((tmp_path / "a.html").as_uri())
    until(page, "document.querySelector('video').readyState >= 2")
    assert current_time(page) == pytest.approx(2.5, abs=0.001)
    page.click("table.events tr[data-event='0'] button")
    assert current_time(page) == pytest.approx(2.5 + 0.64, abs=0.001)
    until(page, "document.querySelector('#time').textContent === '0:00.6'")
    page.close()
