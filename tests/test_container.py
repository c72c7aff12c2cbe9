"""The container: what its file copies makes the wheel, and its health check sees ``watch``."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import yaml

from oddframe.cli.watch import _ALIVE

ROOT = Path(__file__).resolve().parent.parent
STEPS = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text()).splitlines()


def arguments(instruction: str) -> list[list[str]]:
    """The words after each of these instructions, without options."""
    found = [shlex.split(line)[1:] for line in STEPS if line.startswith(f"{instruction} ")]
    return [[word for word in words if not word.startswith("--")] for words in found]


def build_wheel(source: Path, out: Path) -> set[str]:
    """The names in the wheel that is built from a folder."""
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    subprocess.run([*words, str(source)], check=True, capture_output=True)
    (wheel,) = out.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.slow
def test_what_it_copies_makes_the_same_wheel(tmp_path: Path) -> None:
    build = tmp_path / "build"
    copies = [words for words in arguments("COPY") if not words[0].startswith("/")]
    assert len(copies) >= 2
    for *sources, target in copies:
        for name in sources:
            source, place = ROOT / name, build / target
            if source.is_dir():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, place, ignore=ignore)
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, place)
    assert build_wheel(build, tmp_path / "own") == build_wheel(ROOT, tmp_path / "all")


def test_it_runs_as_a_user_who_may_write_its_events() -> None:
    (user,), volumes = arguments("USER"), arguments("VOLUME")
    assert user[0].partition(":")[0].isdecimal()  # A number, which any host can check.
    assert any(f"chown {user[0]} {volumes[0][0]}" in line for line in STEPS)
    (command,) = (line for line in STEPS if line.startswith("CMD "))
    assert f'"--out", "{volumes[0][0]}"' in command


def test_compose_mounts_what_the_command_reads() -> None:
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["watch"]
    inside = [volume.split(":")[1] for volume in service["volumes"]]
    (command,) = (line for line in STEPS if line.startswith("CMD "))
    assert all(f'"{path}"' in command for path in inside)
    assert service["read_only"]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="find is a command of POSIX")
def test_its_health_check_sees_a_watch_that_runs(clip: Path, tmp_path: Path) -> None:
    (line,) = (line for line in STEPS if line.startswith("HEALTHCHECK "))
    check = json.loads(line.partition(" CMD ")[2].replace("/events", str(tmp_path)))
    assert subprocess.run(check, capture_output=True).returncode != 0
    words = [sys.executable, "-m", "oddframe", "watch", str(clip), "--as-live", "--out"]
    subprocess.run([*words, str(tmp_path)], check=True, capture_output=True)
    assert (tmp_path / "journal" / _ALIVE).exists()
    assert subprocess.run(check, capture_output=True).returncode == 0
    old = time.time() - 600  # It stands still.
    os.utime(tmp_path / "journal" / _ALIVE, (old, old))
    assert subprocess.run(check, capture_output=True).returncode != 0
