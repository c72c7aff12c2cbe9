"""Bags that are cut beforehand equal those cut at each step, and are cut once."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from oddframe.features.formats.published import NpyFiles
from oddframe.features.presets import PublishedLayout
from oddframe.features.spec import Features
from oddframe.methods.base import Recipe
from oddframe.training.config import BagSection
from oddframe.training.data.features import training_video
from oddframe.training.data.samplers import TrainingVideo, make_bag_sampler, with_cut_bags

RECIPE = Recipe(normal_bags=6, abnormal_bags=6, segments=8)
LAYOUT = PublishedLayout(crops=5, fps=24.0, dim=6)


def on_disk(folder: Path, n: int = 4) -> list[Features]:
    rng = np.random.default_rng(3)
    found = []
    for video in range(n):
        files = tuple(folder / f"{video}__{crop}.npy" for crop in range(5))
        rows = int(rng.integers(1, 40))
        for file in files:
            np.save(file, rng.normal(size=(rows, 6)).astype(np.float32))
        found.append(NpyFiles(files, LAYOUT).open())
    return found


def drawn(videos: list[TrainingVideo]) -> list[NDArray[np.float32]]:
    bags = make_bag_sampler(videos, BagSection(), RECIPE, seed=1)
    return [bags.draw().features for _ in range(5)]


def told(*_: object) -> None:
    """Nobody listens."""


def test_the_bags_are_the_same_to_the_last_bit(tmp_path: Path) -> None:
    seen = [[features] for features in on_disk(tmp_path)]
    videos = [training_video(each, i % 2 == 1) for i, each in enumerate(seen)]
    digests = [f"{i:02d}" for i in range(len(seen))]
    cut = with_cut_bags(videos, seen, digests, 8, tmp_path / "store", told)
    assert all(video.bags is not None for video in cut)
    for before, after in zip(drawn(videos), drawn(cut), strict=True):
        assert before.tobytes() == after.tobytes()


def test_cut_bags_are_used_again(tmp_path: Path) -> None:
    seen = [[features] for features in on_disk(tmp_path)]
    videos = [training_video(each, i % 2 == 1) for i, each in enumerate(seen)]
    digests = [f"{i:02d}" for i in range(len(seen))]
    first = with_cut_bags(videos, seen, digests, 8, tmp_path / "store", told)
    for file in tmp_path.glob("*.npy"):
        file.unlink()
    again = with_cut_bags(videos, seen, digests, 8, tmp_path / "store", told)
    assert all(x.tobytes() == y.tobytes() for x, y in zip(drawn(first), drawn(again), strict=True))


def test_bags_of_features_that_changed_in_their_middle_are_cut_again(tmp_path: Path) -> None:
    seen = [[features] for features in on_disk(tmp_path)]
    videos = [training_video(each, i % 2 == 1) for i, each in enumerate(seen)]
    digests = [f"{i:02d}" for i in range(len(seen))]
    first = with_cut_bags(videos, seen, digests, 8, tmp_path / "store", told)
    for file in tmp_path.glob("*.npy"):
        np.save(file, np.load(file) + 1)
    again = with_cut_bags(videos, seen, digests, 8, tmp_path / "store", told)
    for before, after in zip(drawn(first), drawn(videos), strict=True):
        np.testing.assert_array_equal(before, after)
    fresh = with_cut_bags(videos, seen, digests, 8, tmp_path / "other", told)
    for before, after in zip(drawn(fresh), drawn(again), strict=True):
        np.testing.assert_array_equal(before, after)


def test_features_in_memory_are_not_cut(tmp_path: Path) -> None:
    (features, *_) = on_disk(tmp_path)
    here = Features(np.asarray(features.array), features.spec, features.timebase)
    videos = [training_video([here], abnormal=True)]
    assert with_cut_bags(videos, [[here]], ["00"], 8, tmp_path / "store", told) == videos
    assert not (tmp_path / "store").exists()


def test_bags_are_not_cut_where_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = namedtuple("full", "total used free")(1, 1, 1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    seen = [[features] for features in on_disk(tmp_path)]
    videos = [training_video(each, i % 2 == 1) for i, each in enumerate(seen)]
    cut = with_cut_bags(videos, seen, ["a", "b", "c", "d"], 8, tmp_path / "store", told)
    assert all(video.bags is None for video in cut)
    assert len(drawn(cut)) == 5
