"""``oddframe train`` on real clips: features kept, one model file, usable at once."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from oddframe.cli.demo import DATA
from tests.cli.conftest import Answer

Run = Callable[..., Answer]

SMALL = """
features: {resize: [64, 48], crop_size: [64, 48], crops: [full], stride: 16, rate: 25}
method: {name: ur_dmu, config: {hidden: 32, heads: 2, head_dim: 16}}
recipe: {steps: 20, normal_bags: 4, abnormal_bags: 4, segments: 8, lr: 1.0e-3}
bags: {mode: joined, clips: [3, 4], abnormal: [1, 2]}
"""


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder as a user makes it: normal/ and fight/, recordings as subfolders."""
    with (DATA / "clips.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            folder = tmp_path / "clips" / row["label"] / row["recording"]
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(DATA / row["clip"], folder)
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path / "clips"


@pytest.mark.slow
def test_a_folder_becomes_a_model_that_scores(
    oddframe: Run, clips: Path, clip: Path, tmp_path: Path
) -> None:
    words = ("train", clips, "--config", tmp_path / "small.yaml", "--store", tmp_path / "store")
    first = oddframe(*words, "--out", tmp_path / "one.safetensors", "--json")
    assert first.code == 0, first.err
    assert json.loads(first.out)["knows"] == "fight"
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "store").rglob("*.safetensors")}
    assert len(kept) == 20
    second = oddframe(*words, "--out", tmp_path / "two.safetensors")
    assert second.code == 0
    assert {p: p.stat().st_mtime_ns for p in kept} == kept, "features were made again"
    one, two = (tmp_path / f"{name}.safetensors" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes(), "the same seed gives the same model"
    scored = oddframe("score", clip, "--model", one, "--json")
    assert scored.code == 0
    assert len(json.loads(scored.out)["videos"][0]["snippet_scores"]) == 4


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("path,label\nnone.mp4,normal\nnone2.mp4,fight\n", "none.mp4"),
        ("path,label\na.mp4,normal\na.mp4,fight\n", "a.mp4"),
        ("path,label\na.mp4,Normal\nb.mp4,normal\n", "Normal"),
        ("file,label\na.mp4,normal\n", "path"),
        ("", "csv"),
    ],
)
def test_a_bad_list_gets_one_line(
    oddframe: Run, tmp_path: Path, clip: Path, rows: str, reason: str
) -> None:
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(clip, tmp_path / name)
    (tmp_path / "list.csv").write_text(rows)
    answer = oddframe("train", tmp_path / "list.csv", "--out", tmp_path / "model.safetensors")
    assert answer.code in (2, 3)
    (line,) = answer.err.splitlines()
    assert reason in line
    assert not (tmp_path / "model.safetensors").exists()


def test_a_slip_in_the_configuration_is_named(oddframe: Run, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "slip.yaml").write_text("recipe: {stesp: 20}\n")
    answer = oddframe("train", clips, "--config", tmp_path / "slip.yaml")
    assert answer.code == 2
    assert "steps" in answer.err
