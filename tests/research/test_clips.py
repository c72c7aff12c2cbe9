"""Spliced videos: exact labels and times, and equal videos for equal seeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oddframe.errors import InputError, UsageError
from oddframe.research.clips import BenchmarkClip, SplicedVideo, splice
from oddframe.research.protocol import SpliceRule
from oddframe.timeline import Timebase

from .conftest import make_clips

CLIPS = make_clips()
RULE = SpliceRule(normal_videos=4, abnormal_videos=6)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_videos_follow_the_rule(seed):
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
        SplicedVideo(CLIPS[:2]).track(np.zeros(1))


def test_training_reads_its_own_views():
    few = [replace(clip, other_views=(clip.array[0], clip.array[0, ::2])) for clip in CLIPS[:4:2]]
    video = SplicedVideo(tuple(few))
    whole, sparse = video.views
    np.testing.assert_array_equal(whole, video.array[0])
    assert len(sparse) == sum(-(-clip.timebase.n_snippets // 2) for clip in few)


@pytest.mark.parametrize("tiled", [False, True])
def test_trimmed_videos_keep_their_abnormal_clips(tiled):
    rng = np.random.default_rng(1)
    clips = []
    for number in range(24):
        length, odd = int(rng.integers(4, 20)), number % 2 == 1
        timebase = Timebase(30.0, 8 * (length - 1) + 16 + int(rng.integers(8)), 16, 8)
        truth = np.zeros(timebase.n_frames, bool)
        truth[len(truth) // 2 :] = odd
        array = rng.normal(size=(4, timebase.n_snippets, 3)).astype(np.float32)
        clips.append(BenchmarkClip(f"{number}", array, timebase, odd, f"r{number}", truth, tiled))
    rule = SpliceRule((6, 6), (1, 1), 12, 12, snippets=30)
    for video in splice(clips, rule, 0):
        assert video.array.shape == (4, 30, 3)
        assert video.views[0].shape == ((120, 3) if tiled else (30, 3))
        track = video.track(np.linspace(0, 1, 30))
        assert track.scores.shape == video.labels.shape == video.frame_times.shape
        whole = [
            clip
            for clip in clips
            if video.abnormal and clip.name in {part.name for part in video.clips if part.abnormal}
        ]
        assert video.labels.sum() == sum(clip.labels.sum() for clip in whole)
        assert len(video.truth) == len(whole)
    with pytest.raises(UsageError, match="cannot be cut to 300"):
        splice(clips, SpliceRule((6, 6), (1, 1), 2, 2, snippets=300), 0)
