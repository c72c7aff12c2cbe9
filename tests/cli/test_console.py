"""Progress where standard error is not a terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from rich.progress import Progress

from oddframe.cli import console
from oddframe.cli.console import progress_bar, stage_bars
from tests.backbones.test_onnx import write
from tests.cli.conftest import Answer
from tests.conftest import Image, encode


def test_without_a_terminal_progress_is_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "_LINE_S", 0.01)
    lines = ("known: 25 %, 9 frames/s", "unknown: 7 done", "not begun: getting ready")
    with progress_bar(quiet=False) as update:
        update(0, None, "not begun: cam.mp4")
        update(4, 4, "over")
        update(0, 4, "not shown")
        update(7, None, "unknown")
        update(1, 4, "known: 9 frames/s")
        said = ""
        while not all(f"{line}\n" in said for line in lines):
            time.sleep(0.01)
            said += capsys.readouterr().err
    # "not shown" stands there for the moment before it has a total.
    assert {line.split(":")[0] for line in said.splitlines()} - {"not shown"} == {
        "known",
        "unknown",
        "not begun",
    }


def test_quiet_prints_no_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lines(_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(console, "_LINE_S", 0.01)
    monkeypatch.setattr(console, "_print_progress", lines)
    with progress_bar(quiet=True) as update:
        update(1, 4, "known")
        time.sleep(0.03)
    assert capsys.readouterr().err == ""


def test_a_bar_starts_again_for_the_next_item() -> None:
    with Progress(disable=True) as bar:
        update = stage_bars(bar)

        def shown() -> list[tuple[str, float, float | None, str]]:
            tasks = bar.tasks
            return [(t.description, t.completed, t.total, t.fields["note"]) for t in tasks]

        update(0, None, "scoring: a.mp4")
        assert shown() == [("scoring", 0, None, "getting ready")]
        update(3, 4, "scoring: a.mp4")
        assert shown() == [("scoring", 3, 4, "a.mp4")]
        update(0, None, "scoring: a.mp4")  # Another video of that name.
        update(5, 4, "scoring: a.mp4")
        update(1, 2, "drawing")
        assert shown() == [("scoring", 5, 5, "a.mp4"), ("drawing", 1, 2, "")]


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_an_extraction_prints_progress(
    oddframe: Callable[..., Answer],
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: tuple[str, ...],
) -> None:
    monkeypatch.setattr(console, "_LINE_S", 0.01)
    words = ("--backbone", write(tmp_path, "NCTHW"), "--store", tmp_path / "store", *more)
    answer = oddframe("extract", clip, *words)
    assert answer.code == 0
    assert "1 videos: 0 %, 0 frames/s\n" in answer.err
    assert "1 videos:" not in answer.out


@pytest.fixture
def falls(clip_frames: list[Image], tmp_path: Path) -> Path:
    """A folder as that of UR Fall, with five falls and five others, one of each in a fold."""
    rows, labels = ["path,label"], {}
    for i in range(10):
        name, label = f"v{i}", ("normal", "fall")[i % 2]
        frames = [np.roll(f[::4, ::4], 2 * i, axis=1) for f in (clip_frames * 2)[: 85 + i]]
        encode(tmp_path / f"{name}.mp4", frames)
        rows.append(f"{name}.mp4,{label}")
        odd = [[16, 32]] if label == "fall" else []
        labels[name] = {"frames": len(frames), "anomalous": odd}
    (tmp_path / "videos.csv").write_text("\n".join(rows))
    (tmp_path / "frame_labels.json").write_text(json.dumps(labels))
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ("league", "--benchmark", "ur_fall", "--methods", "normality"),
        ("reproduce", "table3", "--dataset", "ur_fall", "--seeds", 1),
    ],
    ids=lambda words: str(words[0]),
)
def test_trainings_that_extract_first_print_progress(
    oddframe: Callable[..., Answer],
    falls: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[object, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "_LINE_S", 0.01)
    config = {
        "features": {"backbone": str(write(tmp_path, "NCTHW")), "stride": 8},
        "method": {"config": {"hidden": 8, "heads": 2, "head_dim": 4, "depth": 1}},
        "recipe": {"steps": 3, "normal_bags": 2, "abnormal_bags": 2, "segments": 4},
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(config))
    given = ("--data", falls, "--config", tmp_path / "small.yaml", "--device", "cpu")
    answer = oddframe(*words, *given)
    assert answer.code == 0, answer.err
    lines = [line for line in answer.err.splitlines() if line.startswith("features: ")]
    # Also while the first video is not done.
    assert lines[0] == "features: 0 %, v0.mp4"
    first = answer.err.splitlines().index(lines[-1])
    assert "trainings" in "".join(answer.err.splitlines()[first + 1 :])
    assert "features" not in answer.out
