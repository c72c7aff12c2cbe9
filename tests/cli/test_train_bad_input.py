"""``oddframe train`` on data and disks that are not as they should be.

What else is refused is in ``test_train.py``; a model of another method or of other features in
``--from``, too.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from oddframe.modelfile import load_model
from oddframe.training.run_files import RunFiles
from tests.cli.conftest import LINEAR, Answer

Run = Callable[..., Answer]


@pytest.fixture
def train(oddframe: Run, ready: Path, tmp_path: Path) -> Run:
    """``oddframe train DATA`` with the small configuration, to ``m.safetensors``."""

    def run(data: Path, *words: object) -> Answer:
        out = tmp_path / "m.safetensors"
        return oddframe("train", data, "--config", tmp_path / "small.yaml", "--out", out, *words)

    return run


def rewritten(table: Path, change: Callable[[str, str, str], tuple[str, str, str]]) -> Path:
    """The CSV with every row changed."""
    header, *rows = table.read_text().split()
    changed = [",".join(change(*row.split(","))) for row in rows]
    table.write_text("\n".join([header, *changed]) + "\n")
    return table


def assert_refused(answer: Answer, *parts: str, code: int = 3) -> None:
    assert answer.code == code
    (line,) = answer.err.splitlines()
    for part in parts:
        assert part in line


def test_a_label_spelled_two_ways(train: Run, ready: Path, tmp_path: Path) -> None:
    for i, label in enumerate(("normal", "fight", "Fight")):
        (tmp_path / "clips" / label).mkdir(parents=True)
        shutil.copy(ready.with_name(f"v{i:02}.npy"), tmp_path / "clips" / label)
    assert_refused(train(tmp_path / "clips"), '"Fight"', '"fight"', "spell it one way")
    table = rewritten(ready, lambda p, label, g: (p, "FIGHT" if p == "v20.npy" else label, g))
    assert_refused(train(table), '"fight" on line 14 and "FIGHT" on line 22')


def test_an_empty_folder(train: Run, ready: Path, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    assert_refused(train(tmp_path / "clips"), "no folders and no videos in it; it takes normal/")
    for label in ("normal", "fight"):
        (tmp_path / "clips" / label).mkdir()
    shutil.copy(ready.with_name("v00.npy"), tmp_path / "clips" / "normal")
    assert_refused(train(tmp_path / "clips"), "fight: no videos in it")


def test_one_group_only(train: Run, ready: Path, tmp_path: Path) -> None:
    answer = train(rewritten(ready, lambda path, label, _: (path, label, "yard")))
    assert answer.code == 0
    assert "warning: all videos are of one group, 'yard': nothing can be held out" in answer.err
    assert "too few groups (1)" in answer.err
    model = load_model(tmp_path / "m.safetensors")
    assert (model.metrics, model.card["held_out_groups"]) == ({}, [])


def test_a_video_in_two_groups(train: Run, ready: Path) -> None:
    shutil.copy(ready.with_name("v00.npy"), ready.with_name("copy.npy"))
    with ready.open("a") as file:
        file.write("copy.npy,normal,g07\n")
    answer = train(ready)
    assert answer.code == 0
    assert "copy.npy are the same video in two groups, 'g00' and 'g07'" in answer.err
    with ready.open("a") as file:
        file.write("v00.npy,normal,g08\n")
    assert_refused(train(ready), "v00.npy is on line 2 and again on line 27")


def test_features_that_are_not_finite(train: Run, ready: Path, tmp_path: Path) -> None:
    def spoil(name: str) -> None:
        array = np.load(ready.with_name(name))
        array[1, 2] = np.nan
        np.save(ready.with_name(name), array)

    spoil("v03.npy")
    answer = train(ready)
    assert answer.code == 0
    (line,) = [text for text in answer.err.splitlines() if text.startswith("left out: ")]
    assert "v03.npy: 1 of" in line
    assert "not finite" in line
    assert list(load_model(tmp_path / "m.safetensors").card["left_out"]) == ["v03.npy"]
    (tmp_path / "m.safetensors").unlink()
    for i in range(12, 24):
        spoil(f"v{i}.npy")
    answer = train(ready)
    assert answer.code == 3
    assert "no abnormal videos to train on; 13 could not be read" in answer.err.splitlines()[-1]
    assert not (tmp_path / "m.safetensors").exists()


def test_two_trainings_of_one_file(train: Run, ready: Path, tmp_path: Path) -> None:
    with RunFiles(tmp_path / "m.safetensors").locked():
        answer = train(ready, "--quiet")
    assert_refused(answer, "another training is at work there", "--out", code=1)
    assert train(ready).code == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """``small_disk(kilobytes) -> its folder``, whatever is on it kept; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def of(size: int) -> Path:
        how = f"remount,size={size}k" if folder.is_mount() else f"size={size}k"
        words = ["mount", "-t", "tmpfs", "-o", how, "tmpfs", str(folder)]
        if (
            shutil.which("mount") is None
            or subprocess.run(words, stderr=subprocess.DEVNULL).returncode
        ):
            pytest.skip("no disk can be mounted here")
        return folder

    yield of
    if folder.is_mount():
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("size", [8, 16, 24, 40])
def test_a_disk_that_fills_up(
    oddframe: Run, ready: Path, tmp_path: Path, small_disk: Callable[[int], Path], size: int
) -> None:
    # In the log before there is a checkpoint, in a checkpoint, after it, and in the page.
    (tmp_path / "small.yaml").write_text(LINEAR.replace("steps: 12", "steps: 250"))
    disk = small_disk(size)
    words = ("train", ready, "--config", tmp_path / "small.yaml", "--quiet", "--out")
    answer = oddframe(*words, disk / "m.safetensors")
    assert_refused(answer, str(disk), "no space left on device", "free some space", code=1)
    assert not list(disk.rglob("*.part"))
    for written in disk.rglob("*.safetensors"):
        assert load_file(written), "half a file cannot be read"
    small_disk(4000)
    assert oddframe(*words, disk / "m.safetensors").code == 0
    assert oddframe(*words, tmp_path / "m.safetensors").code == 0
    assert (disk / "m.safetensors").read_bytes() == (tmp_path / "m.safetensors").read_bytes()
    log = (disk / "m.log.jsonl").read_text()
    assert log == (tmp_path / "m.log.jsonl").read_text()
    assert not (disk / "m.training").exists()
