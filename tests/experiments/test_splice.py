"""Spliced videos: exact labels, times that fit, the same seed the same videos."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oddframe.errors import InputError, UsageError
from oddframe.experiments.splice import Spliced, SpliceRule, splice

from .conftest import make_clips

CLIPS = make_clips()
RULE = SpliceRule(normal_videos=4, abnormal_videos=6)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_videos_are_what_the_rule_says(seed):
    videos = splice(CLIPS, RULE, seed)
    assert [video.abnormal for video in videos] == [False] * 4 + [True] * 6
    for video in videos:
        assert 8 <= len(video.clips) <= 12
        assert len({clip.name for clip in video.clips}) == len(video.clips)
        assert sum(clip.abnormal for clip in video.clips) in ((1, 2, 3) if video.abnormal else (0,))
    assert splice(CLIPS, RULE, seed) == videos


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_labels_truth_and_track_agree(seed):
    for video in splice(CLIPS, RULE, seed):
        # Scores that name the clip that a snippet is of.
        counts = [clip.timebase.n_snippets for clip in video.clips]
        which = np.repeat(np.arange(len(counts)), counts)
        track = video.track(which.astype(float))
        assert video.array.shape == (1, len(which), 6)
        frames = track.to_frames()
        odd = np.array([clip.abnormal for clip in video.clips])
        np.testing.assert_array_equal(odd[frames.astype(int)], video.labels)
        times = track.timebase.frame_times
        inside = np.zeros(len(times), bool)
        for start, end in video.truth:
            inside |= (times >= start - 1e-9) & (times < end - 1e-9)
        np.testing.assert_array_equal(inside, video.labels)
        length = sum(clip.timebase.duration_s for clip in video.clips)
        assert track.timebase.duration_s == pytest.approx(length)
        for (_, end), (start, _) in zip(video.truth, video.truth[1:], strict=False):
            assert start > end


def test_few_clips_are_used_more_than_once():
    few = (CLIPS[0], CLIPS[1])
    (video,) = splice(few, SpliceRule((8, 8), (2, 2), 0, 1), 0)
    assert sum(clip.abnormal for clip in video.clips) == 2
    assert len(video.clips) == 8


def test_missing_classes_and_wrong_scores_are_refused():
    with pytest.raises(UsageError, match="needs normal clips"):
        splice(CLIPS[1::2], RULE, 0)
    with pytest.raises(InputError, match="snippets, but scores"):
        Spliced(CLIPS[:2]).track(np.zeros(1))


def test_training_sees_its_own_views():
    few = [replace(clip, other_views=(clip.array[0], clip.array[0, ::2])) for clip in CLIPS[:4:2]]
    video = Spliced(tuple(few))
    whole, sparse = video.views
    np.testing.assert_array_equal(whole, video.array[0])
    assert len(sparse) == sum(-(-clip.timebase.n_snippets // 2) for clip in few)
