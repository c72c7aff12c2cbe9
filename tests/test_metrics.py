"""Metrics equal those of scikit-learn to 1e-12, with ties and weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

from oddframe.errors import InputError
from oddframe.metrics import (
    LabelledScores,
    accuracy,
    average_precision,
    false_alarm_rate,
    frame_metrics,
    roc_auc,
    trapezoid_ap,
)
from oddframe.timeline import ScoreTrack, Timebase


@st.composite
def rows(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Labels of both classes, scores with many ties, weights with zeros or none."""
    n = draw(st.integers(2, 300))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = np.concatenate([[0, 1], rng.integers(0, 2, n)])
    scores = np.round(rng.random(n + 2), draw(st.integers(0, 3)))
    if draw(st.booleans()):
        return labels, scores, None
    weights = rng.integers(0, 17, n + 2).astype(float)
    weights[:2] = 1
    return labels, scores, weights


@given(rows())
def test_metrics_equal_scikit_learn(row):
    labels, scores, weights = row
    precision, recall, _ = precision_recall_curve(labels, scores, sample_weight=weights)
    expected = (
        roc_auc_score(labels, scores, sample_weight=weights),
        average_precision_score(labels, scores, sample_weight=weights),
        auc(recall, precision),
    )
    ours = [
        figure(labels, scores, weights) for figure in (roc_auc, average_precision, trapezoid_ap)
    ]
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)


@given(rows())
def test_a_weight_counts_as_so_many_frames(row):
    labels, scores, weights = row
    counts = np.ones(len(labels), int) if weights is None else weights.astype(int)
    for figure in (roc_auc, average_precision, trapezoid_ap):
        repeated = figure(np.repeat(labels, counts), np.repeat(scores, counts))
        assert figure(labels, scores, weights) == pytest.approx(repeated, abs=1e-12)


@given(rows())
def test_only_the_order_of_scores_matters(row):
    labels, scores, weights = row
    assert roc_auc(labels, scores, weights) == roc_auc(labels, scores * 2.0, weights)
    assert roc_auc(labels, -scores, weights) == pytest.approx(1 - roc_auc(labels, scores, weights))


def test_undefined_metrics_are_nan():
    assert np.isnan(roc_auc([0, 0], [0.1, 0.2]))
    assert np.isnan(roc_auc([1, 1], [0.1, 0.2]))
    assert np.isnan(average_precision([0, 0], [0.1, 0.2]))
    assert np.isnan(trapezoid_ap([], []))
    assert np.isnan(false_alarm_rate([]))
    assert np.isnan(accuracy([], []))
    assert average_precision([1, 1], [0.1, 0.2]) == 1.0


def by_scores(labels, scores, weights=None):
    """``false_alarm_rate`` with the arguments of the other metrics."""
    return false_alarm_rate(scores, weights=weights)


def by_labels(labels, scores, weights=None):
    """``accuracy`` with the arguments of the other metrics; it takes no weights."""
    return accuracy(labels, scores)


def over_videos(labels, scores, weights=None):
    """``frame_metrics`` of one abnormal video."""
    rows = np.asarray(labels), np.asarray(scores), None if weights is None else np.asarray(weights)
    return frame_metrics([LabelledScores(*rows)]).ap


FIGURES = [roc_auc, average_precision, trapezoid_ap, by_scores, by_labels, over_videos]
LABELLED = [figure for figure in FIGURES if figure is not by_scores]
WEIGHTED = [figure for figure in FIGURES if figure is not by_labels]


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused(figure, bad):
    with pytest.raises(InputError, match="1 of 2 scores are not finite"):
        figure([0, 1], [0.1, bad])


@pytest.mark.parametrize("figure", LABELLED)
def test_bad_labels_are_refused(figure):
    with pytest.raises(InputError, match="one label a score"):
        figure([0, 1, 1], [0.1, 0.2])
    with pytest.raises(InputError, match="labels must be 0"):
        figure([0, 2], [0.1, 0.2])
    with pytest.raises(InputError, match="labels must be 0"):
        figure([0, np.nan], [0.1, 0.2])


@pytest.mark.parametrize("figure", WEIGHTED)
def test_bad_weights_are_refused(figure):
    with pytest.raises(InputError, match="1 of 2 weights are negative"):
        figure([0, 1], [0.1, 0.2], [1, -1])
    with pytest.raises(InputError, match="1 of 2 weights are not finite"):
        figure([0, 1], [0.1, 0.2], [1, np.nan])
    with pytest.raises(InputError, match="one weight a score"):
        figure([0, 1], [0.1, 0.2], [1, 1, 1])
    with pytest.raises(InputError, match="sum of the weights is not finite"):
        figure([0, 1], [0.1, 0.2], [1e308, 1e308])


def test_other_shapes_and_types_are_refused():
    for scores in ([["a"], ["b"]], [[0.1, 0.2]], ["a", "b"], [None, 1.0], [[1], [1, 2]], 0.5):
        for figure in (roc_auc, by_scores, by_labels):
            with pytest.raises(InputError, match="scores must be"):
                figure([0, 1], scores)
    with pytest.raises(InputError, match="labels must be in one row"):
        accuracy([[1], [1, 2]], [0.1, 0.2])
    with pytest.raises(InputError, match="threshold must be a number"):
        accuracy([1], [0.1], np.nan)


def test_each_video_needs_as_many_labels_as_scores():
    longer = LabelledScores(np.array([True, False, True]), np.array([0.1, 0.2]))
    shorter = LabelledScores(np.array([True, False]), np.array([0.1, 0.2, 0.3]))
    with pytest.raises(InputError, match="one label a score"):
        frame_metrics([longer, shorter])


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=6),
    st.lists(st.floats(allow_nan=True, allow_infinity=True) | st.integers(0, 3), max_size=6),
    st.lists(st.sampled_from([0, 1, 0, 1, 2, np.nan]), max_size=6),
)
def test_a_metric_is_in_0_to_1_or_nan_or_refused(scores, weights, labels):
    for figure in FIGURES:
        try:
            found = figure(labels, scores, weights)
        except InputError:
            continue
        assert np.isnan(found) or 0 <= found <= 1 + 1e-12


def test_false_alarm_rate_and_accuracy_count_scores_above_the_threshold():
    assert false_alarm_rate([0.5, 0.6, 0.1, 0.9]) == 0.5
    assert false_alarm_rate([0.6, 0.1], weights=[1, 3]) == 0.25
    assert accuracy([1, 0, 1, 0], [0.9, 0.2, 0.3, 0.6]) == 0.5


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(16, 16, None), (16, 8, None), (16, 8, 12.5)]))
def test_runs_of_frames_give_the_metrics_of_frames(seed, sampling):
    snippet, stride, rate = sampling
    rng = np.random.default_rng(seed)
    as_runs, as_frames = [], []
    for abnormal in (True, False, True):
        timebase = Timebase(25.0, int(rng.integers(1, 400)), snippet, stride, rate)
        track = ScoreTrack(np.round(rng.random(timebase.n_snippets), 1), timebase)
        labels = np.zeros(timebase.n_frames, bool)
        if abnormal:
            labels[: rng.integers(1, timebase.n_frames + 1)] = True
        as_runs.append(LabelledScores.from_track(track, labels))
        as_frames.append(LabelledScores(labels, track.to_frames()))
    runs, frames = frame_metrics(as_runs), frame_metrics(as_frames)
    np.testing.assert_allclose(
        list(vars(runs).values()), list(vars(frames).values()), rtol=0, atol=1e-12
    )
    labels = np.concatenate([v.labels for v in as_frames])
    scores = np.concatenate([v.scores for v in as_frames])
    if 0 < labels.sum() < len(labels):
        assert runs.auc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    within = [as_frames[0], as_frames[2]]
    assert runs.ap_sub == pytest.approx(
        average_precision(
            np.concatenate([v.labels for v in within]), np.concatenate([v.scores for v in within])
        ),
        abs=1e-12,
    )
    assert runs.far == pytest.approx(np.mean(as_frames[1].scores > 0.5), abs=1e-12)
    assert (runs.n_videos, runs.n_abnormal) == (3, 2)
    assert (runs.n_frames, runs.n_anomalous) == (len(labels), labels.sum())


def test_metrics_of_no_videos_are_nan():
    metrics = frame_metrics([])
    assert np.isnan(metrics.auc)
    assert np.isnan(metrics.far)
    assert metrics.n_frames == 0
