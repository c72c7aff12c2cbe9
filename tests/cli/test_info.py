"""``oddframe info``: videos, models and features."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oddframe.detector import Detector
from oddframe.features.store.store import write_features
from oddframe.modelfile import load_model, save_model
from tests.cli.conftest import Answer
from tests.conftest import Image

Run = Callable[..., Answer]
HANDFUL = {"on": "held-out groups", "normal_minutes": 0.1, "false_alarms": 0}


def test_info_of_a_video(oddframe: Run, clip: Path) -> None:
    facts = json.loads(oddframe("info", clip, "--json").out)
    assert (facts["kind"], facts["width"], facts["height"]) == ("video", 352, 240)
    assert facts["frames"] == 50
    assert "352" in oddframe("info", clip).out


def test_info_shows_durations_and_gaps_of_a_video(
    oddframe: Run, write_video: Callable[..., Path], clip_frames: list[Image], tmp_path: Path
) -> None:
    times = [i * 0.04 + (40_000 if i >= 30 else 0) for i in range(50)]
    path = write_video(tmp_path / "cam.mkv", clip_frames, times=times)
    facts = json.loads(oddframe("info", path, "--json").out)
    assert facts["gap_s"] == pytest.approx(40_000.04, abs=1e-2)
    shown = oddframe("info", path).out
    assert "(11:06:40 h)" in next(line for line in shown.splitlines() if "gap_s" in line)
    assert "(11:06:42 h)" in next(line for line in shown.splitlines() if "duration_s" in line)


def test_info_of_a_model(oddframe: Run) -> None:
    facts = json.loads(oddframe("info", "fight", "--json").out)
    assert facts["kind"] == "model"
    assert facts["finds"] == "fights"
    assert facts["profiles"]["best"]["spec"]["backbone"] == "i3d"
    summary, details = oddframe("info", "fight").out.split("\n\nEverything in the file:\n")
    assert details.startswith("kind")
    lines = summary.splitlines()
    assert lines[0] == "detects       fights"
    assert lines[1].startswith("trained on    99 abnormal and 108 normal videos")
    assert lines[2].startswith("metrics       on 50 videos of 7 groups")
    assert lines[4].split()[:4] == ["0.971", "0.886", "AUC", "of"]
    assert max(map(len, lines)) <= 100
    text = " ".join(summary.split())
    assert "threshold 0.9: an event begins where the score" in text
    assert "fast: reads 16 frames every 3.2 s" in text
    assert "its threshold is 0.9" in text
    assert "limits Learned from 192 clips of two seconds" in text
    assert lines[-1] == "usage         oddframe score VIDEO --model fight"


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ({}, "not set on video"),
        ({"threshold_best": {"on": "training videos, each not yet remembered"}}, "set on training"),
        (
            {"calibration_best": {"hours": 5.25, "false_alarms": 4, "per_hour_95": [0.2, 1.9]}},
            "calibrated on 5.2 h of normal video: 4 false alarms, with 95 % confidence 0.2 to 1.9 "
            "an hour",
        ),
        (
            {
                "calibration_best": {
                    "hours": 2 / 3600,
                    "false_alarms": 0,
                    "per_hour_95": [0.0, 6639.98],
                    "kept": True,
                }
            },
            "unchanged: too little video to lower it; calibrated on 2.0 s of normal video: 0 false "
            "alarms, with 95 % confidence 0 to 6,640 an hour",
        ),
        (
            {"masks": {"best": {"cam1": "0123456789abcdef", "cam2": ""}}},
            "set with a mask for each camera: cam1 0123456789abcdef, cam2 none",
        ),
        (
            {"threshold_best": {**HANDFUL, "set_by": "model"}},
            "the threshold of the model that training started from; 0.1 minutes of normal video",
        ),
        ({"thresholds": {"best": {"cam1": 0.8}}}, "cameras with their own threshold: cam1 0.8"),
    ],
)
def test_info_says_how_a_threshold_was_set(
    oddframe: Run, tmp_path: Path, card: dict[str, object], said: str
) -> None:
    path = tmp_path / "m.safetensors"
    save_model(replace(load_model("fight"), card=card, metrics={}), path)
    summary = oddframe("info", path).out.split("\n\n")[0]
    assert said in " ".join(summary.split())
    assert f"not measured; oddframe evaluate {path} DATA" in " ".join(summary.split())


def test_info_names_the_mask_of_a_threshold(oddframe: Run, tmp_path: Path) -> None:
    model, path = load_model("fight"), tmp_path / "m.safetensors"
    best = model.profiles["best"]
    masked = replace(best, spec=replace(best.spec, mask="0123456789abcdef"))
    save_model(replace(model, profiles={**model.profiles, "best": masked}), path)
    assert "set with the mask 0123456789abcdef: use" in oddframe("info", path).out
    assert "set with the mask" not in oddframe("info", "fight").out


def test_info_of_a_model_of_several_seeds_has_no_json(oddframe: Run, tmp_path: Path) -> None:
    model = load_model("fight")
    runs = [
        {"seed": 7, "validation": 0.5, "metrics": {"auc": 0.91234}, "kept": True},
        {"seed": 8, "validation": None, "metrics": {"auc": 0.8}, "kept": False},
    ]
    told = {"chosen_by": "auc", "runs": runs, "mean_and_deviation": {"auc": [0.85617, 0.079431]}}
    path = tmp_path / "seeds.safetensors"
    learned = [f"{i:016x}" for i in range(40)]
    card = {**model.card, "seeds": told, "learned_from": learned}
    save_model(replace(model, card=card), path)
    lines = [line.strip() for line in oddframe("info", path).out.splitlines()]
    assert "seed 7, validation 0.5, metrics auc 0.9123, kept yes" in lines
    assert "seed 8, validation none, metrics auc 0.8, kept no" in lines
    assert "auc  0.8562, 0.07943" in lines
    assert not any("{" in line for line in lines)
    (line,) = (line for line in lines if line.startswith("learned_from"))
    assert line.endswith("and 28 more (all of them with --json)")
    assert json.loads(oddframe("info", path, "--json").out)["card"]["learned_from"] == learned


def test_info_of_features(oddframe: Run, clip: Path, tmp_path: Path) -> None:
    file = tmp_path / "clip.safetensors"
    write_features(file, Detector.load("fight").features(clip).features)
    facts = json.loads(oddframe("info", file, "--json").out)
    assert (facts["kind"], facts["dim"], facts["frames"]) == ("features", 1024, 50)


def test_info_of_published_features(oddframe: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((7, 10, 8), np.float32))
    facts = json.loads(oddframe("info", tmp_path / "x.npy", "--json").out)
    assert (facts["kind"], facts["crops"], facts["snippets"], facts["dim"]) == (
        "features",
        10,
        7,
        8,
    )
    answer = oddframe("score", "--features", tmp_path / "x.npy")
    assert answer.code == 3
    assert "reads other features" in answer.err
    assert "oddframe extract --model" in answer.err
    assert "a folder without pictures" in oddframe("info", tmp_path).err


def test_info_of_a_missing_file(oddframe: Run, tmp_path: Path) -> None:
    for name in ("none.mp4", "none.safetensors"):
        answer = oddframe("info", tmp_path / name)
        assert answer.code == 3
        assert len(answer.err.splitlines()) == 1
