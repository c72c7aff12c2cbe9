"""Folds never mix recordings, choices never use the test part, controls stay at chance level."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from benchmarks import control_rows as controls
from benchmarks.control_rows import (
    clip_auc_interval,
    differences_markdown,
    figures_markdown,
    inner_parts,
    run_nested,
    run_protocol,
    within_recordings_auc,
)
from oddframe.errors import UsageError
from oddframe.events import EventRule
from oddframe.research.clips import BenchmarkClip
from oddframe.research.fold_figures import (
    CLIP_COLUMNS,
    FRAME_COLUMNS,
    compute_fold_figures,
    paired_difference,
)
from oddframe.research.fold_training import smooth_scores, training_bags, with_equal_lengths
from oddframe.research.protocol import (
    BenchmarkProtocol,
    Folds,
    InnerFolds,
    OwnSplit,
    RandomDraws,
    SpliceRule,
)
from oddframe.timeline import Timebase
from oddframe.training.data.samplers import TrainingVideo

from .conftest import make_clips

SMALL = BenchmarkProtocol(
    split=Folds(3),
    repeats=2,
    train_on="clips",
    train_videos=SpliceRule(normal_videos=10, abnormal_videos=10),
    test_videos=SpliceRule((4, 6), (1, 2), 6, 6),
)
RULE = EventRule(merge_gap_s=0.2)


def first_dimension(bags, seed):
    """A trainer that learns nothing."""
    return lambda array: 1 / (1 + np.exp(2 - array[..., 0].mean(axis=0)))


def test_each_clip_is_tested_once_a_repeat_and_recordings_stay_whole(clips):
    parts = list(SMALL.parts(clips))
    assert len(parts) == 6
    for part in parts:
        assert not {c.group for c in part.train} & {c.group for c in part.test}
    for repeat in (0, 1):
        tested = [c.name for part in parts if part.repeat == repeat for c in part.test]
        assert sorted(tested) == sorted(c.name for c in clips)


def test_inner_folds_stay_inside_the_training_part(clips):
    part = next(iter(SMALL.parts(clips)))
    for inner in inner_parts(part, 2):
        assert {c.name for c in inner.train + inner.test} == {c.name for c in part.train}
        assert not {c.group for c in inner.train} & {c.group for c in inner.test}


def test_training_bags_are_clips_or_videos_with_their_labels(clips):
    assert len(training_bags(clips, SMALL, 0)) == len(clips)
    spliced = training_bags(clips, BenchmarkProtocol(train_videos=SMALL.train_videos), 0)
    assert [bag.abnormal for bag in spliced] == [False] * 10 + [True] * 10
    assert all(len(bag.views[0]) > clips[0].array.shape[1] for bag in spliced)


def test_a_separating_feature_gets_good_figures(clips):
    results = run_protocol(clips, first_dimension, SMALL)
    rows = compute_fold_figures(results, RULE, 60)
    for row in rows:
        assert min(row.auc, row.auc_sub, row.clip_auc, row.clip_accuracy, row.found) > 0.9
        assert 0 <= row.far < 0.1
    # A third of a fold's hours stand behind each threshold, so single folds are far off the wish.
    assert 0 <= np.mean([row.false_alarms_per_hour for row in rows]) < 400
    assert within_recordings_auc(results, draws=100).value == 1


def noisy_first_dimension(bags, seed):
    """A trainer that learns nothing and is right about most clips."""
    rng = np.random.default_rng(seed)
    return lambda array: (
        1 / (1 + np.exp(2 - array[..., 0].mean(axis=0) + 1.5 * rng.normal(size=array.shape[1])))
    )


def test_intervals_contain_the_figure(clips):
    results = run_protocol(clips, noisy_first_dimension, SMALL)
    for interval in (
        within_recordings_auc(results, draws=200),
        clip_auc_interval(results, draws=200),
    ):
        assert 0.5 < interval.low <= interval.value <= interval.high <= 1
        assert interval.low < interval.high


def test_the_same_protocol_gives_the_same_figures(clips):
    one, two = (
        compute_fold_figures(run_protocol(clips, first_dimension, SMALL), RULE, 60)
        for _ in range(2)
    )
    assert one == two


def test_controls_do_not_win(clips):
    many = BenchmarkProtocol(Folds(3), 4, "clips", SMALL.train_videos, SMALL.test_videos)
    shuffled = run_protocol(clips, controls.random_labels(controls.logistic_regression), many)
    learnt = run_protocol(clips, controls.logistic_regression, SMALL)
    assert np.mean([r.frames.auc for r in learnt]) > 0.9
    assert abs(np.mean([r.frames.auc for r in shuffled]) - 0.5) < 0.25
    for control in (controls.position_only, controls.length_only, controls.random_direction):
        results = run_protocol(clips, control, many)
        assert abs(np.mean([r.frames.auc for r in results]) - 0.5) < 0.15


def test_a_random_direction_is_at_chance_except_for_tiles():
    rng = np.random.default_rng(0)
    bags = [TrainingVideo((rng.normal(3, 2, (8, 6)).astype(np.float32),), i < 5) for i in range(10)]
    frames = rng.normal(3, 2, (2, 40, 6))
    frames[0, :10] += rng.normal(0, 12, (10, 6))  # Rare in one tile, in no direction of its own.
    odd = np.arange(40) < 10
    crops, tiles = [], []
    for seed in range(60):
        crops.append(roc_auc_score(odd, controls.random_direction(bags, seed)(frames[:1])))
        as_tiles = [replace(bag, tiles=2) for bag in bags]
        tiles.append(roc_auc_score(odd, controls.random_direction(as_tiles, seed)(frames)))
    assert abs(np.mean(crops) - 0.5) < 0.1
    assert np.mean(tiles) > np.mean(crops) + 0.05


def test_random_labels_keep_bags_and_counts():
    seen: list[TrainingVideo] = []

    def spy(bags, seed):
        seen.extend(bags)
        return first_dimension(bags, seed)

    bags = [TrainingVideo((np.full((1, 1), i, np.float32),), i < 5) for i in range(20)]
    controls.random_labels(spy)(bags, 0)
    assert [b.views[0].item() for b in seen] == list(range(20))
    assert sum(b.abnormal for b in seen) == 5
    assert [b.abnormal for b in seen] != [b.abnormal for b in bags]


@given(st.lists(st.booleans(), min_size=2), st.integers(0, 1000))
def test_shuffled_labels_are_independent_of_the_true_ones(labels, seed):
    truth = np.array(labels)
    new = controls.shuffle_labels(truth, np.random.default_rng(seed))
    assert new.sum() == truth.sum()
    for kind in (truth, ~truth):
        assert abs(new[kind].sum() - kind.sum() * truth.mean()) < 1


def test_logistic_regression_equals_scikit_learn(clips):
    bags = [TrainingVideo(clip.views, clip.abnormal) for clip in make_clips(gap=0.7)]
    scorer = controls.logistic_regression(bags, 0)
    x = np.stack([bag.views[0].mean(axis=0, dtype=np.float64) for bag in bags])
    scaler = StandardScaler().fit(x)
    theirs = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(
        scaler.transform(x), [bag.abnormal for bag in bags]
    )
    array = clips[0].array
    expected = theirs.predict_proba(scaler.transform(array[0].astype(np.float64)))[:, 1]
    np.testing.assert_allclose(scorer(array), expected, atol=1e-5)
    with pytest.raises(UsageError, match="normal and abnormal"):
        controls.logistic_regression(bags[::2], 0)


def test_nested_choice_takes_the_better_one_and_never_trains_on_test_recordings(clips):
    names = {clip.array.tobytes(): clip.group for clip in clips}
    trained: list[set[str]] = []

    def good(bags, seed):
        trained.append({names[bag.views[0].tobytes()] for bag in bags})
        return first_dimension(bags, seed)

    candidates = {"bad": controls.position_only, "good": good}
    one_repeat = BenchmarkProtocol(Folds(3), 1, "clips", SMALL.train_videos, SMALL.test_videos)
    results, chosen = run_nested(clips, candidates, one_repeat, inner_folds=2)
    assert chosen == ("good",) * 3
    for number, result in enumerate(results):
        test = {clip.group for clip in result.clips}
        for groups in trained[3 * number : 3 * number + 3]:
            assert not groups & test


def one_score_a_video(bags, seed):
    return lambda array: array[0, :1, 0]


def test_scorers_of_the_wrong_length_are_refused(clips):
    with pytest.raises(UsageError, match="snippets"):
        run_protocol(clips, one_score_a_video, SMALL)


def test_tables_are_markdown(clips):
    rows = {
        "ours": compute_fold_figures(run_protocol(clips, first_dimension, SMALL), RULE, 60),
        "position": compute_fold_figures(
            run_protocol(clips, controls.position_only, SMALL), RULE, 60
        ),
    }
    table = figures_markdown(rows, FRAME_COLUMNS + CLIP_COLUMNS).splitlines()
    assert table[0].startswith("| | AUC | AUC_sub | AP |")
    assert table[2].startswith("| ours | 100.0 ± 0.0 | ")
    assert len({line.count("|") for line in table}) == 1
    difference = paired_difference(rows["ours"], rows["position"], FRAME_COLUMNS[0])
    assert 20 < difference.low <= difference.value <= difference.high
    assert "position" in differences_markdown(rows, "ours", FRAME_COLUMNS).splitlines()[2]
    with pytest.raises(UsageError, match="same folds"):
        paired_difference(rows["ours"], rows["position"][1:], FRAME_COLUMNS[0])


def test_the_interval_of_clips_is_by_recording(clips):
    results = run_protocol(clips, first_dimension, SMALL)
    interval = clip_auc_interval(results, draws=200)
    assert interval.value == pytest.approx(
        np.mean([r.clip_auc for r in compute_fold_figures(results, RULE, 60)]), abs=0.05
    )


def test_pairs_within_a_recording_and_within_a_fold_count(clips):
    results = run_protocol(clips, first_dimension, SMALL)
    by_fold = [
        (roc_auc_score([c.abnormal for c in r.clips], r.clip_scores), len(r.clips) ** 2)
        for r in results
    ]
    assert clip_auc_interval(results, draws=10).value == pytest.approx(
        np.average([auc for auc, _ in by_fold], weights=[pairs for _, pairs in by_fold])
    )
    by_recording = []
    for result in results:
        for name in {clip.group for clip in result.clips}:
            own = np.array([clip.group == name for clip in result.clips])
            labels = np.array([clip.abnormal for clip in result.clips])[own]
            by_recording.append(roc_auc_score(labels, result.clip_scores[own]))
    assert within_recordings_auc(results, draws=10).value == pytest.approx(np.mean(by_recording))


def test_random_draws_train_on_a_few_clips_and_test_on_the_rest(clips):
    parts = list(BenchmarkProtocol(RandomDraws(4, 6), repeats=3).parts(clips))
    assert [part.repeat for part in parts] == [0, 1, 2]
    for part in parts:
        assert sum(clip.abnormal for clip in part.train) == 6
        assert len(part.train) == 10
        assert {c.name for c in part.train} | {c.name for c in part.test} == {c.name for c in clips}
        assert len(part.test) == len(clips) - 10
    assert parts[0].train != parts[1].train
    with pytest.raises(UsageError, match="leave no test"):
        list(BenchmarkProtocol(RandomDraws(400, 6)).parts(clips))


def test_the_own_split_is_used(clips):
    test = frozenset(clip.name for clip in clips[:20])
    (part, again) = BenchmarkProtocol(OwnSplit(test), repeats=2).parts(clips)
    assert {clip.name for clip in part.test} == test == {clip.name for clip in again.test}
    with pytest.raises(UsageError, match="0 to test on"):
        list(BenchmarkProtocol(OwnSplit(frozenset())).parts(clips))


def test_without_splicing_each_clip_is_a_test_video(clips):
    protocol = BenchmarkProtocol(RandomDraws(10, 10), repeats=1, train_on="clips", test_videos=None)
    (result,) = run_protocol(clips, first_dimension, protocol)
    assert [video.clips for video in result.videos] == [(clip,) for clip in result.clips]
    (found,) = compute_fold_figures((result,), RULE, 30)
    assert found.auc > 0.9
    assert np.isnan(found.found)


def plain_clips(lengths, abnormal):
    """Clips without a rate of their own, whose features are their snippets' numbers."""
    made = []
    for number, (length, odd) in enumerate(zip(lengths, abnormal, strict=True)):
        timebase = Timebase(25.0, 8 * (length - 1) + 16, 16, 8)
        array = np.arange(length, dtype=np.float32)[None, :, None]
        truth = np.zeros(timebase.n_frames, bool)
        truth[-10:] = odd
        made.append(BenchmarkClip(f"{number}.mp4", array, timebase, odd, f"r{number}", truth))
    return tuple(made)


def test_normal_clips_are_cut_to_lengths_of_abnormal_ones():
    clips = plain_clips([5, 6, 40, 50, 60, 3], [True, True, False, False, False, False])
    lengths = [clip.array.shape[1] for clip in with_equal_lengths(clips, 0)]
    assert lengths[:2] == [5, 6]
    assert set(lengths[2:5]) <= {5, 6}
    assert lengths[5] == 3
    for clip in with_equal_lengths(clips, 0):
        assert clip.timebase.n_snippets == clip.array.shape[1]


def test_a_window_hides_the_length_and_scores_every_snippet_once():
    seen = []

    def trainer(bags, seed):
        def scorer(array):
            seen.append(array.shape[1])
            return array[0, :, 0].astype(np.float64)

        return scorer

    clips = plain_clips([9, 23, 4, 10], [True, False, True, False])
    protocol = BenchmarkProtocol(
        OwnSplit(frozenset({"0.mp4", "1.mp4"})), 1, "clips", test_videos=None, window=8
    )
    (result,) = run_protocol(clips, trainer, protocol)
    assert set(seen) == {8}
    (first, second) = result.videos
    np.testing.assert_array_equal(result.tracks[0].scores, first.track(np.arange(9.0)).scores)
    np.testing.assert_array_equal(result.tracks[1].scores, second.track(np.arange(23.0)).scores)


def test_smoothing_keeps_constants_and_spreads_a_peak():
    np.testing.assert_allclose(smooth_scores(np.full(7, 0.3), 2.0), 0.3)
    peak = smooth_scores(np.eye(1, 21, 10)[0], 1.5)
    assert peak.argmax() == 10
    assert peak[8] == pytest.approx(peak[12])
    assert 0.9 < peak.sum() < 1.1


def test_choices_are_made_inside_the_training_parts(clips):
    outer, inner = RandomDraws(12, 12), InnerFolds(RandomDraws(12, 12), 2)
    (part,) = outer.parts(clips, 1, 0)
    parts = list(inner.parts(clips, 1, 0))
    assert [p.fold for p in parts] == [0, 1]
    training = {clip.name for clip in part.train}
    for each in parts:
        assert {c.name for c in each.train} | {c.name for c in each.test} == training
        assert not {c.group for c in each.train} & {c.group for c in each.test}
