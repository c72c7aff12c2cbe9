"""Which times are worth a picture, and the frames shown at them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from oddframe.outputs.drawing import KeyFrameCollector, event_peak_times, select_highlights
from oddframe.video.decoding.isolated import open_source
from oddframe.video.frame import Frame
from tests.outputs.conftest import build


def test_peaks_and_times_with_low_scores_are_both_chosen() -> None:
    result = build(1500, 25.0, [(10.0, 14.0), (40.0, 44.0)])
    shown = select_highlights(result)
    assert len(shown) == 6
    odd = [moment.time_s for moment in shown if moment.abnormal]
    assert len(odd) == 2
    for time, event in zip(odd, result.events, strict=True):
        assert event.start_s <= time < event.end_s
    assert all(np.diff([moment.time_s for moment in shown]) > 1.0)


def test_the_truth_decides_what_is_abnormal_and_missed_intervals_are_chosen() -> None:
    result = build(1500, 25.0, [(10.0, 14.0)], truth=[(40.0, 44.0)])
    colours = {
        span: [m.abnormal for m in select_highlights(result) if span[0] <= m.time_s < span[1]]
        for span in ((10.0, 14.0), (40.0, 44.0))
    }
    assert colours == {(10.0, 14.0): [False], (40.0, 44.0): [True]}


def test_the_picture_of_an_event_is_the_middle_of_its_peak_snippet() -> None:
    result = build(50, 25.0, [(0.7, 1.2)])
    (peak,) = event_peak_times(result)
    assert result.events[0].peak_s == 0.64
    assert np.isclose(peak, 0.96)


@given(st.integers(1, 2000), st.booleans(), st.integers(1, 8))
def test_any_video_has_highlights_in_order_of_time(n_frames: int, odd: bool, most: int) -> None:
    result = build(n_frames, 25.0, [(0.0, 1e9)] if odd else [])
    shown = select_highlights(result, most)
    times = [moment.time_s for moment in shown]
    assert 1 <= len(shown) <= most
    assert times == sorted(times)
    assert all(0 <= time <= result.track.timebase.end_s for time in times)
    assert all(moment.abnormal == odd for moment in shown)


def level(value: int) -> np.typing.NDArray[np.uint8]:
    return np.full((100, 200, 3), value, dtype=np.uint8)


def test_each_time_gets_the_frame_shown_then() -> None:
    wanted = [-1.0, 0.0, 0.39, 0.4, 0.41, 99.0]
    catcher = KeyFrameCollector(wanted, 50)
    for i in range(10):
        catcher.add(Frame(level(i), i / 10))
    catcher.close()
    assert catcher.done
    assert [int(catcher.images[time].mean()) for time in wanted] == [0, 0, 3, 4, 4, 9]
    assert all(image.shape == (24, 50, 3) for image in catcher.images.values())


def test_only_the_pictures_of_kept_frames_are_made() -> None:
    made = []

    def make(i: int) -> np.typing.NDArray[np.uint8]:
        made.append(i)
        return level(i)

    catcher = KeyFrameCollector([0.35], 50)
    for i in range(10):
        catcher.add(Frame(lambda i=i: make(i), i / 10))
        if catcher.done:
            break
    assert made == [3]
    assert i == 4


def test_key_frames_of_a_real_clip(
    clip: Path, clip_frames: list[np.typing.NDArray[np.uint8]]
) -> None:
    catcher = KeyFrameCollector([0.4, 1.96], 352)
    for frame in open_source(clip).frames():
        catcher.add(frame)
    catcher.close()
    for time, number in ((0.4, 10), (1.96, 49)):
        difference = catcher.images[time].astype(int) - clip_frames[number]
        assert np.abs(difference).mean() < 3
