"""Metrics of score curves whose events, errors and delays can be counted by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from oddframe.datasets.labelled import GroundTruth, LabelledVideo
from oddframe.errors import UsageError
from oddframe.evaluation.confidence import Interval, binomial_interval
from oddframe.evaluation.evaluate import ScoredVideo, evaluate_scores, official_scores
from oddframe.events import EventRule, smooth_frame_scores
from oddframe.outputs.pages.evaluation_text import (
    describe_intervals,
    evaluation_to_dict,
    evaluation_to_markdown,
    format_interval,
    key_figures,
)
from oddframe.timeline import ScoreTrack, Timebase

RULE = EventRule(threshold=0.5, release=0.5, merge_gap_s=0.0)


def judged(
    scores: Sequence[float],
    label: str = "normal",
    *,
    truth: Sequence[tuple[float, float]] | None = None,
    group: str = "",
    frames: int | None = None,
    rule: EventRule | None = None,
) -> ScoredVideo:
    """A video of 16 frames a second, so that a snippet lasts a second; truth in seconds."""
    base = Timebase(16.0, frames or 16 * len(scores))
    known = None if truth is None else GroundTruth(tuple(truth), "seconds")
    name = f"{label}{len(scores)}{group}.mp4"
    video = LabelledVideo(Path(name), label != "normal", label, group or name, known)
    return ScoredVideo(video, ScoreTrack(np.array(scores, dtype=float), base), rule)


def test_events_delays_and_false_alarms_are_counted() -> None:
    found = evaluate_scores(
        [
            # One true event found a second late, one missed, and an alarm in between.
            judged([0, 0, 0, 0.9, 0, 0.8, 0, 0, 0, 0], "fight", truth=[(2, 5), (7, 9)]),
            judged([0.1] * 20),
            judged([0.1, 0.7, 0.1, 0.6, 0.1]),
        ],
        RULE,
    )
    whole = found.overall
    assert (whole.found, whole.missed, whole.delays_s) == (1, 1, (1.0,))
    assert whole.false_alarms.count == 3
    assert whole.false_alarms.hours == pytest.approx((5 + 20 + 5) / 3600)
    c = whole.confusion
    assert (c.true_positives, c.false_negatives, c.false_positives, c.true_negatives) == (
        1,
        0,
        1,
        1,
    )
    assert c.accuracy == pytest.approx(2 / 3)
    assert [video.correct for video in found.videos] == [True, True, False]


def test_a_videos_score_is_the_highest_smoothed_one() -> None:
    """A single high snippet makes no event where scores are smoothed, and no high score."""
    curve = [0.0, 0.0, 0.0, 0.9, 0.0, 0.0, 0.0]
    rule = EventRule(threshold=0.5, release=0.5, merge_gap_s=0.0, smooth_s=3.0)
    plain, smooth = (evaluate_scores([judged(curve)], each).videos[0] for each in (RULE, rule))
    assert (plain.score, len(plain.events)) == (0.9, 1)
    assert len(smooth.events) == 0
    assert smooth.score == pytest.approx(float(smooth_frame_scores(smooth.track, 3.0).max()))
    assert smooth.score < 0.5


def test_without_times_there_are_only_video_metrics() -> None:
    found = evaluate_scores([judged([0.2, 0.9], "fight"), judged([0.3, 0.1])], RULE)
    assert found.overall.frames is None
    assert found.frame_auc is None
    assert found.overall.video_auc == 1.0
    # Nobody knows whether the fight's event is false: only the normal video tells of alarms.
    assert found.overall.false_alarms.hours == pytest.approx(2 / 3600)


def test_a_class_is_compared_with_all_normal_videos() -> None:
    videos = [
        judged([0.9], "fight"),
        judged([0.2], "theft"),
        judged([0.3], group="one"),
        judged([0.1], group="two"),
    ]
    found = evaluate_scores(videos, RULE)
    assert list(found.classes) == ["fight", "normal", "theft"]
    assert found.classes["fight"].video_auc == 1.0
    assert found.classes["theft"].video_auc == 0.5
    assert found.classes["theft"].confusion.false_negatives == 1
    assert np.isnan(found.classes["normal"].video_auc)
    assert found.groups["one"].videos == 1


def test_a_camera_may_have_its_own_rule() -> None:
    own = RULE.with_threshold(0.8)
    found = evaluate_scores([judged([0.7], group="a", rule=own), judged([0.7], group="b")], RULE)
    assert [video.predicted_abnormal for video in found.videos] == [False, True]


def test_intervals_need_enough_groups() -> None:
    def many(n: int) -> list[ScoredVideo]:
        dice = np.random.default_rng(0)
        return [
            judged(
                [float(dice.random() / 2 + i % 2 / 3)], ("normal", "fight")[i % 2], group=f"g{i}"
            )
            for i in range(n)
        ]

    assert evaluate_scores(many(4), RULE).video_auc is None
    interval = evaluate_scores(many(20), RULE).video_auc
    assert interval is not None
    assert interval.low <= interval.value <= interval.high
    assert interval.low < interval.high


@pytest.mark.parametrize("groups", [1, 4, 6, 12])
def test_twelve_of_twelve_videos_are_not_certain(groups: int) -> None:
    videos = [
        judged([0.9 * (i % 2)], ("normal", "fight")[i % 2], truth=[(0, 1)], group=f"g{i % groups}")
        for i in range(12)
    ]
    found = evaluate_scores(videos, RULE)
    assert found.overall.confusion.correct == 12
    assert (found.accuracy.value, found.accuracy.high) == (1.0, 1.0)
    assert found.accuracy.low == pytest.approx(0.025 ** (1 / 12))
    assert found.events_found is not None
    assert found.events_found.low == pytest.approx(0.025 ** (1 / 6))
    shown = {name: about for name, _, about in key_figures(found)}
    assert shown["videos right"] == "0.74 to 1.00"
    assert shown["true events found"] == "0.54 to 1.00, median delay 0.0 s"
    # Areas by resampling groups that are all alike: no interval rather than one without width.
    assert shown["video AUC"] == "12 videos"
    ends = evaluation_to_dict(found)["intervals_95"]
    assert ends["video_accuracy"] == [found.accuracy.low, 1.0]
    assert ends["video_auc"] is None or np.isnan(ends["video_auc"]).all()
    tables = evaluation_to_markdown(found)
    assert "exact 95 % intervals" in tables
    assert "1.00 to 1.00" not in tables


def test_groups_that_differ_widen_the_interval_of_a_share() -> None:
    """Two recordings all wrong, four all right: six observations, not sixty."""
    videos = [judged([0.9 * (i % 6 < 2)], group=f"g{i % 6}") for i in range(60)]
    found = evaluate_scores(videos, RULE).accuracy
    exact = binomial_interval(40, 60)
    assert found.value == exact.value
    assert found.low < exact.low - 0.1
    assert found.high > exact.high + 0.1
    assert "by resampling whole groups" in describe_intervals(evaluate_scores(videos, RULE))
    assert "for independent" in describe_intervals(evaluate_scores(videos[:4], RULE))


def test_interval_ends_have_enough_digits() -> None:
    assert format_interval(Interval(0.9, 0.8501, 0.949)) == "0.85 to 0.95"
    assert format_interval(Interval(0.998, 0.9961, 0.9999)) == "0.996 to 1.000"
    assert format_interval(Interval(1.0, float("nan"), float("nan"))) == format_interval(None) == ""


def test_no_videos_are_an_error() -> None:
    with pytest.raises(UsageError, match="nothing to evaluate"):
        evaluate_scores([], RULE)


@given(st.data())
def test_both_protocols_match_a_plain_implementation(data: st.DataObject) -> None:
    score = st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0])
    videos, exact, official = [], ([], []), ([], [])
    for i in range(data.draw(st.integers(1, 4))):
        frames = data.draw(st.integers(1, 70))
        snippets = Timebase(16.0, frames).n_snippets
        scores = data.draw(st.lists(score, min_size=snippets, max_size=snippets))
        truth = [(0, data.draw(st.integers(1, frames)) / 16)]
        each = judged(scores, "fight", truth=truth, frames=frames, group=str(i))
        videos.append(each)
        labels = GroundTruth(tuple(truth), "seconds").frame_labels(each.track.timebase)
        exact[0].append(labels)
        exact[1].append(each.track.to_frames())
        whole = frames // 16
        official[0].append(labels[: 16 * whole])
        official[1].append(np.repeat(each.track.scores[:whole], 16))
    for protocol, (labels, scores) in (("frames", exact), ("official", official)):
        y, s = np.concatenate(labels), np.concatenate(scores)
        metrics = evaluate_scores(videos, RULE, protocol).overall.frames
        assert metrics is not None
        assert (metrics.n_frames, metrics.n_anomalous) == (len(y), y.sum())
        if 0 < y.sum() < len(y):
            assert metrics.auc == pytest.approx(roc_auc_score(y, s))
            assert metrics.ap == pytest.approx(average_precision_score(y, s))


def test_the_official_protocol_ignores_videos_shorter_than_a_snippet() -> None:
    each = judged([0.4], "fight", truth=[(0, 1)], frames=9)
    assert official_scores(each.track, np.ones(9, dtype=bool)).scores.size == 0
