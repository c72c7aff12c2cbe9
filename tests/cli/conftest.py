"""Verbs run as a user runs them: by their words, answered by exit code, output and files."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command

from oddframe.cli.demo import DEMO_DATA
from oddframe.cli.main import app, run_command_line
from tests.training.precomputed import ready_made

LINEAR = """
method: {name: linear}
recipe: {steps: 12, normal_bags: 4, abnormal_bags: 4, segments: 8, lr: 1.0e-3}
search: {lr: [1, 3], steps: [1], folds: 2}
"""
_LENGTH = 24
FOUR_CLIPS = ("fi026.mp4", "fi130.mp4", "nofi057.mp4", "nofi095.mp4")


@dataclass(frozen=True)
class Answer:
    """What a verb left: its exit code and what it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True, scope="package")
def prepared_once() -> Iterator[None]:
    """Compile I3D, and build the parser of all verbs, once and not for each test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("oddframe.backbones.registry._LOADED", {})
        patch.setattr("oddframe.cli.main.app", get_command(app))
        yield


@pytest.fixture
def oddframe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """``oddframe("score", path)`` -> what the command line would do, in this process."""

    def run(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["oddframe", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "250")  # Help texts are not wrapped then.
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            run_command_line()
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


@pytest.fixture
def tracks(tmp_path: Path) -> Path:
    """A folder as that of ShanghaiTech's tracks: six videos to train on, four to test on.

    Each camera has a normal one and an abnormal one.
    """
    rng, root = np.random.default_rng(0), tmp_path / "tracks"
    (root / "features").mkdir(parents=True)
    rows, lists, labels = [], {"train": [], "test": []}, {}
    for number in range(10):
        name, abnormal = f"{number // 2 + 1:02d}_{number:03d}", number % 2 == 1
        part = "train" if number < 6 else "test"
        array = rng.normal(size=(_LENGTH, 128)).astype(np.float32)
        if abnormal:
            array[5:12, :4] += 3
        np.save(root / "features" / f"{name}.npy", array)
        label = "abnormal" if abnormal else "normal"
        rows.append({"video": name, "split": part, "label": label, "frames": 16 * _LENGTH})
        lists[part].append(f"features/{name}.npy")
        if part == "test":
            labels[name] = {"frames": 16 * _LENGTH, "anomalous": [[80, 192]] if abnormal else []}
    for part, names in lists.items():
        (root / f"{part}.list").write_text("\n".join(names))
    (root / "test_frame_labels.json").write_text(json.dumps(labels))
    with (root / "videos.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return root


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of the clips, made once."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two fights, of one of which it is known when, and two normal clips, of two cameras."""
    with (tmp_path / "four.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "group", "events"])
        for i, name in enumerate(FOUR_CLIPS):
            shutil.copy(DEMO_DATA / name, tmp_path)
            label = "fight" if name.startswith("fi") else "normal"
            table.writerow([name, label, f"cam{i % 2}", "0.2-1.9" if i == 0 else ""])
    return tmp_path / "four.csv"
