"""Verbs run as a user runs them: by their words, answered by exit code, output and files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from oddframe.cli.main import main
from tests.training.ready import ready_made

LINEAR = """
method: {name: linear}
recipe: {steps: 12, normal_bags: 4, abnormal_bags: 4, segments: 8, lr: 1.0e-3}
search: {lr: [1, 3], steps: [1], folds: 2}
"""


@dataclass(frozen=True)
class Answer:
    """What a verb left: its exit code and what it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture
def oddframe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """``oddframe("score", path)`` -> what the command line would do, in this process."""

    def run(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["oddframe", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        written = capsys.readouterr()
        return Answer(int(end.value.code or 0), written.out, written.err)

    return run


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """A CSV of ready-made features and a small configuration beside it."""
    data = ready_made(tmp_path / "data")
    rows = [f"{v.path.name},{v.label},{v.group}" for v in data.videos]
    (tmp_path / "data" / "list.csv").write_text("\n".join(["path,label,group", *rows]) + "\n")
    (tmp_path / "small.yaml").write_text(LINEAR)
    return tmp_path / "data" / "list.csv"
