"""Scoring needs no PyTorch, and what needs it says how to install it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# As if it were not installed.
BLOCK = "import sys; sys.modules['torch'] = None\n"


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", BLOCK + code]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def test_videos_are_scored_without_pytorch(clip: Path, tmp_path: Path) -> None:
    code = f"""
import numpy as np, oddframe
from oddframe.errors import has_torch
assert not has_torch()
detector = oddframe.Detector.load("fight")
done = oddframe.score([{str(clip)!r}], out="out", formats=["json", "html", "png"])
assert not done.failed
track = detector.score({str(clip)!r})
stream = detector.stream(fps=25)
updates = []
for number in range(40):
    updates += stream.push(np.full((48, 64, 3), number, np.uint8))
assert {{"score"}} == {{update.kind for update in [*updates, *stream.finish()]}}
print(*track.scores)
"""
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(0 <= float(score) <= 1 for score in done.stdout.split())
    assert len(list((tmp_path / "out").iterdir())) >= 3


@pytest.mark.parametrize(
    ("words", "code"),
    [(["info", "fight_urdmu"], 0), (["doctor"], 0), (["train", "clips"], 2), (["methods"], 2)],
)
def test_commands_without_pytorch(words: list[str], code: int, tmp_path: Path) -> None:
    done = run(f"sys.argv[1:] = {words}\nfrom oddframe.__main__ import main; main()", tmp_path)
    assert done.returncode == code, done.stderr
    if code:
        assert done.stderr.count("\n") == 1
        assert "needs PyTorch: pip install 'oddframe[train]'" in done.stderr
