"""A few generated feature files under the name of a published data set, and a tiny UR-DMU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from oddframe.datasets.labelled import NORMAL, Dataset, GroundTruth, LabelledVideo
from oddframe.research.grid import Session, prepare_session
from oddframe.training.config import TrainConfig, parse_config

DIM = 12
SMALL = {"hidden": 8, "heads": 2, "head_dim": 4, "depth": 1, "classifier_hidden": 4}


def tiny_config(**recipe: Any) -> TrainConfig:
    own = {"steps": 3, "lr": 0.01, "normal_bags": 2, "abnormal_bags": 2, "segments": 6}
    own |= {"average": 0.0}
    method = {"name": "ur_dmu", "config": SMALL}
    config = {"method": method, "recipe": own | recipe, "standardise": False, "temper": False}
    return parse_config(config)


def tiny_dataset(folder: Path, name: str = "ucf_crime", crops: int = 1) -> Dataset:
    """Six videos to train on, six to test on; in abnormal ones dimension 0 is shifted for a while.

    Files are (T, D), or (T, C, D) with crops, as published.
    """
    rng = np.random.default_rng(0)
    videos = []
    for number in range(12):
        abnormal, part = number % 2 == 1, "train" if number < 6 else "test"
        length = int(rng.integers(8, 14))
        array = rng.normal(size=(length, crops, DIM)).astype(np.float32)
        if abnormal:
            array[2:5, :, 0] += 4
        path = folder / f"{'Fighting' if abnormal else 'Normal'}{number:03d}_x264.npy"
        np.save(path, array if crops > 1 else array[:, 0])
        truth = GroundTruth(((32, 80),) if abnormal else ()) if part == "test" else None
        label = "fighting" if abnormal else NORMAL
        frames = 16 * length
        videos.append(
            LabelledVideo(path, abnormal, label, path.stem, truth, part, frames, 30.0)  # type: ignore[arg-type]
        )
    return Dataset(name, tuple(videos))


def tiny_session(folder: Path, config: TrainConfig | None = None, **options: Any) -> Session:
    data = folder / "data"
    data.mkdir(exist_ok=True)
    options = {"seeds": 2, "device": "cpu", "store": folder / "store"} | options
    dataset = options.pop("dataset", None) or tiny_dataset(data)
    return prepare_session(dataset, config or tiny_config(), folder / "out", **options)
