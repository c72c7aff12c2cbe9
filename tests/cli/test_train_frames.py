"""``oddframe train`` with methods that look at frames, on normal clips of Ped2 alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from oddframe.datasets.published.video_files import read_ped2
from oddframe.modelfile import load_model
from tests.cli.conftest import Answer

Run = Callable[..., Answer]

CONFIGS = {
    "hasan": "method: {name: hasan, config: {widths: [8, 8, 8]}}\n"
    "recipe: {steps: 10, normal_bags: 4, lr: 0.01}\n",
    "lu": "method: {name: lu, config: {sizes: [[20, 20], [30, 40]], combinations: 8}}\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_normal_clips_become_a_model_that_scores(
    oddframe: Run, shared_data: Path, tmp_path: Path, name: str
) -> None:
    clips = sorted(read_ped2(shared_data / "ped2").videos, key=lambda video: str(video.path))
    normal = [video.path for video in clips if not video.abnormal][:3]
    (tmp_path / "clips" / "normal").mkdir(parents=True)
    for path in normal:
        shutil.copy(path, tmp_path / "clips" / "normal" / path.name)
    (tmp_path / "small.yaml").write_text(CONFIGS[name])
    model, store = tmp_path / "model.safetensors", tmp_path / "store"
    words = ("--config", tmp_path / "small.yaml", "--store", store, "--out", model, "--json")
    trained = oddframe("train", tmp_path / "clips", *words)
    assert trained.code == 0, trained.err
    assert json.loads(trained.out)["knows"] == load_model(model).detects
    odd = next(video.path for video in clips if video.abnormal)
    scored = oddframe("score", odd, "--model", model, "--json")
    assert scored.code == 0, scored.err
    (video,) = json.loads(scored.out)["videos"]
    scores = video["snippet_scores"]
    assert len(scores) > 10
    assert all(0 <= score <= 1 for score in scores)
    assert len(set(scores)) > 5
