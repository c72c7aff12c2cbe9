"""Words that name no regular file, and numbers beyond all bounds: one line, exit 2 or 3."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Answer

Run = Callable[..., Answer]
LONG = "x" * 300
OUT = ("--out", "out.safetensors")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a named pipe for each kind of file."""
    monkeypatch.chdir(tmp_path)
    for suffix in ("mp4", "safetensors", "npy", "csv", "yaml", "png", "json", "pkl"):
        os.mkfifo(f"pipe.{suffix}")


@pytest.mark.parametrize(
    "words",
    [
        ("score", LONG),
        ("score", "a.mp4", "--model", "pipe.safetensors"),
        ("score", "a.mp4", "--model", LONG),
        ("score", "a.mp4", "--mask", "pipe.png"),
        ("score", "a.mp4", "--mask", LONG),
        ("score", "--features", LONG),
        ("info", "pipe.mp4"),
        ("info", "pipe.npy"),
        ("info", "pipe.safetensors"),
        ("info", LONG),
        ("info", f"{LONG}.npy"),
        ("info", f"{LONG}.safetensors"),
        ("train", "pipe.csv", *OUT),
        ("train", f"{LONG}.csv", *OUT),
        ("train", LONG, *OUT),
        ("train", "pipe.csv", "--config", "pipe.yaml", *OUT),
        ("train", "pipe.csv", "--config", f"{LONG}.yaml", *OUT),
        ("train", "pipe.csv", "--from", "pipe.safetensors", *OUT),
        ("evaluate", "fight", "pipe.csv"),
        ("evaluate", "fight", LONG),
        ("extract", LONG),
        ("extract", "a.mp4", "--backbone", "pipe.yaml"),
        ("extract", "a.mp4", "--backbone", f"{LONG}.yaml"),
        ("extract", "a.mp4", "--backbone", LONG),
        ("extract", "a.mp4", "--tiles", "99x99"),
        ("import", "checkpoint", "pipe.pkl", *OUT),
        ("import", "checkpoint", LONG, *OUT),
        ("data", "info", "pipe.csv"),
        ("data", "info", LONG),
        ("data", "check", "pipe.csv"),
        ("data", "check", f"ucf_crime:{LONG}"),
        ("report", "show", "pipe.json"),
        ("report", "show", LONG),
        ("features", "diff", LONG, LONG),
        ("calibrate", "fight", LONG, "--false-alarms-per-hour", "1", *OUT),
        ("train", "pipe.csv", "--budget", "9" * 400 + "h", *OUT),
    ],
    ids=lambda words: " ".join(words).replace(LONG, "LONG")[:60],
)
def test_what_is_no_file(oddframe: Run, words: tuple[str, ...]) -> None:
    answer = oddframe(*words)
    assert answer.code in (2, 3)
    (line,) = answer.err.splitlines()
    assert "a fault in oddframe" not in line


@pytest.mark.parametrize(
    "words",
    [
        ("extract", "a.mp4", "--memory", "inf"),
        ("extract", "a.mp4", "--patience", "inf"),
        ("extract", "a.mp4", "--rate", "1e300"),
        ("extract", "a.mp4", "--stride", str(10**12)),
        ("extract", "a.mp4", "--jpeg-quality", str(10**12)),
        ("score", "a.mp4", "--fps", "inf"),
        ("score", "a.mp4", "--threshold", "nan"),
        ("score", "a.mp4", "--jobs", str(10**9)),
        ("calibrate", "fight", "a.mp4", "--false-alarms-per-hour", "inf", *OUT),
        ("train", "pipe.csv", "--seed", str(10**30)),
        ("train", "pipe.csv", "--seeds", str(10**9)),
    ],
    ids=" ".join,
)
def test_a_number_beyond_all_bounds(oddframe: Run, words: tuple[str, ...]) -> None:
    answer = oddframe(*words)
    assert answer.code == 2
    assert "Invalid value" in answer.err
