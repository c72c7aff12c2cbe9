"""Clips with generated features: dimension 0 separates the classes, the others are noise."""

from __future__ import annotations

import numpy as np
import pytest

from oddframe.research.clips import BenchmarkClip
from oddframe.timeline import Timebase
from tests.outputs.conftest import browser as browser


def make_clips(gap: float = 4.0, recordings: int = 12, seed: int = 0) -> tuple[BenchmarkClip, ...]:
    rng = np.random.default_rng(seed)
    clips = []
    for recording in range(recordings):
        for number in range(6):
            abnormal = number % 2 == 1
            fps = float(rng.choice([25.0, 30.0]))
            timebase = Timebase(fps, int(rng.integers(20, 70)), 16, 8, 25.0)
            array = rng.normal(size=(1, timebase.n_snippets, 6)).astype(np.float32)
            array[..., 0] += gap * abnormal
            name = f"{'odd' if abnormal else 'calm'}/{recording}_{number}.mp4"
            clips.append(BenchmarkClip(name, array, timebase, abnormal, f"r{recording:02d}"))
    return tuple(clips)


@pytest.fixture
def clips() -> tuple[BenchmarkClip, ...]:
    return make_clips()
