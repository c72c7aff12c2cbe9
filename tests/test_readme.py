"""The README is true: its commands and its Python run as written, its links lead somewhere."""

from __future__ import annotations

import csv
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from oddframe.cli.demo import DATA
from oddframe.video.source import open_source

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    lines = [line[2:] for block in blocks("console") for line in block.splitlines()]
    return [line for line in lines if line.startswith("oddframe ")]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the README's commands speak of."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copy(ROOT / "tests/data/fi150.mp4", folder / "cam3.mp4")
    (folder / "recordings").mkdir()
    shutil.copy(ROOT / "tests/data/nofi079.mp4", folder / "recordings/monday.mp4")
    (folder / "frames").mkdir()
    for i, frame in enumerate(open_source(folder / "cam3.mp4").frames((176, 120))):
        cv2.imwrite(str(folder / f"frames/{i:03d}.jpg"), frame.image[:, :, ::-1])
    cv2.imwrite(str(folder / "zones.png"), np.full((24, 32), 255, np.uint8))
    with (DATA / "clips.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            place = folder / "clips" / row["label"] / row["recording"]
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(DATA / row["clip"], place)
    shutil.copytree(folder / "clips/normal", folder / "normal_days/normal")
    for name, label in {"fi150": "fight", "nofi079": "normal"}.items():
        (folder / "held_out" / label).mkdir(parents=True)
        shutil.copy(ROOT / f"tests/data/{name}.mp4", folder / "held_out" / label)
    (folder / "quiet_day").mkdir()
    shutil.copy(ROOT / "tests/data/nofi079.mp4", folder / "quiet_day")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_commands_run_as_written(desk: Path) -> None:
    program = Path(sys.executable).parent / "oddframe"
    assert len(commands()) >= 14
    for command in commands():
        words = [str(program), *shlex.split(command, comments=True)[1:]]
        done = subprocess.run(words, cwd=desk, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert done.stdout, command
    assert (desk / "results/monday.html").is_file()
    for name in ("my_model", "tuned", "unusual", "cam3"):
        assert (desk / f"{name}.safetensors").is_file()
    assert (desk / "study/study.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_the_python_runs_as_written(number: int, desk: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", blocks("python")[number]],
        cwd=desk, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_make_targets_that_the_readme_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:\$ |`)make ([a-z]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
