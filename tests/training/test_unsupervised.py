"""Unsupervised training does not depend on labels and draws every video."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from oddframe.features.store.store import FeatureStore
from oddframe.methods.base import Recipe
from oddframe.training.config import BagSection, TrainConfig
from oddframe.training.data.samplers import TrainingVideo, UnlabelledBagSampler
from oddframe.training.loop import fit
from oddframe.training.train import run_training
from tests.training.planted import planted, small_config
from tests.training.precomputed import ready_made

GCL = {"wide": 16, "narrow": 4, "hidden": 16, "bottleneck": 8}
RECIPE = Recipe(normal_bags=3, abnormal_bags=5, segments=2)


def config(mode: str = "video") -> TrainConfig:
    method = {"name": "gcl", "config": GCL}
    made = small_config("gcl", bags={"mode": mode, "clips": [3, 4]}).model_dump()
    return TrainConfig.model_validate({**made, "method": method})


@pytest.mark.parametrize("mode", ["video", "joined"])
@pytest.mark.parametrize("labels", ["inverted", "shuffled", "all alike"])
def test_labels_change_nothing(mode: str, labels: str) -> None:
    videos = planted(6, 6, seed=1)[0]
    given = np.array([video.abnormal for video in videos])
    others = {
        "inverted": ~given,
        "shuffled": np.random.default_rng(3).permutation(given),
        "all alike": np.zeros_like(given),
    }[labels]
    changed = [replace(v, abnormal=bool(a)) for v, a in zip(videos, others, strict=True)]
    ours, theirs = (fit(each, config(mode)).network.state_dict() for each in (videos, changed))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def bags(mode: str) -> UnlabelledBagSampler:
    """Sixteen videos of one number each."""
    videos = [TrainingVideo((np.full((2, 1), i, np.float32),), i < 2) for i in range(16)]
    section = BagSection.model_validate({"mode": mode, "clips": (3, 4)})
    return UnlabelledBagSampler(videos, section, RECIPE, np.random.default_rng(0))


def test_every_video_is_drawn_equally_often() -> None:
    drawn = bags("video")
    batches = [drawn.draw().features for _ in range(2)]
    assert [batch.shape for batch in batches] == [(8, 2, 1)] * 2
    seen = np.concatenate([batch[:, 0, 0] for batch in batches])
    assert sorted(seen) == list(range(16))


@pytest.mark.parametrize("mode", ["video", "joined"])
def test_a_restored_unlabelled_sampler_draws_the_same_batches(mode: str) -> None:
    whole, resumed = bags(mode), bags(mode)
    whole.draw()
    resumed.restore(whole.state())
    np.testing.assert_array_equal(resumed.draw().features, whole.draw().features)


def test_videos_of_one_class_train_a_model(tmp_path: Path) -> None:
    """There is nothing abnormal to learn from, and it is trained all the same."""
    data = ready_made(tmp_path / "videos", 6, abnormal=False)
    done = run_training(
        data, config(), tmp_path / "m.safetensors", store=FeatureStore(tmp_path / "s")
    )
    assert done.model.method == "gcl"
    assert done.model.detects == "what is rare"
