"""What is said of work that goes on, where there is no terminal to draw a bar on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from oddframe.cli import console
from oddframe.cli.console import follow, progress_bar
from tests.backbones.test_onnx_file import write
from tests.cli.conftest import Answer


def test_without_a_terminal_lines_say_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "_LINE_S", 0.01)
    lines = ("known: 25 %, 9 frames/s", "unknown: 7 done")
    with progress_bar(quiet=False) as bar:
        over, known = follow(bar, "over"), follow(bar, "known")
        unknown, _ = follow(bar, "unknown"), follow(bar, "not begun")
        over(4, 4)
        known(1, 4)
        unknown(7, None)
        bar.update(bar.task_ids[1], note="9 frames/s")
        said = ""
        while not all(f"{line}\n" in said for line in lines):
            time.sleep(0.01)
            said += capsys.readouterr().err
    assert {line.split(":")[0] for line in said.splitlines()} == {"known", "unknown"}


def test_quiet_is_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lines(_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(console, "_lines", lines)
    with progress_bar(quiet=True) as bar:
        follow(bar, "known")(1, 4)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_an_extraction_is_not_silent_until_it_is_done(
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
