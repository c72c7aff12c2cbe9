"""Generated features with something planted in them, and a UR-DMU small enough for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from oddframe.training.config import TrainConfig, parse_config
from oddframe.training.data.samplers import TrainingVideo

DIM = 24
SMALL = {"hidden": 24, "heads": 2, "head_dim": 8, "depth": 1, "classifier_hidden": 16}


def small_config(method: str = "ur_dmu", **sections: Any) -> TrainConfig:
    """A configuration that trains in seconds; sections are merged over its own."""
    own = {"steps": 12, "normal_bags": 4, "abnormal_bags": 4, "segments": 8, "lr": 1e-3}
    recipe = own | sections.pop("recipe", {})
    config = {"name": method, "config": SMALL if method == "ur_dmu" else {}}
    return parse_config({"method": config, "recipe": recipe, **sections})


def planted(
    n_normal: int, n_abnormal: int, seed: int, *, shortest: int = 4
) -> tuple[list[TrainingVideo], list[np.ndarray]]:
    """Videos of ``shortest`` to 30 noisy snippets; in abnormal ones a run of them is shifted.

    Also (T,) which snippets are planted, for each video.
    """
    rng = np.random.default_rng(seed)
    videos, truth = [], []
    for i in range(n_normal + n_abnormal):
        length = int(rng.integers(shortest, 31))
        x = rng.normal(3.0, 2.0, size=(length, DIM)).astype(np.float32)
        odd = np.zeros(length, dtype=bool)
        if i >= n_normal:
            start = int(rng.integers(length))
            odd[start : start + max(1, length // 4)] = True
            x[odd, :6] += 6.0
        videos.append(TrainingVideo((x,), bool(i >= n_normal)))
        truth.append(odd)
    return videos, truth
