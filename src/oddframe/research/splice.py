"""Short labelled clips -> untrimmed videos with exact frame labels, joined as features.

A benchmark of ours, not a published one, and its joins are cuts: no snippet looks across one, and a
method may learn that a scene changes there, in normal and in abnormal videos alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oddframe.datasets.labelled import Dataset
from oddframe.errors import InputError, UsageError
from oddframe.features.lazy_array import AnyFeatures, CropViews, FeatureArray, slice_snippets
from oddframe.features.spec import Features
from oddframe.timeline import FloatArray, ScoreTrack, Timebase, labelled_intervals
from oddframe.training.data.samplers import views_of


@dataclass(frozen=True)
class Clip:
    """One clip as features.

    Attributes:
        name: Path of the clip in its data set.
        array: (C crops, T snippets, D) features.
        timebase: Of the clip.
        abnormal: Its label, which holds for each of its frames unless ``truth`` says otherwise.
        group: The recording that it was cut from.
        truth: (n_frames,) which of its frames are odd, where that is known.
        tiled: The crops are tiles: instances of one bag, the highest gives a snippet's score.
        other_views: Each (T', D), what training sees of it otherwise than scoring: more crops,
            another stride or size; empty: the crops of ``array``.
        first_frame: Frame of the file that is its first, where it was cut from a longer clip.
        bags: Its views in the recipe's segments, each (S, D), where they were cut before.
    """

    name: str
    array: AnyFeatures
    timebase: Timebase
    abnormal: bool
    group: str
    truth: NDArray[np.bool_] | None = None
    tiled: bool = False
    other_views: Sequence[FeatureArray] = ()
    first_frame: int = 0
    bags: Sequence[FeatureArray] | None = None

    @property
    def labels(self) -> NDArray[np.bool_]:
        """(n_frames,) which frames are odd."""
        if self.truth is not None:
            return self.truth
        return np.full(self.timebase.n_frames, self.abnormal)

    @property
    def views(self) -> Sequence[FeatureArray]:
        """What training sees of it, each (T, D); of tiles one, (tiles * T, D)."""
        return self.other_views or views_of(self.array, tiled=self.tiled)

    def cut(self, start: int, stop: int) -> Clip:
        """Its snippets from ``start`` to before ``stop``, with the frames that they look at.

        Raises:
            UsageError: training sees other features of it, or its frame rate varies.
        """
        time = self.timebase
        if self.other_views or time.pts is not None or time.rate is not None:
            raise UsageError(f"{self.name}: only clips with one set of features, frame by frame")
        first = start * time.stride
        last = time.n_frames if stop >= time.n_snippets else (stop - 1) * time.stride
        if stop < time.n_snippets:
            last += max(time.snippet_frames, time.stride)
        kept = replace(time, n_frames=min(last, time.n_frames) - first)
        truth = None if self.truth is None else self.truth[first : first + kept.n_frames]
        return replace(
            self,
            array=slice_snippets(self.array, start, stop),
            timebase=kept,
            truth=truth,
            first_frame=self.first_frame + first,
            bags=None,
        )


def clips_of(
    dataset: Dataset,
    features: Mapping[Path, Features],
    training: Mapping[Path, Sequence[Features]] | None = None,
) -> tuple[Clip, ...]:
    """The clips of a data set with their features, in its order.

    Args:
        dataset: The clips.
        features: What scoring sees of each.
        training: What training sees of each, if it is something else.

    Raises:
        InputError: features of a clip are missing.
    """
    if missing := [video.path for video in dataset.videos if video.path not in features]:
        raise InputError(f"{dataset.name}: no features of {missing[0]} ({len(missing)} lacking)")
    clips = []
    for video in dataset.videos:
        scored, seen = features[video.path], (training or {}).get(video.path, ())
        views = CropViews([each.array for each in seen])
        truth = None if video.truth is None else video.truth.frame_labels(scored.timebase)
        clip = Clip(str(video.path), scored.array, scored.timebase, video.abnormal, video.group)
        tiled = scored.spec.tiles is not None
        clips.append(replace(clip, truth=truth, tiled=tiled, other_views=() if tiled else views))
    return tuple(clips)


@dataclass(frozen=True)
class Spliced:
    """An untrimmed video: clips one after another."""

    clips: tuple[Clip, ...]

    @property
    def abnormal(self) -> bool:
        """Whether one of its clips is."""
        return any(clip.abnormal for clip in self.clips)

    @property
    def array(self) -> AnyFeatures:
        """(C, T, D) features of all clips in a row."""
        if len(self.clips) == 1:
            return self.clips[0].array
        return np.concatenate([clip.array for clip in self.clips], axis=1)

    @property
    def views(self) -> Sequence[FeatureArray]:
        """What training sees of it, each (T, D): every view of its clips in a row."""
        if self.clips[0].tiled:
            return views_of(self.array, tiled=True)
        rows = zip(*(clip.views for clip in self.clips), strict=True)
        return tuple(np.concatenate(row) for row in rows)

    @property
    def labels(self) -> NDArray[np.bool_]:
        """(n_frames,) True where a frame is of an abnormal clip."""
        return np.concatenate([clip.labels for clip in self.clips])

    @property
    def starts_s(self) -> FloatArray:
        """(n_clips + 1,) when each clip starts, and when the last one ends, in seconds."""
        return np.append(0.0, np.cumsum([clip.timebase.duration_s for clip in self.clips]))

    @property
    def truth(self) -> tuple[tuple[float, float], ...]:
        """Half-open intervals (start, end) in seconds; abnormal neighbours are one interval."""
        return labelled_intervals(self.labels, np.append(self.frame_times, self.starts_s[-1]))

    @property
    def frame_times(self) -> FloatArray:
        """(n_frames,) when each frame of each clip is first shown, in seconds."""
        return np.concatenate(
            [
                clip.timebase.frame_times - clip.timebase.frame_times[0] + start
                for clip, start in zip(self.clips, self.starts_s[:-1], strict=True)
            ]
        )

    def track(self, scores: FloatArray) -> ScoreTrack:
        """Snippet scores (T,) of ``array`` as a track with one score a frame.

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
        joined = Timebase(last.fps, sum(lengths), 1, 1, None, self.frame_times, gaps=gaps)
        return ScoreTrack(np.concatenate(frames), joined)


@dataclass(frozen=True)
class SpliceRule:
    """How videos are put together.

    Attributes:
        clips: Fewest and most clips a video.
        abnormal_clips: Fewest and most abnormal ones among them in an abnormal video.
        normal_videos: Normal videos to make.
        abnormal_videos: Abnormal videos to make.
        snippets: Length that every video is cut to, at its ends and never into the abnormal clips,
            so that the length tells nothing; None: as long as they come.
    """

    clips: tuple[int, int] = (8, 12)
    abnormal_clips: tuple[int, int] = (1, 3)
    normal_videos: int = 20
    abnormal_videos: int = 20
    snippets: int | None = None


def splice(clips: Sequence[Clip], rule: SpliceRule, seed: int) -> tuple[Spliced, ...]:
    """Draw untrimmed videos from ``clips``, the normal ones first; the same seed, the same videos.

    A clip occurs once in a video if there are enough of them, and in as many videos as it is drawn.

    Raises:
        UsageError: clips of a class that the rule asks for are missing.
    """
    rng = np.random.default_rng(seed)
    calm = [clip for clip in clips if not clip.abnormal]
    odd = [clip for clip in clips if clip.abnormal]
    if not calm or (rule.abnormal_videos and not odd):
        raise UsageError("splicing needs normal clips, and abnormal ones for abnormal videos")
    videos = []
    for number in range(rule.normal_videos + rule.abnormal_videos):
        total = int(rng.integers(rule.clips[0], rule.clips[1] + 1))
        low, high = rule.abnormal_clips if number >= rule.normal_videos else (0, 0)
        n_odd = min(int(rng.integers(low, high + 1)), total)
        picked = [*_drawn(odd, n_odd, rng), *_drawn(calm, total - n_odd, rng)]
        video = Spliced(tuple(picked[i] for i in rng.permutation(total)))
        videos.append(video if rule.snippets is None else shortened(video, rule.snippets, rng))
    return tuple(videos)


def shortened(video: Spliced, snippets: int, rng: np.random.Generator) -> Spliced:
    """A stretch of exactly ``snippets`` of a video, from a random start, around what is abnormal.

    Raises:
        UsageError: it is shorter than that, or its abnormal clips reach further.
    """
    edges = np.append(0, np.cumsum([clip.timebase.n_snippets for clip in video.clips]))
    odd = [i for i, clip in enumerate(video.clips) if clip.abnormal]
    low, high = 0, int(edges[-1]) - snippets
    if odd:
        low, high = max(low, int(edges[odd[-1] + 1]) - snippets), min(high, int(edges[odd[0]]))
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
    return Spliced(tuple(kept))


def _drawn(clips: Sequence[Clip], count: int, rng: np.random.Generator) -> list[Clip]:
    if not count:
        return []
    picks = rng.choice(len(clips), size=count, replace=count > len(clips))
    return [clips[int(i)] for i in picks]
