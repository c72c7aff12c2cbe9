"""``oddframe calibrate`` on real clips."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oddframe.cameras import with_thresholds
from oddframe.modelfile import find_model, load_model, save_model
from tests.cli.conftest import FOUR_CLIPS as CLIPS
from tests.cli.conftest import Answer
from tests.conftest import Image, encode

Run = Callable[..., Answer]


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
    # Of the shipped models the one that has a false alarm on them at its own threshold.
    words = ("calibrate", "fight_urdmu", *normal, "--store", store, "--out", out)
    answer = oddframe(*words, "--false-alarms-per-hour", 2)
    assert answer.code == 0
    assert "This cannot promise 2 an hour: at least 1.5 h of normal video" in answer.out
    told = json.loads(oddframe(*words, "--false-alarms-per-hour", 2, "--json").out)
    assert not told["hours_are_enough"]
    assert told["false_alarms"] == 0
    low, high = told["per_hour_95"]
    assert low == 0
    assert high == pytest.approx(3.689 / told["hours"], rel=1e-3)

    old, new = load_model("fight_urdmu"), load_model(out)
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
    former = "fight_urdmu"  # It has a false alarm on them at its own threshold.
    words = ("calibrate", former, *(tmp_path / camera for camera in cameras), "--store", store)
    wish = ("--false-alarms-per-hour", 1, "--out", out)
    told = json.loads(oddframe(*words, *wish, "--each", "--json").out)
    assert set(told["cameras"]) == set(cameras)
    assert told["threshold"] > load_model(former).profiles["best"].rule.threshold
    assert not told["kept"]
    assert told["on_others"]["false_alarms"] == 1
    assert told["cameras"]["gate"]["on_others"] is None
    # Two quiet seconds do not lower a camera's threshold below the common one.
    assert told["cameras"]["gate"]["kept"]
    assert told["cameras"]["gate"]["threshold"] == told["threshold"]
    assert out.stat().st_size < 1.05 * find_model(former).stat().st_size
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
    page = (tmp_path / "results" / "evaluation.html").read_text(encoding="utf-8")
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
    assert "no model written" in answer.err
    assert not out.exists()
