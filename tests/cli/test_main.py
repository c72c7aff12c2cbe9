"""The program: its help, its exit codes, and what every verb has in common."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import oddframe as package
from tests.cli.conftest import Answer

Run = Callable[..., Answer]
VERBS = ("score", "demo", "train", "calibrate", "evaluate", "reproduce", "data", "import", "report")
VERBS += ("info", "methods", "doctor")
HEAVY = ("torch", "cv2", "av", "openvino", "numpy", "matplotlib", "pydantic", "safetensors")


def test_version(oddframe: Run) -> None:
    assert oddframe("--version").out == f"oddframe {package.__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_shows_an_example(oddframe: Run, verb: str) -> None:
    answer = oddframe(verb, "--help")
    assert answer.code == 0
    assert f"Example: oddframe {verb}" in answer.out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['oddframe', '--help']\n"
        "from oddframe.cli.main import run_command_line\n"
        "try: run_command_line()\n"
        "except SystemExit: pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(verb in done.stdout for verb in VERBS)


def test_a_bug_is_reported_on_one_line(
    oddframe: Run, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("oddframe.scoring.find_recordings", broken)
    answer = oddframe("score", clip)
    assert answer.code == 1
    (line,) = answer.err.splitlines()
    assert "RuntimeError: boom" in line


def test_ctrl_c_exits_with_130(oddframe: Run, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("oddframe.scoring.find_recordings", stopped)
    answer = oddframe("score", clip)
    assert answer.code == 130
    assert "stopped" in answer.err


def test_without_a_verb_the_help_is_shown(oddframe: Run) -> None:
    answer = oddframe()
    assert answer.code == 2
    assert "score" in answer.out + answer.err
