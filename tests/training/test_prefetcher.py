"""Prefetched batches are those of the sampler, also after it is restored."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from oddframe.methods.base import Recipe
from oddframe.training.config import BagSection
from oddframe.training.data.samplers import BagSampler, make_bag_sampler
from oddframe.training.step import Prefetcher
from tests.training.planted import planted

VIDEOS = planted(4, 4, seed=0)[0]
RECIPE = Recipe(normal_bags=3, abnormal_bags=2, segments=6)


def bags(mode: str = "video") -> BagSampler:
    section = BagSection.model_validate({"mode": mode, "clips": (2, 3), "abnormal": (1, 2)})
    return make_bag_sampler(VIDEOS, section, RECIPE, seed=5)


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(["video", "joined"]), st.lists(st.booleans(), max_size=12))
def test_a_restored_prefetcher_draws_the_same_batches(mode: str, stops: list[bool]) -> None:
    plain, ahead = bags(mode), Prefetcher(bags(mode))
    for stop in stops:
        if stop:
            state = ahead.state()
            assert state == plain.state()
            ahead = Prefetcher(bags(mode))
            ahead.restore(state)
        np.testing.assert_array_equal(ahead.draw().features, plain.draw().features)


class Slow:
    """Draws by the clock, and fails at the third time."""

    def __init__(self) -> None:
        self.drawn = 0

    def draw(self) -> NDArray[np.int64]:
        time.sleep(0.2)
        self.drawn += 1
        if self.drawn == 3:
            raise OSError("gone")
        return np.array(self.drawn)

    def state(self) -> dict[str, int]:
        return {"drawn": self.drawn}

    def restore(self, state: dict[str, int]) -> None:
        self.drawn = state["drawn"]


def test_the_next_batch_is_read_during_a_step() -> None:
    slow = Slow()
    ahead = Prefetcher(slow)
    ahead.draw()
    while slow.drawn < 2:  # Drawn without being asked for.
        time.sleep(0.01)
    assert ahead.state() == {"drawn": 1}
    assert ahead.draw().item() == 2
    with pytest.raises(OSError, match="gone"):
        ahead.draw()
