"""``oddframe demo``."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from oddframe.cli.demo import DEMO_DATA
from oddframe.modelfile import load_model
from oddframe.outputs.encode import LabelledClip, join_clips
from oddframe.video.decoding.isolated import open_source
from oddframe.video.decoding.probe import probe
from tests.cli.conftest import Answer


def demo_rows() -> list[dict[str, str]]:
    with (DEMO_DATA / "clips.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_joined_clips_keep_their_frames_and_times(
    clip: Path, normal_clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "joined.mp4"
    clips = [
        LabelledClip(normal_clip, False),
        LabelledClip(clip, True),
        LabelledClip(clip, True),
        LabelledClip(normal_clip, False),
    ]
    (span,) = join_clips(clips, out, (320, 240))
    assert span == (pytest.approx(60 / 29.97, abs=0.01), pytest.approx(60 / 29.97 + 4, abs=0.01))
    assert (probe(out).width, probe(out).height) == (320, 240)
    times = [frame.time_s for frame in open_source(out).frames()]
    assert len(times) == 60 + 50 + 50 + 60
    assert times[60] == pytest.approx(span[0], abs=0.001)


def test_the_demo_shows_recordings_that_were_not_trained_on() -> None:
    recordings = {row["recording"] for row in demo_rows()}
    assert recordings <= set(load_model("fight").card["left_out_groups"])
    assert all((DEMO_DATA / row["clip"]).is_file() for row in demo_rows())


@pytest.mark.slow
def test_the_demo_finds_the_fights(oddframe: Callable[..., Answer], tmp_path: Path) -> None:
    answer = oddframe("demo", "--out", tmp_path)
    assert answer.code == 0
    assert "1 of 2 found, 0 false alarms" in answer.out
    for name in ("video.mp4", "report.html", "curve.png", "annotated.mp4", "scores.json"):
        assert (tmp_path / name).stat().st_size > 100, name
    assert (tmp_path / "events.vtt").read_text().count("-->") == 1
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["duration_s"] >= 40
    assert len(scores["truth"]) == 2
    assert 'src="http' not in (tmp_path / "report.html").read_text()
