"""Scaling of pictures, and score curves as steps to draw."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddframe.detector import VideoResult
from oddframe.events import EventRule, smooth_frame_scores
from oddframe.outputs.drawing import even_size, letterbox, step_curve
from tests.outputs.conftest import build


@given(st.integers(16, 5000), st.integers(16, 5000))
def test_sizes_are_even_and_keep_the_aspect_ratio(width: int, height: int) -> None:
    w, h = even_size(width, height, 640)
    assert w % 2 == h % 2 == 0
    assert 2 <= w <= max(640, 2)
    assert 2 <= h <= 640
    assert abs(w * height / width - h) <= 2 + height / width


@pytest.mark.parametrize("size", [(353, 241), (97, 1000), (1000, 97), (640, 360)])
def test_a_picture_fills_a_size_of_its_own_shape(size: tuple[int, int]) -> None:
    image = np.full((size[1], size[0], 3), 200, dtype=np.uint8)
    width, height = even_size(*size, 300)
    assert (letterbox(image, width, height) == 200).all()


def test_another_shape_gets_black_bars() -> None:
    image = np.full((100, 100, 3), 200, dtype=np.uint8)
    wide = letterbox(image, 300, 100)
    assert (wide[:, 100:200] == 200).all()
    assert (wide[:, :100] == 0).all()
    assert (wide[:, 200:] == 0).all()


MakeResult = Callable[..., VideoResult]


def test_a_short_track_has_a_step_for_each_snippet(make_result: MakeResult) -> None:
    result = make_result(100, 25.0)
    curve = step_curve(result, 1000)
    np.testing.assert_array_equal(curve.high, result.track.scores)
    np.testing.assert_allclose(curve.edges[:-1], result.track.timebase.snippet_times()[:, 0])
    assert curve.edges[-1] == 4.0
    assert curve.is_exact


@given(
    st.integers(1, 3000),
    st.integers(1, 60),
    st.sampled_from([4, 16]),
    st.sampled_from([0.0, 0.7]),
)
def test_few_steps_keep_every_peak(n_frames: int, most: int, stride: int, smooth_s: float) -> None:
    rule = EventRule(smooth_s=smooth_s)
    result = build(n_frames, 25.0, [(3.0, 3.5)], rule=rule, stride=stride)
    curve, frames = step_curve(result, most), smooth_frame_scores(result.track, smooth_s)
    assert len(curve.high) <= most
    assert (np.diff(curve.edges) > 0).all()
    assert curve.high.max() == frames.max()
    assert curve.low.min() == frames.min()
    middles = result.track.timebase.frame_times + 0.5 / 25.0
    step = np.searchsorted(curve.edges, middles, side="right") - 1
    assert (curve.low[step] <= frames).all()
    assert (frames <= curve.high[step]).all()


def test_times_outside_the_video_have_its_first_and_last_score(make_result: MakeResult) -> None:
    result = make_result(100, 25.0)
    curve = step_curve(result, 1000)
    assert curve.at(-1.0) == result.track.scores[0]
    assert curve.at(99.0) == result.track.scores[-1]
    assert curve.middle(0.1) == 0.32
