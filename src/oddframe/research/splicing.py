"""Untrimmed videos that are spliced from the clips of a benchmark.

They have exact frame labels. They are a benchmark of this project, not a published one, and their
joins are cuts: no snippet looks across one. A method may learn that the scene changes at a cut, in
normal and in abnormal videos alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oddframe.errors import InputError, UsageError
from oddframe.features.lazy_array import (
    AnyFeatures,
    FeatureArray,
)
from oddframe.research.clips import BenchmarkClip
from oddframe.research.protocol import SpliceRule
from oddframe.timeline import FloatArray, ScoreTrack, Timebase, labelled_intervals
from oddframe.training.data.samplers import views_of


@dataclass(frozen=True)
class SplicedVideo:
    """An untrimmed video: clips one after another."""

    clips: tuple[BenchmarkClip, ...]

    @property
    def abnormal(self) -> bool:
        """Whether any of its clips is abnormal."""
        return any(clip.abnormal for clip in self.clips)

    @property
    def array(self) -> AnyFeatures:
        """(C, T, D) features of all its clips."""
        if len(self.clips) == 1:
            return self.clips[0].array
        return np.concatenate([clip.array for clip in self.clips], axis=1)

    @property
    def views(self) -> Sequence[FeatureArray]:
        """What training reads, each (T, D): every view of its clips, concatenated."""
        if self.clips[0].tiled:
            return views_of(self.array, tiled=True)
        rows = zip(*(clip.views for clip in self.clips), strict=True)
        return tuple(np.concatenate(row) for row in rows)

    @property
    def labels(self) -> NDArray[np.bool_]:
        """(n_frames,) which frames are abnormal."""
        return np.concatenate([clip.labels for clip in self.clips])

    @property
    def starts_s(self) -> FloatArray:
        """(n_clips + 1,) when each clip starts, and when the last one ends, in seconds."""
        return np.append(0.0, np.cumsum([clip.timebase.duration_s for clip in self.clips]))

    @property
    def truth(self) -> tuple[tuple[float, float], ...]:
        """Abnormal half-open intervals (start, end) in seconds; adjoining ones are merged."""
        return labelled_intervals(self.labels, np.append(self.frame_times, self.starts_s[-1]))

    @property
    def frame_times(self) -> FloatArray:
        """(n_frames,) when each frame is first shown, in seconds."""
        return np.concatenate(
            [
                clip.timebase.frame_times - clip.timebase.frame_times[0] + start
                for clip, start in zip(self.clips, self.starts_s[:-1], strict=True)
            ]
        )

    def track(self, scores: FloatArray) -> ScoreTrack:
        """Snippet scores (T,) of ``array`` as a track with one score per frame.

        Each clip's scores go to its own frames, so that the frame labels are exact whatever the
        clips' lengths and frame rates.
        """
        counts = [clip.timebase.n_snippets for clip in self.clips]
        if scores.shape != (sum(counts),):
            raise InputError(f"{sum(counts)} snippets, but scores of shape {scores.shape}")
        parts = np.split(scores, np.cumsum(counts)[:-1])
        frames = [c.timebase.to_frames(part) for c, part in zip(self.clips, parts, strict=True)]
        last = self.clips[-1].timebase
        lengths = [len(part) for part in frames]
        gaps = tuple(
            gap + sum(lengths[:number])
            for number, clip in enumerate(self.clips)
            for gap in clip.timebase.gaps
        )
        timebase = Timebase(last.fps, sum(lengths), 1, 1, None, self.frame_times, gaps=gaps)
        return ScoreTrack(np.concatenate(frames), timebase)


def splice(clips: Sequence[BenchmarkClip], rule: SpliceRule, seed: int) -> tuple[SplicedVideo, ...]:
    """Splice untrimmed videos from random ``clips``, the normal videos first.

    The same seed gives the same videos. A clip occurs once in a video if there are enough clips,
    and in any number of videos.

    Raises:
        UsageError: there are no clips of a class that the rule needs.
    """
    rng = np.random.default_rng(seed)
    normal = [clip for clip in clips if not clip.abnormal]
    abnormal = [clip for clip in clips if clip.abnormal]
    if not normal or (rule.abnormal_videos and not abnormal):
        raise UsageError("splicing needs normal clips, and abnormal ones for abnormal videos")
    videos = []
    for number in range(rule.normal_videos + rule.abnormal_videos):
        total = int(rng.integers(rule.clips[0], rule.clips[1] + 1))
        low, high = rule.abnormal_clips if number >= rule.normal_videos else (0, 0)
        n_abnormal = min(int(rng.integers(low, high + 1)), total)
        picked = [*_draw(abnormal, n_abnormal, rng), *_draw(normal, total - n_abnormal, rng)]
        video = SplicedVideo(tuple(picked[i] for i in rng.permutation(total)))
        videos.append(video if rule.snippets is None else trim_to_length(video, rule.snippets, rng))
    return tuple(videos)


def trim_to_length(video: SplicedVideo, snippets: int, rng: np.random.Generator) -> SplicedVideo:
    """Exactly ``snippets`` snippets of a video, from a random start, with all its abnormal clips.

    Raises:
        UsageError: the video is shorter than that, or its abnormal clips span more.
    """
    edges = np.append(0, np.cumsum([clip.timebase.n_snippets for clip in video.clips]))
    abnormal = [i for i, clip in enumerate(video.clips) if clip.abnormal]
    low, high = 0, int(edges[-1]) - snippets
    if abnormal:
        low = max(low, int(edges[abnormal[-1] + 1]) - snippets)
        high = min(high, int(edges[abnormal[0]]))
    if low > high:
        raise UsageError(
            f"{edges[-1]} snippets of {len(video.clips)} clips cannot be cut to {snippets}: "
            "join more clips, or cut longer videos"
        )
    start = int(rng.integers(low, high + 1))
    kept = []
    for clip, first, end in zip(video.clips, edges[:-1], edges[1:], strict=True):
        begin, stop = max(0, start - int(first)), min(int(end), start + snippets) - int(first)
        if begin < stop:
            kept.append(clip.cut(begin, stop))
    return SplicedVideo(tuple(kept))


def _draw(
    clips: Sequence[BenchmarkClip], count: int, rng: np.random.Generator
) -> list[BenchmarkClip]:
    if not count:
        return []
    picks = rng.choice(len(clips), size=count, replace=count > len(clips))
    return [clips[int(i)] for i in picks]
