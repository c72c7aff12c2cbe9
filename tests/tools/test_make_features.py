"""Features of the local benchmarks: lists without videos are no failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def test_lists_without_videos_are_left_out(shared_data: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "ucf_crime").symlink_to(shared_data / "ucf_crime")
    command = [sys.executable, ROOT / "tools" / "make_features.py", data, "--store", tmp_path / "s"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "ucf_crime: lists, and none of the 1900 videos: left out" in done.stdout
