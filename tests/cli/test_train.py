"""``oddframe train`` on real clips: features kept, one model file, usable at once."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from oddframe.cli.demo import DEMO_DATA
from oddframe.modelfile import load_model
from oddframe.training.config import read_config
from oddframe.training.configure import find_config, shipped_configs
from tests.cli.conftest import LINEAR, Answer

Run = Callable[..., Answer]

SMALL = """
features: {resize: [64, 48], crop_size: [64, 48], crops: [full], stride: 16, rate: 25}
method: {name: ur_dmu, config: {hidden: 32, heads: 2, head_dim: 16}}
recipe: {steps: 20, normal_bags: 4, abnormal_bags: 4, segments: 8, lr: 1.0e-3}
bags: {mode: joined, clips: [3, 4], abnormal: [1, 2]}
"""
TWO_HALVES = """
features: {resize: [64, 48], crop_size: [64, 48], crops: [full], stride: 16}
calibration: {share: 0.5}
"""


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder as a user makes it: normal/ and fight/, recordings as subfolders."""
    with (DEMO_DATA / "clips.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            folder = tmp_path / "clips" / row["label"] / row["recording"]
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(DEMO_DATA / row["clip"], folder)
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
def test_a_bad_list_is_one_error(
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


def test_an_unknown_key_of_the_configuration_is_named(
    oddframe: Run, clips: Path, tmp_path: Path
) -> None:
    (tmp_path / "slip.yaml").write_text("recipe: {stesp: 20}\n")
    answer = oddframe("train", clips, "--config", tmp_path / "slip.yaml")
    assert answer.code == 2
    assert "steps" in answer.err


def test_without_groups_videos_of_one_scene_are_held_out_together(
    oddframe: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {"normal": ["nofi057", "nofi093", "nofi094", "nofi095"], "fight": ["fi026", "fi128"]}
    for label, names in chosen.items():
        (tmp_path / "clips" / label).mkdir(parents=True)
        for name in names:
            shutil.copy(DEMO_DATA / f"{name}.mp4", tmp_path / "clips" / label)
    (tmp_path / "small.yaml").write_text(LINEAR + TWO_HALVES)
    words = ("train", tmp_path / "clips", "--config", tmp_path / "small.yaml")
    words = (*words, "--store", tmp_path / "store", "--out", tmp_path / "m.safetensors")
    answer = oddframe(*words)
    assert answer.code == 0, answer.err
    assert "no group is given for 6 videos: by their backgrounds they show 2 places" in answer.err
    card = load_model(tmp_path / "m.safetensors").card
    yard = {"fight/fi026.mp4", "normal/nofi057.mp4"}
    everything = {f"{label}/{name}.mp4" for label in chosen for name in chosen[label]}
    held_out = set(card["held_out_own_groups"])
    assert held_out in (yard, everything - yard)
    measured = oddframe("evaluate", tmp_path / "m.safetensors", tmp_path / "clips", *words[4:6])
    seen = len(everything - held_out)
    assert f"this model has learned from {seen} of 6 videos, or from others" in measured.err
    assert "they show 2 places" in (tmp_path / "m.report.html").read_text()

    def decoded(*_: object) -> None:
        raise AssertionError("a video was decoded again")

    monkeypatch.setattr("oddframe.datasets.scene_grouping.sample_pictures", decoded)
    assert "they show 2 places" in oddframe(*words).err


def test_a_model_file_carries_training_clips_and_pictures_where_asked(
    oddframe: Run, tmp_path: Path
) -> None:
    for label, names in {"normal": ["nofi057", "nofi093"], "fight": ["fi026", "fi128"]}.items():
        (tmp_path / "clips" / label).mkdir(parents=True)
        for name in names:
            shutil.copy(DEMO_DATA / f"{name}.mp4", tmp_path / "clips" / label)
    (tmp_path / "small.yaml").write_text(LINEAR + TWO_HALVES)
    mask = np.full((9, 16), 255, np.uint8)
    mask[:, :8] = 0
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    words = ("train", tmp_path / "clips", "--config", tmp_path / "small.yaml", "--mask")
    words = (*words, tmp_path / "mask.png", "--store", tmp_path / "store", "--out")
    banks = {}
    for name, more in {"bare": [], "shown": ["--pictures"]}.items():
        path = tmp_path / f"{name}.safetensors"
        answer = oddframe(*words, path, *more)
        assert answer.code == 0, answer.err
        model = load_model(path)
        assert model.prototypes is not None
        banks[name] = model.prototypes.prototypes
        held_out = set(model.card["held_out_own_groups"])
        assert not {each.video for each in banks[name]} & held_out
        assert {each.abnormal for each in banks[name]} == {True, False}
    assert [each.picture for each in banks["bare"]] == [b""] * len(banks["bare"])
    assert [(p.video, p.time_s) for p in banks["bare"]] == [
        (p.video, p.time_s) for p in banks["shown"]
    ]
    for each in banks["shown"]:  # Ignored parts of the picture are grey there, too.
        image = cv2.imdecode(np.frombuffer(each.picture, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert np.abs(image[:, : image.shape[1] // 2 - 4].astype(int) - 128).max() < 12
        assert image[:, image.shape[1] // 2 + 4 :].std() > 12


def test_seeds_and_a_search_give_one_model_and_one_report(
    oddframe: Run, ready: Path, tmp_path: Path
) -> None:
    out = tmp_path / "m.safetensors"
    words = ("--config", tmp_path / "small.yaml", "--budget", "10m", "--seeds", 2, "--seed", 7)
    answer = oddframe("train", ready, *words, "--out", out, "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert told["chosen"]["steps"] == 12
    assert [run["seed"] for run in told["seeds"]["runs"]] == [7, 8]
    assert "chosen: learning rate" in answer.err
    page = Path(told["report"]).read_text()
    for part in ("What was tried", "By seed", "mean ± deviation", "held out"):
        assert part in page
    assert not {"http://", "https://"} & set(page.split('"'))
    left = {path.name for path in tmp_path.glob("m.*")}
    logs = {f"m.seed-{seed}.log.jsonl" for seed in (7, 8)}
    assert left == {"m.safetensors", "m.report.html", *logs}


def test_figures_are_printed_in_words_without_json(
    oddframe: Run, ready: Path, tmp_path: Path
) -> None:
    config, out = tmp_path / "small.yaml", tmp_path / "m.safetensors"
    answer = oddframe("train", ready, "--config", config, "--seeds", 2, "--out", out)
    assert answer.code == 0, answer.err
    assert "groups that it was not trained on" in answer.out
    assert "abnormal videos caught" in answer.out
    assert "over 2 seeds" in answer.out
    assert f"oddframe score VIDEO --model {out}" in answer.out


def test_the_default_method_of_train(oddframe: Run, ready: Path, tmp_path: Path) -> None:
    (tmp_path / "short.yaml").write_text("recipe: {steps: 5}\n")
    words = ("train", ready, "--config", tmp_path / "short.yaml", "--quiet", "--out")
    assert oddframe(*words, tmp_path / "own.safetensors").code == 0
    assert load_model(tmp_path / "own.safetensors").method == "oddframe"
    assert oddframe(*words, tmp_path / "other.safetensors", "--method", "linear").code == 0
    assert load_model(tmp_path / "other.safetensors").method == "linear"
    help_text = " ".join(oddframe("train", "--help").out.replace("│", " ").split())
    assert "Without any of them: oddframe." in help_text


def test_training_starts_from_a_model_that_fits_and_refuses_others(
    oddframe: Run, ready: Path, tmp_path: Path
) -> None:
    words = ("train", ready, "--config", tmp_path / "small.yaml", "--out")
    assert oddframe(*words, tmp_path / "one.safetensors", "--quiet").code == 0
    start = ("--from", tmp_path / "one.safetensors")
    assert oddframe(*words, tmp_path / "two.safetensors", *start, "--quiet").code == 0
    refused = oddframe(*words, tmp_path / "three.safetensors", "--from", "fight_urdmu", "--quiet")
    assert refused.code == 2
    (line,) = refused.err.splitlines()
    assert "'fight_urdmu'" in line
    assert "method: ur_dmu, not linear" in line
    assert not (tmp_path / "three.safetensors").exists()


def test_normal_videos_alone_train_a_one_class_model(
    oddframe: Run, tmp_path: Path, ready: Path
) -> None:
    folder = tmp_path / "clips" / "normal"
    folder.mkdir(parents=True)
    for path in sorted(ready.parent.glob("*.npy"))[:12]:
        shutil.copy(path, folder)
    answer = oddframe("train", tmp_path / "clips", "--out", tmp_path / "m.safetensors")
    assert answer.code == 0, answer.err
    assert "only normal videos to learn from" in answer.err
    assert "Warning" not in answer.err
    assert "finds what is unusual" in answer.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--budget", "10"), "10m, 1h"),
        (("--tiles", "2"), "2x3"),
        (("--method", "urdm"), "ur_dmu"),
        (("--from", "none.safetensors"), "no such model file"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_starts(
    oddframe: Run, ready: Path, tmp_path: Path, words: tuple[str, str], said: str
) -> None:
    answer = oddframe("train", ready, *words, "--out", tmp_path / "m.safetensors")
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert said in line


def test_a_shipped_configuration_is_found_by_its_name_from_anywhere(
    oddframe: Run, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fight").mkdir()  # A folder of that name is no configuration.
    answer = oddframe("train", ready, "--config", "figth", "--out", "m.safetensors")
    assert answer.code == 2
    assert answer.err.strip().endswith("did you mean fight?")
    assert "urdmu_published_xd" in answer.err
    names = shipped_configs()
    assert set(names) >= {"default", "fight", "ped2", "urdmu_published"}
    assert all(find_config(name) == path for name, path in names.items())
    (tmp_path / "ped2").write_text("recipe: {steps: 3}\n")
    assert find_config("ped2") == Path("ped2"), "a file goes first"
    assert read_config(find_config("fight")).detects == "fights"
    assert "did you mean fight?" in oddframe("train", ready, "--config", "configs/fight.yaml").err
