"""The report page, read as text and used in a browser."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from oddframe.detector import VideoResult
from oddframe.events import EventRule, find_events
from oddframe.outputs.pages.report import Media, write_html
from oddframe.outputs.write import write
from oddframe.timeline import ScoreTrack, Timebase
from oddframe.video.decoding.reader import VideoFile
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


def test_the_page_has_a_summary_and_says_what_the_model_finds(
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


def test_a_variable_frame_rate_is_written(make_result: MakeResult, tmp_path: Path) -> None:
    """The average rate of such a video is a number of NumPy's."""
    pts = np.cumsum(np.full(90, 0.04) + 0.01 * np.sin(np.arange(90)) ** 2)
    result = make_result(90, 90 / pts[-1], [(1.0, 2.0)], pts=pts, rule=EventRule(smooth_s=1.0))
    assert "on average (variable)" in page_of(result, tmp_path / "a.html")


def test_without_events_the_page_says_so(make_result: MakeResult, tmp_path: Path) -> None:
    assert "No events found in 48 s." in page_of(make_result(1200, 25.0), tmp_path / "a.html")


def test_found_missed_and_false_alarms_are_marked_differently(
    make_result: MakeResult, tmp_path: Path
) -> None:
    truth = [(5.0, 8.0), (20.0, 22.0)]
    result = make_result(1200, 25.0, [(5.0, 8.0), (30.0, 33.0)], truth=truth)
    page = page_of(result, tmp_path / "a.html")
    assert "1 of 2 true events found, 1 false alarm." in page
    for word in ("real", "false alarm", "found", "missed"):
        assert len(re.findall(f">{word}</span>", page)) == 1


def test_the_page_loads_nothing_from_elsewhere(make_result: MakeResult, tmp_path: Path) -> None:
    page = page_of(make_result(1200, 25.0, [(5.0, 8.0)]), tmp_path / "a.html")
    plain = re.sub("'sha256-[^']*'", "", page).replace("http://www.w3.org/2000/svg", "")
    assert "//" not in plain.split("<script")[0]
    assert "default-src 'none'" in page


def test_text_from_files_is_escaped(tmp_path: Path) -> None:
    info = replace(INFO, name=EVIL, detects=EVIL, method=EVIL, sha256=EVIL, engine=EVIL)
    result = replace(build(100, 25.0, [(1.0, 2.0)], video=EVIL), model=info)
    page = page_of(result, tmp_path / "a.html", Media.linked(EVIL))
    assert "<script>document" not in page


def test_ten_hours_make_a_small_page(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result(900_000, 25.0, [(7000.0, 7040.0)], rule=EventRule(smooth_s=2.0))
    page = page_of(result, tmp_path / "a.html")
    assert len(page) < 1_200_000
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
    click_curve(page, 0.5)
    until(page, "!document.querySelector('video').seeking")
    assert current_time(page) == pytest.approx(1.0, abs=0.05)
    assert page.inner_text("#time") == "0:01.0"
    assert page.inner_text("#state") == "Event 1"
    assert page.locator("tr.now").count() == 1


def click_curve(page: Page, share: float) -> None:
    box = page.locator("#curve polygon.under").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * share, box["y"] + box["height"] - 5)


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
def test_an_event_is_played_from_a_second_before(page: Page) -> None:
    """Its start is at 0.64 s: a second before, the video has not begun.

    The page notes where the video seeks to: on a busy machine it has played on before it is asked.
    """
    note_seeks = """
        const video = document.querySelector("video");
        window.lowest = Infinity;
        video.onseeking = () => { window.lowest = Math.min(window.lowest, video.currentTime); };
    """
    for target in (
        "#events img",
        "#events .go",
        "section[aria-labelledby=h-truth] button",
        "#after",
    ):
        page.evaluate("document.querySelector('video').pause()")
        click_curve(page, 0.2)
        page.evaluate(f"() => {{{note_seeks}}}")
        page.click(target)
        until(page, "!document.querySelector('video').paused")
        until(page, "window.lowest < 0.3")


@pytest.mark.browser
def test_a_name_with_markup_is_shown_as_text(page: Page) -> None:
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


def opened(browser: Browser, path: Path, width: int = 1100, height: int = 800) -> Page:
    page = browser.new_page(viewport={"width": width, "height": height})
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    page.goto(path.as_uri())
    return page


@pytest.mark.browser
def test_a_page_without_the_video_still_shows_its_curve(
    browser: Browser, make_result: MakeResult, tmp_path: Path
) -> None:
    write_html(make_result(900_000, 25.0, [(7000.0, 7040.0)]), tmp_path / "a.html")
    page = opened(browser, tmp_path / "a.html")
    assert page.locator("#curve .band").count() == 1
    page.click("#events .go")
    assert page.inner_text("#time").startswith("1:56:")
    page.close()


def jittered(n: int, fps: float) -> np.typing.NDArray[np.float64]:
    return np.cumsum(np.full(n, 1 / fps) + 0.6 / fps * np.sin(np.arange(n)) ** 2)


def leaping(n: int, fps: float, start_s: float) -> np.typing.NDArray[np.float64]:
    """Times of frames that start at ``start_s`` and leap by 20 s and by 50 minutes."""
    times = start_s + jittered(n, fps)
    times[1000:] += 20
    times[1700:] += 3000
    return times


LEAPS = {"pts": leaping(3000, 29.97, 2.5), "gaps": (1000, 1700)}
RULES = [
    (LEAPS, EventRule(0.6, 0.42, 1.0, 0.3, 50.0)),
    ({**LEAPS, "rate": 12.5}, EventRule(0.5, 0.4, 0.0, 0.0, 5000.0)),
    ({**LEAPS, "stride": 5}, EventRule(0.5, 0.4, 0.7, 0.3, 1.0)),
    ({}, EventRule(0.5, 0.4, 0.0, 0.0, 0.0)),
    ({}, EventRule(0.5123456789, 0.35, 0.7, 0.8, 1.0)),
    ({"stride": 5}, EventRule(0.5, 0.5, 1.0, 0.0, 0.64)),
    ({"stride": 40}, EventRule(0.5, 0.1, 0.0, 0.64, 1.6)),
    ({"rate": 12.5}, EventRule(0.6, 0.42, 1.0, 0.3, 1.0)),
    ({"pts": jittered(3000, 29.97)}, EventRule(0.6, 0.42, 1.0, 0.3, 1.0)),
    ({"pts": jittered(3000, 29.97), "rate": 12.5}, EventRule(0.6, 0.42, 0.0, 0.3, 1.0)),
    ({}, EventRule(0.0, 0.0, 1.0)),
]


@pytest.mark.browser
@pytest.mark.parametrize(("timebase", "rule"), RULES)
def test_the_threshold_slider_applies_the_rule_that_oddframe_applies(
    browser: Browser, tmp_path: Path, timebase: dict[str, Any], rule: EventRule
) -> None:
    base = Timebase(29.97, 3000, **timebase)
    rng = np.random.default_rng(7)
    scores = np.clip(np.cumsum(rng.normal(0, 0.2, base.n_snippets)) % 1.3, 0, 1).round(2)
    track = ScoreTrack(scores, base)
    events = find_events(track, rule)
    result = replace(build(), track=track, rule=rule, events=events)
    write_html(result, tmp_path / "a.html")
    page = opened(browser, tmp_path / "a.html")
    assert page.is_visible("#threshold")
    bare = len(base.gaps) + (base.start_s > 0)
    assert page.locator("#curve .gap").count() == bare
    assert ("no picture, no score" in page.inner_text(".legend")) == ("gaps" in timebase)
    thresholds = [round(0.05 * i, 2) for i in range(21)]
    found = page.evaluate(
        """(thresholds) => thresholds.map((value) => {
            const slider = document.getElementById("threshold");
            slider.value = value;
            slider.dispatchEvent(new Event("input"));
            return [...document.querySelectorAll("#events tr")].map(
                (row) => ["start", "end", "score"].map((name) => Number(row.dataset[name])));
        })""",
        thresholds,
    )
    for threshold, ours in zip(thresholds, found, strict=True):
        theirs = find_events(track, rule.with_threshold(threshold))
        assert len(ours) == len(theirs), threshold
        np.testing.assert_allclose(
            np.reshape(ours, (-1, 3)),
            np.reshape([(e.start_s, e.end_s, e.score) for e in theirs], (-1, 3)),
            rtol=0,
            atol=1e-9,
        )
    # One event a part of the time line where the rule would join all of them.
    counts = {len(ours) for ours in found}
    assert counts == {3} if rule.merge_gap_s >= 50 else len(counts) >= 3
    if rule.threshold not in thresholds:
        page.click("#threshold-reset")
        assert page.locator("#events tr").count() == len(events)
    page.close()


@pytest.fixture
def many(make_result: MakeResult, tmp_path: Path) -> Path:
    """A report of 400 s without a video: 30 events, the 3rd the longest, the 5th the highest."""
    odd = [(12.0 * i + 4, 12.0 * i + 6) for i in range(30)]
    odd[2] = (28.0, 35.0)
    base = make_result(10_000, 25.0, odd)
    scores = base.track.scores.copy()
    middle = base.track.timebase.snippet_times().mean(axis=1)
    scores[(middle > 52) & (middle < 54)] = 0.99
    track = ScoreTrack(scores, base.track.timebase)
    result = replace(base, track=track, events=find_events(track, base.rule), truth=((28.0, 30.0),))
    assert len(result.events) == 30
    write_html(result, tmp_path / "many.html")
    return tmp_path / "many.html"


def numbers(page: Page) -> list[int]:
    shown = page.locator("#events tr:not([hidden]) .number").all_inner_texts()
    return [int(text) for text in shown]


@pytest.mark.browser
def test_events_are_sorted_and_filtered(browser: Browser, many: Path) -> None:
    page = opened(browser, many)
    assert numbers(page) == list(range(1, 31))
    page.click("th[data-key=score] button")
    assert numbers(page)[0] == 5
    assert page.get_attribute("th[data-key=score]", "aria-sort") == "descending"
    assert page.get_attribute("th[data-key=start]", "aria-sort") == "none"
    page.click("th[data-key=length] button")
    assert numbers(page)[0] == 3
    page.click("th[data-key=start] button")
    page.click("th[data-key=start] button")
    assert numbers(page)[0] == 30
    page.fill("#least", "0.97")
    assert numbers(page) == [5]
    assert "1 event shown, 29 of lower scores hidden" in page.inner_text("#count")
    page.click("h1")
    page.keyboard.press("n")
    page.keyboard.press("n")
    assert page.inner_text("tr.now .number") == "5"
    page.close()


@pytest.mark.browser
def test_a_higher_threshold_says_what_would_remain(browser: Browser, many: Path) -> None:
    page = opened(browser, many)
    page.focus("#threshold")
    page.keyboard.press("End")
    assert "At a threshold of 1.00 there would be 0 events instead of 30" in page.inner_text(
        "#count"
    )
    assert not page.is_visible("table.events")
    page.keyboard.press("Home")
    assert "there would be 1 event instead of 30" in page.inner_text("#count")
    assert page.inner_text("#events .truth-mark") == "real"
    page.click("#threshold-reset")
    assert numbers(page) == list(range(1, 31))
    assert page.inner_text("#count") == "30 events"
    page.close()


@pytest.mark.browser
def test_n_and_p_go_from_event_to_event(browser: Browser, many: Path) -> None:
    page = opened(browser, many)
    starts = [
        float(text)
        for text in page.evaluate(
            "[...document.querySelectorAll('#events tr')].map((row) => row.dataset.start)"
        )
    ]

    def at() -> float:
        return float(page.get_attribute("#curve", "aria-valuenow") or "nan")

    for key, number in (("n", 1), ("n", 2), ("n", 3), ("p", 2), ("p", 1)):
        page.keyboard.press(key)
        assert at() == pytest.approx(starts[number - 1] - 1, abs=0.01)
        assert page.inner_text("tr.now .number") == str(number)
    page.keyboard.press("p")  # There is none before.
    assert at() == pytest.approx(starts[0] - 1, abs=0.01)
    page.keyboard.press("ArrowRight")
    assert at() == pytest.approx(starts[0], abs=0.01)
    page.keyboard.press("Shift+ArrowRight")
    assert at() == pytest.approx(starts[0] + 10, abs=0.01)
    page.focus("#least")
    page.keyboard.type("n")
    page.keyboard.press("ArrowLeft")
    assert at() == pytest.approx(starts[0] + 10, abs=0.01)
    for key in ("n", "p", "Space"):
        assert page.is_visible(f".keys kbd:text-is('{key}')")
    page.close()


@pytest.mark.browser
def test_a_link_to_an_event_opens_it(browser: Browser, many: Path) -> None:
    page = browser.new_page()
    page.goto(f"{many.as_uri()}#event-7")
    assert page.inner_text("tr.now .number") == "7"
    page.close()


def view_of(page: Page) -> str:
    return page.inner_text("#view")


@pytest.mark.browser
def test_the_curve_zooms_by_wheel_brush_buttons_and_keys(browser: Browser, many: Path) -> None:
    page = opened(browser, many)
    box = page.locator("#curve polygon.under").bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] - 5
    assert view_of(page) == ""
    page.mouse.move(*middle)
    page.mouse.wheel(0, -400)
    until(page, "document.getElementById('view').textContent !== ''")
    low, high = (clock_s(text) for text in view_of(page).split(" to "))
    assert high - low < 250
    assert (low + high) / 2 == pytest.approx(200, abs=2)  # What is below the pointer stays there.
    assert page.inner_text("#tip").startswith("3:20")
    page.mouse.click(*middle)
    assert page.inner_text("#time").startswith("3:20")
    page.click("#zoom-reset")
    assert view_of(page) == ""
    strip = page.locator("#overview .well").bounding_box()
    assert strip is not None
    y = strip["y"] + 15
    page.mouse.move(strip["x"] + strip["width"] * 0.25, y)
    page.mouse.down()
    page.mouse.move(strip["x"] + strip["width"] * 0.5, y, steps=4)
    page.mouse.up()
    low, high = (clock_s(text) for text in view_of(page).split(" to "))
    assert (low, high) == (pytest.approx(100, abs=2), pytest.approx(200, abs=2))
    page.keyboard.press("n")  # An event behind what is seen brings its part of the curve.
    low, high = (clock_s(text) for text in view_of(page).split(" to "))
    assert low <= clock_s(page.inner_text("#time")) <= high
    page.keyboard.press("0")
    assert view_of(page) == ""
    page.keyboard.press("+")
    low, high = (clock_s(text) for text in view_of(page).split(" to "))
    assert high - low == pytest.approx(200, abs=1)
    for _ in range(20):
        page.keyboard.press("+")
    low, high = (clock_s(text) for text in view_of(page).split(" to "))
    assert high - low == pytest.approx(0.5, abs=0.2)
    assert page.locator("#curve .line").count() == 1
    for _ in range(20):
        page.keyboard.press("-")
    assert view_of(page) == ""
    page.close()


@pytest.mark.browser
def test_two_fingers_zoom_and_one_seeks(browser: Browser, many: Path) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.goto(many.as_uri())
    page.locator("#curve").scroll_into_view_if_needed()
    box = page.locator("#curve polygon.under").bounding_box()
    assert box is not None
    y, middle = box["y"] + box["height"] - 8, box["x"] + box["width"] / 2
    touch = context.new_cdp_session(page)

    def fingers(kind: str, *places: float) -> None:
        points = [{"x": x, "y": y, "id": i} for i, x in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", middle)
    fingers("touchEnd")
    assert page.inner_text("#time").startswith("3:2")
    fingers("touchStart", middle - 25, middle + 25)
    for apart in (30, 40, 50):
        fingers("touchMove", middle - apart, middle + apart)
    fingers("touchEnd")
    low, high = (clock_s(text) for text in view_of(page).split(" to "))
    assert high - low == pytest.approx(200, rel=0.15)
    assert (low + high) / 2 == pytest.approx(200, abs=15)
    context.close()


def clock_s(text: str) -> float:
    minutes, seconds = text.split(":")
    return 60 * int(minutes) + float(seconds)


@pytest.mark.browser
@pytest.mark.parametrize(("width", "height"), [(1200, 800), (390, 844), (844, 390)])
def test_the_player_stays_in_view_and_tables_scroll_in_their_box(
    browser: Browser, demo: Path, many: Path, width: int, height: int
) -> None:
    page = opened(browser, many, width, height)
    page.locator("#events tr").last.scroll_into_view_if_needed()
    page.locator("#events tr .go").last.click()
    player, row = page.locator(".player").bounding_box(), page.locator("tr.now").bounding_box()
    assert player is not None
    assert row is not None
    assert player["y"] >= 0
    assert player["y"] + player["height"] <= row["y"]  # The row is not hidden below the player.
    assert row["y"] + row["height"] <= height + 1
    assert page.evaluate("document.documentElement.scrollWidth") == width
    box = page.locator(".events-box")
    overflows = box.evaluate("(box) => box.scrollWidth > box.clientWidth")
    assert overflows == (width == 390)
    hint = page.locator(".swipe").first
    assert hint.is_visible() == overflows
    page.close()
    page = opened(browser, demo, width, height)
    page.evaluate("scrollTo(0, 300)")
    video = page.locator("video").bounding_box()
    assert video is not None
    assert video["y"] >= 0
    assert video["height"] < 0.55 * height
    page.close()


COLOURS = ("--ink", "--soft", "--red", "--green", "--blue")


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(browser: Browser, many: Path, scheme: str) -> None:
    page = browser.new_page(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(many.as_uri())

    def brightness(name: str) -> float:
        text = page.evaluate(
            """(name) => { const probe = document.body.appendChild(document.createElement("i"));
            probe.style.color = `var(${name})`; return getComputedStyle(probe).color; }""",
            name,
        )
        shares = np.array([int(value) for value in re.findall(r"\d+", text)[:3]]) / 255
        linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for ground in ("--card", "--well", "--page"):
        for colour in COLOURS:
            pair = sorted((brightness(ground), brightness(colour)))
            assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (ground, colour)
    page.close()


@pytest.mark.browser
def test_every_control_has_a_name(browser: Browser, many: Path) -> None:
    page = opened(browser, many)
    nameless = page.evaluate(
        """[...document.querySelectorAll("button, input, [role=slider], [tabindex]")].filter(
            (part) => !(part.ariaLabel || part.textContent.trim() || (part.labels || []).length)
        ).map((part) => part.outerHTML)"""
    )
    assert nameless == []
    page.close()


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
def test_seeking_works_in_a_file_that_a_browser_starts_later(
    browser: Browser, tmp_path: Path
) -> None:
    frames = [np.full((64, 64, 3), 20 + 2 * i, np.uint8) for i in range(100)]
    path = encode(tmp_path / "late.mp4", frames, times=[2.5 + i / 25 for i in range(100)])
    assert next(VideoFile(path).frames()).time_s == 0
    result = build(100, 25.0, [(3.2, 3.8)], video=str(path))
    write_html(result, tmp_path / "a.html", Media.linked(path.name))
    page = browser.new_page()
    page.goto((tmp_path / "a.html").as_uri())
    until(page, "document.querySelector('video').readyState >= 2")
    assert current_time(page) == pytest.approx(2.5, abs=0.001)
    page.evaluate("document.querySelector('video').play = () => Promise.resolve()")
    page.click("#events .go")
    start_s = result.events[0].start_s
    assert start_s > 1.5
    assert current_time(page) == pytest.approx(2.5 + start_s - 1, abs=0.001)
    shown = page.get_attribute("#curve", "aria-valuenow")
    assert float(shown or "nan") == pytest.approx(start_s - 1, abs=0.01)
    page.close()
