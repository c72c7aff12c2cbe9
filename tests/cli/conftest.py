"""Verbs run as a user runs them: by their words, answered by exit code, output and files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from oddframe.cli.main import main


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
