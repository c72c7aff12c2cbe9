"""``oddframe evaluate`` and ``oddframe calibrate`` on real clips, as a user runs them."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oddframe.cameras import with_thresholds
from oddframe.cli.demo import DEMO_DATA
from oddframe.features.store.store import content_hash
from oddframe.modelfile import find_model, load_model, save_model, short_digest
from tests.cli.conftest import Answer
from tests.conftest import Image, encode

Run = Callable[..., Answer]
CLIPS = ("fi026.mp4", "fi130.mp4", "nofi057.mp4", "nofi095.mp4")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of the clips, made once."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two fights, of one of which it is known when, and two normal clips, of two cameras."""
    with (tmp_path / "four.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "group", "events"])
        for i, name in enumerate(CLIPS):
            shutil.copy(DEMO_DATA / name, tmp_path)
            label = "fight" if name.startswith("fi") else "normal"
            table.writerow([name, label, f"cam{i % 2}", "0.2-1.9" if i == 0 else ""])
    return tmp_path / "four.csv"


def test_figures_page_and_tables(oddframe: Run, data: Path, store: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    words = ("evaluate", "fight", data, "--store", store, "--out", out)
    answer = oddframe(*words, "--jobs", 2)
    assert answer.code == 0
    assert "of 2 abnormal videos caught" in answer.out
    assert "frame AUC" in answer.out
    found = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert (found["all"]["videos"], found["all"]["abnormal"]) == (4, 2)
    assert sum(found["all"]["confusion"].values()) == 4
    events = found["all"]["events"]
    assert events["found"] + events["missed"] == 1
    assert set(found["groups"]) == {"cam0", "cam1"}
    assert [Path(video["video"]).name for video in found["videos"]] == list(CLIPS)
    assert found["files"] == {
        name: hashlib.sha256((out / name).read_bytes()).hexdigest()
        for name in ("evaluation.md", "study.html")
    }
    assert "## By group" in (out / "evaluation.md").read_text(encoding="utf-8")
    page = (out / "study.html").read_text(encoding="utf-8")
    assert page.count('<img src="data:image/jpeg') == 4

    again = oddframe(*words[:-2], "--json", "--protocol", "official", "--threshold", 0.05)
    other = json.loads(again.out)
    assert other["protocol"] == "official"
    assert other["all"]["confusion"]["missed"] <= found["all"]["confusion"]["missed"]
    assert other["all"]["frames"]["n_frames"] % 16 == 0
    assert [v["score"] for v in other["videos"]] == [v["score"] for v in found["videos"]]


def test_a_video_that_cannot_be_read_is_left_out(
    oddframe: Run, data: Path, store: Path, tmp_path: Path
) -> None:
    (tmp_path / CLIPS[3]).write_bytes(b"no video")
    answer = oddframe("evaluate", "fight", data, "--store", store, "--markdown")
    assert answer.code == 3
    assert f"left out: {tmp_path / CLIPS[3]}" in answer.err
    assert "> 1 of 4 videos could not be scored." in answer.out


def test_videos_that_were_trained_on_are_reported(
    oddframe: Run, data: Path, store: Path, tmp_path: Path
) -> None:
    """By their contents, and with them the others of their groups."""
    own = tmp_path / "own.safetensors"
    learned = [short_digest(content_hash(data.with_name(CLIPS[0])))]
    save_model(replace(load_model("fight"), card={"data": "other", "learned_from": learned}), own)
    answer = oddframe("evaluate", own, data, "--store", store)
    assert answer.code == 0
    assert "this model has learned from 2 of 4 videos, or from others of their groups" in answer.err
    assert "learned from" not in oddframe("evaluate", "fight", data, "--store", store).err


def test_names_of_folders_and_groups_are_no_evidence_of_training(
    oddframe: Run, store: Path, tmp_path: Path
) -> None:
    """The shipped model's data was called ``clips``, too; one video of two is really of it."""
    assert load_model("fight").card["data"] == "clips"
    for name in CLIPS:
        folder = tmp_path / "clips" / ("fight" if name.startswith("fi") else "normal")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(DEMO_DATA / name, folder)
    answer = oddframe("evaluate", "fight", tmp_path / "clips", "--store", store)
    assert answer.code == 0
    assert "learned from" not in answer.err
    own = tmp_path / "own.safetensors"
    model = load_model("fight")
    learned = [short_digest(content_hash(DEMO_DATA / CLIPS[0]))]
    save_model(replace(model, card={**model.card, "learned_from": learned}), own)
    answer = oddframe("evaluate", own, tmp_path / "clips", "--store", store)
    assert "this model has learned from 1 of 4 videos" in answer.err


def test_calibration_leaves_a_video_out_that_cannot_be_read(
    oddframe: Run, data: Path, store: Path, tmp_path: Path
) -> None:
    broken, out = tmp_path / CLIPS[3], tmp_path / "mine.safetensors"
    broken.write_bytes(b"no video")
    words = ("calibrate", "fight", data.with_name(CLIPS[2]), broken, "--store", store)
    answer = oddframe(*words, "--out", out, "--false-alarms-per-hour", 2)
    assert answer.code == 3
    assert f"left out: {broken}" in answer.err
    assert load_model(out).card["calibration_best"]["videos"] == 1


def test_a_calibrated_model_has_no_false_alarms_on_its_videos(
    oddframe: Run, data: Path, store: Path, tmp_path: Path
) -> None:
    normal = [data.with_name(name) for name in CLIPS[2:]]
    out = tmp_path / "mine.safetensors"
    words = ("calibrate", "fight", *normal, "--store", store, "--out", out)
    answer = oddframe(*words, "--false-alarms-per-hour", 2)
    assert answer.code == 0
    assert "This cannot promise 2 an hour: at least 1.5 h of normal video" in answer.out
    told = json.loads(oddframe(*words, "--false-alarms-per-hour", 2, "--json").out)
    assert not told["hours_are_enough"]
    assert told["false_alarms"] == 0
    low, high = told["per_hour_95"]
    assert low == 0
    assert high == pytest.approx(3.689 / told["hours"], rel=1e-3)

    old, new = load_model("fight"), load_model(out)
    assert new.profiles["best"].rule.threshold == told["threshold"]
    assert new.profiles["fast"].rule == old.profiles["fast"].rule
    assert new.card["calibration_best"]["hours"] == told["hours"]
    answer = json.loads(oddframe("evaluate", out, data, "--store", store, "--json").out)
    assert answer["all"]["confusion"]["alarmed"] == 0


def test_a_threshold_is_set_on_video_of_a_variable_frame_rate(
    oddframe: Run, clip_frames: list[Image], tmp_path: Path
) -> None:
    times = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.09, 32))
    video = encode(tmp_path / "cam.mp4", clip_frames[:32], times=times - times[0])
    out = tmp_path / "mine.safetensors"
    words = ("calibrate", "fight", video, "--profile", "fast", "--store", tmp_path, "--out", out)
    answer = oddframe(*words, "--false-alarms-per-hour", 2, "--each", "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert told["hours_are_enough"] is False
    assert told["hours"] == pytest.approx((times[-1] - times[0]) * 32 / 31 / 3600, rel=1e-3)
    assert load_model(out).card["calibration_fast"]["hours_are_enough"] is False


def test_seconds_of_video_can_show_a_high_rate(
    oddframe: Run, data: Path, store: Path, tmp_path: Path
) -> None:
    normal = [data.with_name(name) for name in CLIPS[2:]]
    out = tmp_path / "mine.safetensors"
    words = ("calibrate", "fight", *normal, "--store", store, "--out", out)
    answer = oddframe(*words, "--false-alarms-per-hour", 5000, "--jobs", 2)
    assert answer.code == 0
    assert "cannot promise" not in answer.out


def test_each_camera_may_have_its_own_threshold(
    oddframe: Run, data: Path, store: Path, tmp_path: Path
) -> None:
    cameras = {"gate": CLIPS[2], "yard": CLIPS[3]}
    for camera, name in cameras.items():
        (tmp_path / camera).mkdir()
        shutil.copy(data.with_name(name), tmp_path / camera)
    out = tmp_path / "mine.safetensors"
    words = ("calibrate", "fight", *(tmp_path / camera for camera in cameras), "--store", store)
    wish = ("--false-alarms-per-hour", 1, "--out", out)
    told = json.loads(oddframe(*words, *wish, "--each", "--json").out)
    assert set(told["cameras"]) == set(cameras)
    assert told["threshold"] > load_model("fight").profiles["best"].rule.threshold
    assert not told["kept"]
    assert told["on_others"]["false_alarms"] == 1
    assert told["cameras"]["gate"]["on_others"] is None
    # Two quiet seconds do not lower a camera's threshold below the common one.
    assert told["cameras"]["gate"]["kept"]
    assert told["cameras"]["gate"]["threshold"] == told["threshold"]
    assert out.stat().st_size < 1.05 * find_model("fight").stat().st_size
    model, own = load_model(out), {"gate": 0.7, "yard": told["threshold"]}
    save_model(replace(model, card=with_thresholds(model.card, "best", own)), out)

    (tmp_path / "both.csv").write_text(
        "path,label\n" + "".join(f"{camera}/{name},normal\n" for camera, name in cameras.items())
    )
    words = ("evaluate", out, tmp_path / "both.csv", "--store", store)
    answer = oddframe(*words, "--out", tmp_path / "results")
    assert "2 of 2 normal videos quiet, at the thresholds of their cameras" in answer.out
    found = json.loads((tmp_path / "results" / "evaluation.json").read_text(encoding="utf-8"))
    assert [video["threshold"] for video in found["videos"]] == list(own.values())
    page = (tmp_path / "results" / "study.html").read_text(encoding="utf-8")
    assert "Dashed: the thresholds of their cameras" in page

    words = ("calibrate", out, *(tmp_path / camera for camera in cameras), "--store", store)
    assert oddframe(*words, *wish).code == 0
    assert "thresholds" not in load_model(out).card


def test_wrong_calls_write_nothing(oddframe: Run, data: Path, tmp_path: Path) -> None:
    clip = data.with_name(CLIPS[2])
    wish = ("--false-alarms-per-hour", 1)
    assert oddframe("calibrate", "fight", clip, *wish, "--out", tmp_path / "a.txt").code == 2
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    out = tmp_path / "a.safetensors"
    answer = oddframe("calibrate", "fight", broken, *wish, "--out", out, "--store", tmp_path)
    assert answer.code == 3
    assert "nothing written" in answer.err
    assert not out.exists()
    assert oddframe("evaluate", "fight", data, "--json", "--markdown").code == 2
    assert oddframe("evaluate", "fight", tmp_path / "none").code == 3
