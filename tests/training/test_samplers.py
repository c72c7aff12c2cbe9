"""Samplers: the published segment rule, the published loaders, and joined bags."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddframe.errors import InputError
from oddframe.methods.base import Recipe
from oddframe.training.config import BagSection
from oddframe.training.data.samplers import (
    ClipJoiner,
    IndexSampler,
    TrainingVideo,
    concatenate_in_time,
    make_bag_sampler,
    mean_segments,
)
from tests.training.planted import planted


def naive_segments(features: np.ndarray, n: int) -> np.ndarray:
    """The rule as it is written down: one segment after the other."""
    bounds = [int(b) for b in np.linspace(0, len(features), n + 1)]
    rows = [
        features[low:high].mean(0) if high > low else features[low]
        for low, high in pairwise(bounds)
    ]
    return np.stack(rows)


@given(length=st.integers(1, 500), n=st.integers(1, 220), seed=st.integers(0, 9))
def test_segments_follow_the_published_rule(length: int, n: int, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(length, 3)).astype(np.float32)
    found = mean_segments(x, n)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, naive_segments(x, n), rtol=1e-5, atol=1e-5)


@given(n=st.integers(1, 40), batch=st.integers(1, 12), seed=st.integers(0, 99))
def test_all_indices_are_drawn_before_they_are_shuffled_again(
    n: int, batch: int, seed: int
) -> None:
    deck = IndexSampler(n, batch, np.random.default_rng(seed))
    rounds = n // batch
    for _ in range(3):
        if n < batch:  # Too few for one hand: with replacement.
            hand = deck.draw()
            assert hand.shape == (batch,)
            assert set(hand) <= set(range(n))
        else:
            dealt = np.concatenate([deck.draw() for _ in range(rounds)])
            assert len(set(dealt.tolist())) == rounds * batch


@pytest.mark.parametrize("mode", ["video", "joined"])
def test_a_restored_sampler_draws_the_same_batches(mode: str) -> None:
    videos, _ = planted(9, 7, seed=1)
    recipe = Recipe(normal_bags=4, abnormal_bags=3, segments=8)
    section = BagSection.model_validate({"mode": mode})
    bags = make_bag_sampler(videos, section, recipe, seed=5)
    for _ in range(4):
        bags.draw()
    state = bags.state()
    expected = [bags.draw().features for _ in range(5)]
    again = make_bag_sampler(videos, section, recipe, seed=99)
    again.restore(state)
    for batch in expected:
        np.testing.assert_array_equal(again.draw().features, batch)


@pytest.mark.parametrize("mode", ["video", "joined"])
def test_normal_bags_come_first(mode: str) -> None:
    videos = [
        TrainingVideo((np.full((3, 2), float(i >= 5), np.float32),), i >= 5) for i in range(9)
    ]
    recipe = Recipe(normal_bags=4, abnormal_bags=3, segments=40)
    bags = make_bag_sampler(videos, BagSection.model_validate({"mode": mode}), recipe, seed=0)
    for _ in range(20):
        batch = bags.draw().features
        assert batch.shape == (7, 40, 2)
        assert not batch[:4].any()
        assert batch[4:].max(axis=(1, 2)).tolist() == [1, 1, 1]


def drawn_views(joiner: ClipJoiner, videos: list[TrainingVideo], *, abnormal: bool) -> np.ndarray:
    views = joiner.draw_views(videos, abnormal=abnormal)
    return concatenate_in_time([video.views[number] for video, number in views], 1)


def test_a_joined_abnormal_bag_has_one_to_three_abnormal_clips_anywhere() -> None:
    videos = [
        TrainingVideo((np.full((1, 1), float(i >= 9), np.float32),), i >= 9) for i in range(14)
    ]
    section = BagSection(mode="joined", clips=(8, 12), abnormal=(1, 3))
    lengths, counts, places = set(), set(), set()
    labels = np.array([video.abnormal for video in videos])
    joiner = ClipJoiner(labels, section, np.random.default_rng(0))
    for _ in range(300):
        row = drawn_views(joiner, videos, abnormal=True)[:, 0]
        lengths.add(len(row))
        counts.add(int(row.sum()))
        places |= set(np.flatnonzero(row).tolist())
        assert not drawn_views(joiner, videos, abnormal=False).any()
    assert lengths == {8, 9, 10, 11, 12}
    assert counts == {1, 2, 3}
    assert places == set(range(12))


def test_a_bag_is_one_crop_of_one_video() -> None:
    videos = [
        TrainingVideo(tuple(np.full((2, 1), 10 * i + c, np.float32) for c in range(3)), i == 1)
        for i in range(2)
    ]
    bags = make_bag_sampler(
        videos, BagSection(), Recipe(normal_bags=3, abnormal_bags=3, segments=2), 0
    )
    batch = bags.draw().features
    assert sorted(batch[:3, 0, 0].tolist()) == [0, 1, 2]
    assert sorted(batch[3:, 0, 0].tolist()) == [10, 11, 12]


@pytest.mark.parametrize(("counts", "name"), [((3, 0), "abnormal"), ((0, 3), "normal")])
def test_an_empty_class_is_refused(counts: tuple[int, int], name: str) -> None:
    videos, _ = planted(*counts, seed=0)
    with pytest.raises(InputError, match=f"no {name} videos"):
        make_bag_sampler(videos, BagSection(), Recipe(), 0)


def tiled(rng: np.random.Generator, tiles: int, length: int, *, abnormal: bool) -> TrainingVideo:
    """A video whose features say their tile and their snippet."""
    tile, snippet = np.meshgrid(np.arange(tiles), np.arange(length), indexing="ij")
    marks = [tile.ravel(), snippet.ravel(), rng.normal(size=tiles * length)]
    return TrainingVideo((np.stack(marks, axis=1).astype(np.float32),), abnormal, tiles)


@pytest.mark.parametrize("mode", ["video", "joined"])
def test_all_tiles_are_instances_of_one_bag_each_in_order_of_time(mode: str) -> None:
    rng = np.random.default_rng(0)
    videos = [tiled(rng, 6, int(rng.integers(3, 9)), abnormal=i % 2 == 1) for i in range(8)]
    recipe = Recipe(normal_bags=2, abnormal_bags=2, segments=5)
    section = BagSection(mode=mode, clips=(2, 3), abnormal=(1, 1))  # type: ignore[arg-type]
    batch = make_bag_sampler(videos, section, recipe, seed=1).draw().features
    assert batch.shape == (4, 6 * 5, 3)
    for bag in batch:
        np.testing.assert_array_equal(bag[:, 0], np.repeat(np.arange(6), 5))  # No tile is mixed.
        times = bag[:, 1].reshape(6, 5)
        np.testing.assert_array_equal(times, np.tile(times[0], (6, 1)))  # All in step.
        assert mode == "joined" or (np.diff(times[0]) >= 0).all()
