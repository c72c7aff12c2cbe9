"""Average precision over temporal overlaps, against a plain reading of the published protocol."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddframe.evaluation.localisation import (
    OVERLAPS,
    LocalisedVideo,
    boundary_errors,
    interval_precision,
    mean_average_precision,
    overlap_shares,
    propose_intervals,
)

score_lists = st.lists(st.integers(0, 20), min_size=1, max_size=60)


def plain_proposals(scores: list[float]) -> list[tuple[int, int, float]]:
    top = sorted(scores, reverse=True)[: max(1, len(scores) // 16)]
    video = sum(top) / len(top)
    level = max(scores) - (max(scores) - min(scores)) * 0.6
    found, start = [], None
    for i, score in enumerate([*scores, None]):
        if score is not None and score > level:
            start = i if start is None else start
        elif start is not None:
            if i - start >= 2:
                found.append((start, i, max(scores[start:i]) + 0.7 * video))
            start = None
    return found


def plain_precision(
    videos: list[tuple[list[tuple[int, int, float]], list[tuple[int, int]]]], overlap: float
) -> float:
    """Sets of frames, as the published code compares them."""
    predictions = sorted(
        (
            (score, v, start, end)
            for v, (rows, _) in enumerate(videos)
            for start, end, score in rows
        ),
        key=lambda row: -row[0],
    )
    free = [(v, start, end) for v, (_, truth) in enumerate(videos) for start, end in truth]
    count, hits, total = len(free), 0, 0.0
    for rank, (_, v, start, end) in enumerate(predictions, 1):
        best, claimed = 0.0, None
        for interval in free:
            if interval[0] != v:
                continue
            a, b = set(range(start, end)), set(range(interval[1], interval[2]))
            share = len(a & b) / len(a | b)
            if share >= overlap and share > best:
                best, claimed = share, interval
        if claimed is not None:
            free.remove(claimed)
            hits += 1
            total += hits / rank
    return total / count


@given(score_lists)
def test_intervals_are_those_of_the_published_protocol(scores: list[int]) -> None:
    ours = propose_intervals(np.array(scores, dtype=np.float64))
    plain = plain_proposals([float(score) for score in scores])
    assert len(ours) == len(plain)
    np.testing.assert_allclose(ours, np.array(plain).reshape(-1, 3))


@st.composite
def videos(draw: st.DrawFn) -> list[tuple[list[int], list[tuple[int, int]]]]:
    found = []
    for _ in range(draw(st.integers(1, 4))):
        scores = draw(score_lists)
        cuts = sorted(draw(st.sets(st.integers(0, len(scores)), max_size=6)))
        found.append((scores, list(zip(cuts[::2], cuts[1::2], strict=False))))
    return found


@given(videos(), st.sampled_from(OVERLAPS))
def test_precision_is_that_of_the_published_protocol(
    drawn: list[tuple[list[int], list[tuple[int, int]]]], overlap: float
) -> None:
    ours = [
        LocalisedVideo(
            propose_intervals(np.array(scores, dtype=np.float64)),
            np.array(truth, dtype=np.float64).reshape(-1, 2),
        )
        for scores, truth in drawn
    ]
    found = interval_precision(ours, overlap)
    if not any(truth for _, truth in drawn):
        assert np.isnan(found)
        return
    plain = [(plain_proposals([float(s) for s in scores]), truth) for scores, truth in drawn]
    assert found == pytest.approx(plain_precision(plain, overlap))


def test_a_perfect_answer_is_one_and_an_interval_is_claimed_once() -> None:
    truth = np.array([[10.0, 20.0], [30.0, 40.0]])
    perfect = np.array([[10, 20, 0.9], [30, 40, 0.8]])
    assert all(
        value == pytest.approx(1.0)
        for value in mean_average_precision([LocalisedVideo(perfect, truth)]).values()
    )
    twice = np.array([[10, 20, 0.9], [10, 20, 0.8]])
    assert interval_precision([LocalisedVideo(twice, truth)], 0.5) == pytest.approx(0.5)


def test_boundaries_are_those_of_the_event_that_overlaps_most() -> None:
    events = np.array([[0.0, 2.0], [9.0, 21.0]])
    truth = np.array([[1.0, 20.0], [50.0, 60.0]])
    assert boundary_errors(events, truth).tolist() == [8.0, 1.0]
    assert overlap_shares(events, truth)[:, 1].tolist() == [0.0, 0.0]
    assert boundary_errors(np.empty((0, 2)), truth).size == 0
