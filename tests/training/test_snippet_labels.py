"""Labels in time on snippets and on segments, against plain arithmetic."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddframe.datasets.labelled import GroundTruth, LabelledVideo, TimeLabels
from oddframe.errors import InputError
from oddframe.methods.base import Recipe
from oddframe.timeline import Timebase
from oddframe.training.config import BagSection
from oddframe.training.data.samplers import TrainingVideo, make_bag_sampler
from oddframe.training.data.snippet_labels import (
    SnippetLabels,
    label_bags,
    label_snippets,
    label_video,
)

TIMES = st.lists(st.floats(0, 30), max_size=5).map(lambda times: tuple(sorted(times)))
TIMEBASES = st.builds(
    Timebase,
    fps=st.sampled_from([10.0, 24.0, 29.97]),
    n_frames=st.integers(17, 300),
    stride=st.sampled_from([4, 16, 20]),
    rate=st.sampled_from([None, 12.5]),
)


@given(TIMEBASES, TIMES, TIMES)
def test_snippets_are_labelled_by_the_seconds_that_they_cover(
    timebase: Timebase, clicks: tuple[float, ...], rejected: tuple[float, ...]
) -> None:
    spans = timebase.snippet_times()
    found = label_snippets(spans, TimeLabels(clicks, rejected))
    shown = [[min(t, spans[-1, 1]) for t in times] for times in (clicks, rejected)]
    for (start, end), distance, known in zip(spans, found.distance, found.known, strict=True):
        gaps = [max(start - t, t - end, 0.0) for t in shown[0]]
        assert distance == pytest.approx(min(gaps, default=np.inf), abs=1e-9)
        said = [start <= t < end or t == end == spans[-1, 1] for t in shown[1]]
        assert known == (any(said) and distance > 0)
    assert not found.target.any()


@given(st.integers(1, 400), st.integers(1, 220), st.sampled_from([24.0, 30.0]), st.data())
def test_clicked_segments_are_those_of_the_published_code(
    snippets: int, n: int, fps: float, data: st.DataObject
) -> None:
    frames = data.draw(st.lists(st.integers(0, 16 * snippets - 1), min_size=1, max_size=6))
    timebase = Timebase(fps, 16 * snippets)
    labels = TimeLabels(tuple(map(float, frames)), (), "frames").seconds(fps)
    bag = label_bags([label_snippets(timebase.snippet_times(), labels)], n)
    expected = {int((frame / 16) / snippets * n) for frame in frames}
    assert set(np.flatnonzero(bag.clicked[0]).tolist()) == expected


@given(TIMEBASES, TIMES, st.integers(1, 40))
def test_a_segment_is_as_near_as_its_snippets(
    timebase: Timebase, clicks: tuple[float, ...], n: int
) -> None:
    found = label_snippets(timebase.snippet_times(), TimeLabels(clicks))
    bounds = [int(b) for b in np.linspace(0, len(found), n + 1)]
    expected = [min(found.distance[low : max(high, low + 1)]) for low, high in pairwise(bounds)]
    bag = label_bags([found], n)
    np.testing.assert_allclose(bag.distance[0], np.array(expected, np.float32))


def test_an_interval_is_a_share_of_snippets_and_segments() -> None:
    spans = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0], [3.0, 4.0]])
    found = label_snippets(spans, TimeLabels((1.2,)), ((0.75, 2.5), (3.5, 3.6)))
    np.testing.assert_allclose(found.target, [0.25, 1, 0.5, 0.1])
    assert found.known.all()
    assert np.isinf(found.distance).all()  # The interval says it all.
    np.testing.assert_allclose(label_bags([found], 2).target, [[0.625, 0.3]])


@given(TIMEBASES, TIMES)
def test_shares_of_intervals_are_those_of_a_fine_grid(
    timebase: Timebase, edges: tuple[float, ...]
) -> None:
    edges = tuple(sorted(set(edges)))
    intervals = tuple(zip(edges[::2], edges[1::2], strict=False))
    spans = timebase.snippet_times()
    found = label_snippets(spans, TimeLabels(), intervals).target
    assert ((found >= 0) & (found <= 1)).all()
    for (start, end), share in zip(spans, found, strict=True):
        times = start + (np.arange(2000) + 0.5) / 2000 * (end - start)
        inside = [any(a <= t < b for a, b in intervals) for t in times]
        assert share == pytest.approx(np.mean(inside), abs=0.005)


def test_events_are_read_only_where_training_asks_for_them() -> None:
    video = LabelledVideo(Path("a.mp4"), True, "fight", "g", GroundTruth(((1.0, 2.0),), "seconds"))
    timebase = Timebase(16.0, 48)
    assert label_video(video, timebase, events=False) is None
    labels = label_video(video, timebase, events=True)
    assert labels is not None
    assert labels.target.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (TimeLabels((47.0,)), "a.mp4: the click at 47 s is after its end at 3.0 s"),
        (TimeLabels((), (2.0, 5.5)), "a.mp4: the rejected time at 5.5 s is after its end at 3.0"),
    ],
)
def test_a_time_outside_the_video_is_refused(labels: TimeLabels, said: str) -> None:
    video = LabelledVideo(Path("a.mp4"), True, "fight", "g", time_labels=labels)
    with pytest.raises(InputError, match=said):
        label_video(video, Timebase(16.0, 48), events=False)


def labelled(length: int, at: float, *, abnormal: bool) -> TrainingVideo:
    """A video whose features say how far each snippet is from the click, snippets of a second."""
    spans = np.arange(length)[:, None] + np.array([0.0, 1.0])
    labels = label_snippets(spans, TimeLabels((at,))) if abnormal else SnippetLabels.unknown(length)
    view = np.minimum(labels.distance, 99.0)[:, None].astype(np.float32)
    return TrainingVideo((view, view + 0), abnormal, labels=(labels, labels) if abnormal else ())


@pytest.mark.parametrize("mode", ["video", "joined"])
def test_labels_stay_with_their_snippets_in_bags(mode: str) -> None:
    videos = [labelled(n, n / 3, abnormal=n % 2 == 1) for n in range(4, 12)]
    section = BagSection.model_validate({"mode": mode, "clips": (2, 3), "abnormal": (1, 2)})
    recipe = Recipe(normal_bags=2, abnormal_bags=2, segments=64)  # More segments than snippets.
    sampler = make_bag_sampler(videos, section, recipe, seed=0)
    for _ in range(5):
        features, labels = sampler.draw()
        assert labels is not None
        np.testing.assert_allclose(np.minimum(labels.distance, 99.0), features[..., 0])
        assert (labels.distance[labels.clicked] == 0).all()
        assert labels.clicked.any(axis=1).tolist() == [False, False, True, True]


def test_without_labels_a_batch_has_none() -> None:
    videos = [
        TrainingVideo((np.zeros((3, 1), np.float32),), abnormal) for abnormal in (False, True)
    ]
    recipe = Recipe(normal_bags=1, abnormal_bags=1, segments=2)
    assert make_bag_sampler(videos, BagSection(), recipe, 0).draw().labels is None
