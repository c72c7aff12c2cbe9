from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from oddframe.detector import VideoResult
from oddframe.events import EventRule, smooth_frame_scores
from oddframe.outputs.drawing import step_curve
from tests.outputs.conftest import build

MakeResult = Callable[..., VideoResult]


def test_a_short_track_comes_out_snippet_by_snippet(make_result: MakeResult) -> None:
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
def test_no_peak_is_lost_however_few_steps(
    n_frames: int, most: int, stride: int, smooth_s: float
) -> None:
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


def test_times_outside_of_the_video_get_its_first_and_last_score(make_result: MakeResult) -> None:
    result = make_result(100, 25.0)
    curve = step_curve(result, 1000)
    assert curve.at(-1.0) == result.track.scores[0]
    assert curve.at(99.0) == result.track.scores[-1]
    assert curve.middle(0.1) == 0.32
