"""Events as WebVTT cues."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from oddframe.detector import VideoResult
from oddframe.outputs.score_files import write_vtt
from oddframe.timeline import Event

MakeResult = Callable[..., VideoResult]

STAMP = r"(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})"


def cues_of(path: Path) -> list[tuple[float, float, str]]:
    """Read a WebVTT file as the standard says: a header, blocks between empty lines."""
    header, *blocks = path.read_text(encoding="utf-8").strip().split("\n\n")
    assert header == "WEBVTT"
    cues = []
    for block in blocks:
        if block.startswith("NOTE"):
            continue
        _, timing, *text = block.split("\n")
        found = re.fullmatch(f"{STAMP} --> {STAMP}", timing)
        assert found is not None
        h1, m1, s1, f1, h2, m2, s2, f2 = map(int, found.groups())
        start = h1 * 3600 + m1 * 60 + s1 + f1 / 1000
        end = h2 * 3600 + m2 * 60 + s2 + f2 / 1000
        assert end > start
        cues.append((start, end, "\n".join(text)))
    return cues


def test_each_event_is_a_cue(make_result: MakeResult, tmp_path: Path) -> None:
    events = (Event(1.28, 3.2, 2.0, 0.934), Event(36_000.0, 36_010.9996, 36_003.0, 1.0))
    write_vtt(replace(make_result(), events=events), tmp_path / "a.vtt")
    assert cues_of(tmp_path / "a.vtt") == [
        (1.28, 3.2, "Event 1, score 0.93"),
        (36_000.0, 36_011.0, "Event 2, score 1.00"),
    ]


def test_an_event_without_length_is_a_valid_cue(make_result: MakeResult, tmp_path: Path) -> None:
    write_vtt(replace(make_result(), events=(Event(1.0, 1.0001, 1.0, 0.9),)), tmp_path / "a.vtt")
    assert len(cues_of(tmp_path / "a.vtt")) == 1


def test_without_events_there_is_a_note(make_result: MakeResult, tmp_path: Path) -> None:
    write_vtt(make_result(), tmp_path / "a.vtt")
    assert cues_of(tmp_path / "a.vtt") == []
    assert "No events found" in (tmp_path / "a.vtt").read_text()
