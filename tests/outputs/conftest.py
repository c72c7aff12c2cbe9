"""Results to write, and a real browser to look at them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from oddframe.detector import ModelInfo, VideoResult
from oddframe.events import EventRule, find_events
from oddframe.timeline import ScoreTrack, Timebase

if TYPE_CHECKING:
    from playwright.sync_api import Browser

INFO = ModelInfo(
    name="fight",
    sha256="5e" * 32,
    method="ur_dmu",
    detects="fights",
    backbone="i3d 224x224",
    profile="best",
    engine="openvino float32",
    version="0.1.0",
)
Spans = Sequence[tuple[float, float]]


def build(
    n_frames: int = 50,
    fps: float = 25.0,
    odd: Spans = (),
    *,
    video: str = "cam3.mp4",
    truth: Spans | None = None,
    rule: EventRule | None = None,
    **timebase: Any,
) -> VideoResult:
    """A result whose snippets score about 0.9 where their middle is in ``odd``, else about 0.1."""
    base = Timebase(fps, n_frames, **timebase)
    middle = base.snippet_times().mean(axis=1)
    scores = 0.1 + 0.05 * np.sin(np.arange(len(middle)))
    for start, end in odd:
        scores[(middle >= start) & (middle < end)] += 0.8
    track = ScoreTrack(scores, base)
    rule = rule or EventRule(merge_gap_s=0.1)
    truth = None if truth is None else tuple(truth)
    return VideoResult(video, track, find_events(track, rule), rule, INFO, 2, truth, "ab12")


@pytest.fixture
def make_result() -> Callable[..., VideoResult]:
    """``make_result(n_frames, fps, odd, video=..., truth=..., rule=..., **timebase)``."""
    return build


def find_browser() -> str | None:
    """Path of a Chromium or Chrome on this machine."""
    names = (os.environ.get("ODDFRAME_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if name and (path := shutil.which(name))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless browser without traffic of its own; tests are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    executable = find_browser()
    if executable is None and os.environ.get("ODDFRAME_REQUIRE_BROWSER"):
        pytest.fail("no Chromium or Chrome here, and ODDFRAME_REQUIRE_BROWSER is set")
    if executable is None:
        pytest.skip("no Chromium or Chrome here (set ODDFRAME_CHROMIUM to its executable)")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
        "--disable-background-networking --disable-component-update --disable-sync"
    )
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=executable, args=flags.split())
        yield opened
        opened.close()
