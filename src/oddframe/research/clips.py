"""The clips of a benchmark, and untrimmed videos that are spliced from them.

Spliced videos have exact frame labels. They are a benchmark of this project, not a published one,
and their joins are cuts: no snippet looks across one. A method may learn that the scene changes at
a cut, in normal and in abnormal videos alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oddframe._utils.progress import (
    MessageCallback,
    ProgressCallback,
    ignore_message,
    ignore_progress,
)
from oddframe.backbones.engines import DeviceName
from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.errors import InputError, UsageError
from oddframe.features.lazy_array import (
    AnyFeatures,
    CropArray,
    CropViews,
    FeatureArray,
    slice_snippets,
)
from oddframe.features.spec import Features
from oddframe.features.store.store import FeatureStore
from oddframe.research.protocol import SpliceRule
from oddframe.timeline import FloatArray, ScoreTrack, Timebase, labelled_intervals
from oddframe.training.config import TrainConfig
from oddframe.training.data.features import (
    Extractor,
    FeatureRequest,
    VideoFeatures,
    load_features,
    training_video,
)
from oddframe.training.data.samplers import views_of, with_cut_bags


@dataclass(frozen=True)
class BenchmarkClip:
    """The features and labels of one clip.

    Attributes:
        name: Path of the clip in its data set.
        array: (C crops, T snippets, D) features.
        abnormal: Its label, which holds for each of its frames unless ``truth`` is given.
        group: The recording that it was cut from.
        truth: (n_frames,) which frames are abnormal, where that is known.
        tiled: The crops are tiles: instances of one bag, and the highest gives a snippet's score.
        other_views: What training reads, each (T', D), where that differs from what is scored.
        first_frame: Its first frame in the file, where it was cut from a longer clip.
        bags: Its views in the recipe's number of segments, each (S, D), if computed in advance.
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
        """(n_frames,) which frames are abnormal."""
        whole = np.full(self.timebase.n_frames, self.abnormal)
        return whole if self.truth is None else self.truth

    @property
    def views(self) -> Sequence[FeatureArray]:
        """What training reads, each (T, D); tiles are one view of (tiles * T, D)."""
        return self.other_views or views_of(self.array, tiled=self.tiled)

    def cut(self, start: int, stop: int) -> BenchmarkClip:
        """Its snippets from ``start`` to before ``stop``, with the frames that they cover.

        UsageError where training reads other features of it, or its frame rate varies.
        """
        time = self.timebase
        if self.other_views or time.pts is not None or time.rate is not None:
            raise UsageError(f"{self.name}: only clips with one set of features, frame by frame")
        first, last = start * time.stride, time.n_frames
        if stop < time.n_snippets:
            last = min(last, (stop - 1) * time.stride + max(time.snippet_frames, time.stride))
        timebase = replace(time, n_frames=last - first)
        truth = None if self.truth is None else self.truth[first : first + timebase.n_frames]
        return replace(
            self,
            array=slice_snippets(self.array, start, stop),
            timebase=timebase,
            truth=truth,
            first_frame=self.first_frame + first,
            bags=None,
        )


@dataclass(frozen=True)
class ClipSource:
    """Where the clips of a data set come from; it can be sent to another process."""

    dataset: Dataset
    config: TrainConfig
    store: Path
    device: DeviceName = "auto"

    def load(
        self,
        jobs: int = 1,
        progress: ProgressCallback = ignore_progress,
        message: MessageCallback = ignore_message,
    ) -> tuple[tuple[BenchmarkClip, ...], list[VideoFeatures]]:
        """The clips, and the features that they were made of."""
        extractor = float32_extractor(self.store, self.device)
        found = load_benchmark_features(
            self.dataset, self.config, extractor, jobs=jobs, progress=progress, message=message
        )
        clips = make_clips(found, self.config)
        return _with_bags(clips, found, self.config, self.store, progress), found


def float32_extractor(store: Path, device: DeviceName = "auto") -> Extractor:
    """The extractor of benchmarks: float32, so that tables are of the same features on every
    machine; ``auto`` is bfloat16 where the processor has it."""
    return Extractor(FeatureStore(store), device, "auto", "float32")


def load_benchmark_features(
    dataset: Dataset,
    config: TrainConfig,
    extractor: Extractor,
    *,
    jobs: int = 1,
    profile: str = "best",
    progress: ProgressCallback = ignore_progress,
    message: MessageCallback = ignore_message,
) -> list[VideoFeatures]:
    """The features that ``config`` reads, in the order of the videos; see ``make_clips``."""
    specs = (config.profiles()[profile], *config.training_views().values())
    requests = [FeatureRequest(video, specs) for video in dataset.videos]
    if requests:
        progress(0, len(requests), dataset.videos[0].path.name)
    found, failed = load_features(requests, extractor, jobs, progress, message)
    if failed:
        first, others = next(iter(failed.values())), len(failed) - 1
        more = f"; {others} other videos likewise: oddframe data check names all" if others else ""
        raise InputError(f"{first}{more}")
    return found


def make_clips(
    found: Sequence[VideoFeatures], config: TrainConfig, profile: str = "best"
) -> tuple[BenchmarkClip, ...]:
    """The clips of ``load_benchmark_features``.

    Scoring reads the features of the model's ``profile``, training those of its training views.
    """
    scored, views = config.profiles()[profile], tuple(config.training_views().values())
    others = () if views == (scored,) else views
    return tuple(
        make_clip(each.video, each.features[scored], [each.features[view] for view in others])
        for each in found
    )


def make_clip(
    video: LabelledVideo, features: Features, training: Sequence[Features] = ()
) -> BenchmarkClip:
    """A clip; ``training`` is what training reads, if that differs from what scoring reads."""
    tiled, truth = features.spec.tiles is not None, video.truth
    return BenchmarkClip(
        name=str(video.path),
        array=features.array,
        timebase=features.timebase,
        abnormal=video.abnormal,
        group=video.group,
        truth=None if truth is None else truth.frame_labels(features.timebase),
        tiled=tiled,
        other_views=() if tiled else CropViews([each.array for each in training]),
    )


def _with_bags(
    clips: Sequence[BenchmarkClip],
    found: Sequence[VideoFeatures],
    config: TrainConfig,
    store: Path,
    progress: ProgressCallback,
) -> tuple[BenchmarkClip, ...]:
    """The clips; training clips whose features are mapped from disk get bags from the store.

    A training step then reads only the bags that it needs.
    """
    views = tuple(config.training_views().values())
    mapped: dict[int, list[Features]] = {}
    for i, each in enumerate(found):
        features = [each.features[view] for view in views]
        if each.video.part != "test" and all(isinstance(f.array, CropArray) for f in features):
            mapped[i] = features
    videos = [training_video(features, clips[i].abnormal) for i, features in mapped.items()]
    digests = [found[i].sha256 for i in mapped]
    n = config.full_recipe().segments
    cut = with_cut_bags(videos, list(mapped.values()), digests, n, store, progress)
    bags = {i: video.bags for i, video in zip(mapped, cut, strict=True)}
    return tuple(replace(clip, bags=bags.get(i)) for i, clip in enumerate(clips))


@dataclass(frozen=True)
class SplicedVideo:
    """An untrimmed video: clips one after another."""

    clips: tuple[BenchmarkClip, ...]

    @property
    def abnormal(self) -> bool:
        return any(clip.abnormal for clip in self.clips)

    @property
    def array(self) -> AnyFeatures:
        if len(self.clips) == 1:
            return self.clips[0].array
        return np.concatenate([clip.array for clip in self.clips], axis=1)

    @property
    def views(self) -> Sequence[FeatureArray]:
        """What training reads, each (T, D): every view of its clips, concatenated."""
        if self.clips[0].tiled:
            return views_of(self.array, tiled=True)
        rows = zip(*(clip.views for clip in self.clips), strict=True)
        return tuple(map(np.concatenate, rows))

    @property
    def labels(self) -> NDArray[np.bool_]:
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
        times = [clip.timebase.frame_times for clip in self.clips]
        starts = self.starts_s[:-1]
        return np.concatenate([t - t[0] + start for t, start in zip(times, starts, strict=True)])

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
        edges = np.cumsum([0, *map(len, frames)]).tolist()
        clips = zip(self.clips, edges[:-1], strict=True)
        gaps = tuple(first + gap for clip, first in clips for gap in clip.timebase.gaps)
        timebase = Timebase(last.fps, edges[-1], 1, 1, None, self.frame_times, gaps=gaps)
        return ScoreTrack(np.concatenate(frames), timebase)


def splice(clips: Sequence[BenchmarkClip], rule: SpliceRule, seed: int) -> tuple[SplicedVideo, ...]:
    """Splice untrimmed videos from random ``clips``, the normal videos first.

    The same seed gives the same videos. A clip occurs once in a video if there are enough clips,
    and in any number of videos.
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
        videos.append(video if rule.snippets is None else _trim(video, rule.snippets, rng))
    return tuple(videos)


def _trim(video: SplicedVideo, snippets: int, rng: np.random.Generator) -> SplicedVideo:
    """``snippets`` snippets of a video, from a random start, with all its abnormal clips."""
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
