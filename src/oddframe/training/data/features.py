"""Features of a whole data set: from the store where they are kept, extracted where not.

Features of the videos that a training run works with, more of them when more are asked for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from oddframe.backbones.base import Backbone
from oddframe.backbones.engines import DeviceName, EngineName, PrecisionName, choose_runtime
from oddframe.backbones.registry import load_backbone
from oddframe.datasets.labelled import LabelledVideo
from oddframe.datasets.precomputed import (
    has_precomputed_features,
    load_precomputed_features,
    video_digest,
)
from oddframe.errors import InputError
from oddframe.features.extraction.extract_video import (
    ExtractionTask,
    SpecTemplate,
    extract_tasks,
    make_spec,
    spec_templates,
)
from oddframe.features.join import join_features
from oddframe.features.lazy_array import CropViews
from oddframe.features.spec import Features, FeatureSpec
from oddframe.features.store.store import FeatureStore
from oddframe.methods.base import Loss
from oddframe.training.config import FeatureSection
from oddframe.training.data.parallel import CancelCheck, parallel_map
from oddframe.training.data.samplers import TrainingVideo, with_cut_bags
from oddframe.video.mask import Masks, mask_digest
from oddframe.video.snippets.crops import region_grid
from oddframe.video.source import open_source

_MOST_NOTES = 5


class TrainingProgress(Protocol):
    """How a training run tells what it is doing."""

    def videos(self, done: int, total: int, name: str) -> None:
        """Features of ``done`` of ``total`` videos are there, ``name`` the latest."""

    def steps(self, done: int, total: int, loss: Loss) -> None:
        """``done`` of ``total`` training steps are done."""

    def say(self, line: str) -> None:
        """A line for a person to read: a warning, a video left out."""


class SilentProgress:
    """Tells nothing."""

    def videos(self, done: int, total: int, name: str) -> None:
        """Nothing."""

    def steps(self, done: int, total: int, loss: Loss) -> None:
        """Nothing."""

    def say(self, line: str) -> None:
        """Nothing."""


def training_video(seen: Sequence[Features], abnormal: bool) -> TrainingVideo:
    """What training sees of a video: all crops of all its features, or its tiles in a row."""
    if seen[0].spec.tiles is None:
        return TrainingVideo(CropViews([features.array for features in seen]), abnormal)
    rows, columns = seen[0].spec.tiles
    arrays = [np.asarray(features.array, np.float32) for features in seen]
    views = tuple(array.reshape(-1, array.shape[2]) for array in arrays)
    return TrainingVideo(views, abnormal, rows * columns)


@dataclass(frozen=True)
class FeatureRequest:
    """A video and the features that are wanted of it."""

    video: LabelledVideo
    sections: tuple[FeatureSection, ...]


@dataclass(frozen=True)
class VideoFeatures:
    """A video, its features by what was asked for, and what was noted while they were made.

    Attributes:
        video: The video.
        sha256: Of its content.
        features: By what was asked for.
        notes: What a reader should know: that it has no sound, say. Of what was kept from before
            nothing is known any more.
    """

    video: LabelledVideo
    sha256: str
    features: dict[FeatureSection, Features]
    notes: tuple[str, ...] = ()


class Extractor:
    """Makes features as they are asked for; a backbone is loaded when it is first needed.

    Each backbone's features are kept apart, so that picture and sound are made once, whether they
    are asked for together or alone.
    """

    def __init__(
        self,
        store: FeatureStore,
        device: DeviceName,
        engine: EngineName,
        precision: PrecisionName = "auto",
        masks: Masks = Masks(),  # noqa: B008 - frozen
    ):
        self.store, self.device, self.engine, self.masks = store, device, engine, masks
        self.precision, self._asked = choose_runtime(engine, device, precision).precision, precision
        self._backbones: dict[tuple[object, ...], Backbone] = {}
        self._lock = threading.Lock()

    def spec(self, section: FeatureSection) -> FeatureSpec:
        """The spec of the features that ``section`` describes, as this machine makes them of videos
        without a mask.

        Raises:
            UsageError: no such backbone.
            InputError: its weights are the user's to get, and are not there.
        """
        return make_spec(section.backbone, section.preprocessing(), self.precision)

    def is_stored(self, video: LabelledVideo, sha256: str, section: FeatureSection) -> bool:
        """Whether features of a video, whose content has this sha256, are all in the store."""
        parts = _parts(section, self.masks.digest_of(video.path))
        specs = (part.spec(self.precision) for part in parts)
        return all(self.store.path(sha256, spec).exists() for spec in specs)

    def features(
        self,
        video: LabelledVideo,
        sha256: str,
        sections: Iterable[FeatureSection],
        check_cancelled: CancelCheck,
    ) -> tuple[dict[FeatureSection, Features], tuple[str, ...]]:
        """By section, from the store, or extracted and kept, and notes on what was extracted.

        All that is missing is extracted in one pass through the video; ``go_on`` is asked after
        every snippet.

        Raises:
            InputError: the video cannot be read.
        """
        mask = self.masks.of(video.path)
        wanted = {section: _parts(section, mask_digest(mask)) for section in sections}
        found: dict[SpecTemplate, Features] = {}
        missing: list[SpecTemplate] = []
        for part in dict.fromkeys(part for parts in wanted.values() for part in parts):
            if (features := self.store.get(sha256, part.spec(self.precision))) is None:
                missing.append(part)
            else:
                found[part] = features
        notes: list[str] = []
        if missing:
            tasks = [
                ExtractionTask(part.spec(self.precision), self._backbone(part)) for part in missing
            ]
            made = extract_tasks(
                open_source(video.path), tasks, mask=mask, progress=check_cancelled
            )
            for part, extraction in zip(missing, made, strict=True):
                self.store.put(sha256, extraction.features)
                found[part] = extraction.features
                notes += extraction.notes
        joined = {section: [found[p] for p in parts] for section, parts in wanted.items()}
        return {s: join_features(parts) for s, parts in joined.items()}, tuple(dict.fromkeys(notes))

    def _backbone(self, part: SpecTemplate) -> Backbone:
        # All that a network depends on.
        how = part.preprocessing
        key = (part.backbone, how.crop_size, how.snippet_frames, region_grid(how.crops))
        with self._lock:
            if key not in self._backbones:
                self._backbones[key] = load_backbone(
                    part.backbone,
                    part.preprocessing,
                    device=self.device,
                    engine=self.engine,
                    precision=self._asked,
                )
            return self._backbones[key]


def _parts(section: FeatureSection, mask: str) -> tuple[SpecTemplate, ...]:
    return spec_templates(section.backbone, section.preprocessing(), mask)


def _summarise_notes(gathered: Sequence[VideoFeatures]) -> list[str]:
    """A line for each thing that was noted, with the videos that it is said of."""
    videos: dict[str, list[str]] = {}
    for each in gathered:
        for note in each.notes:
            videos.setdefault(note, []).append(each.video.path.name)
    lines = [
        f"{names[0]}: {note}" if len(names) == 1 else f"{len(names)} videos: {note}"
        for note, names in videos.items()
    ]
    more = len(lines) - _MOST_NOTES
    return lines if more <= 0 else [*lines[:_MOST_NOTES], f"... and {more} notes like these"]


def load_features(
    requests: Sequence[FeatureRequest], extractor: Extractor, jobs: int, progress: TrainingProgress
) -> tuple[list[VideoFeatures], dict[str, str]]:
    """Features of all videos that can be read, in order, and why the others cannot, by path.

    A file that holds features already gives those, whatever is asked for.

    Args:
        requests: What is wanted.
        extractor: What makes it.
        jobs: Videos that are decoded side by side.
        progress: Is told of every video.
    """

    def one(request: FeatureRequest, check_cancelled: CancelCheck) -> VideoFeatures:
        video = request.video
        sha256 = video_digest(video)
        sections = dict.fromkeys(request.sections)
        if has_precomputed_features(video):
            made = load_precomputed_features(video)
            return VideoFeatures(video, sha256, dict.fromkeys(sections, made))
        features, notes = extractor.features(video, sha256, sections, check_cancelled)
        return VideoFeatures(video, sha256, features, notes)

    def told(done: int, request: FeatureRequest) -> None:
        progress.videos(done, len(requests), request.video.path.name)

    gathered: list[VideoFeatures] = []
    failed: dict[str, str] = {}
    made = parallel_map(requests, one, jobs, told)
    for request, each in zip(requests, made, strict=True):
        if isinstance(each, InputError):
            failed[str(request.video.path)] = str(each)
        else:
            gathered.append(each)
    for line in _summarise_notes(gathered):
        progress.say(line)
    return gathered, failed


class FeatureCache:
    """Videos with their features.

    Attributes:
        failed: Why videos could not be read, by path.
    """

    def __init__(self, extractor: Extractor, jobs: int, progress: TrainingProgress):
        self.failed: dict[str, str] = {}
        self._extractor, self._jobs, self._progress = extractor, jobs, progress
        self._found: dict[LabelledVideo, VideoFeatures] = {}
        self._snippet_s: float | None = None

    @property
    def has_precomputed(self) -> bool:
        """Whether there are files of features, of which no other ones can be made."""
        return any(has_precomputed_features(video) for video in self._found)

    def add(self, requests: Sequence[FeatureRequest]) -> None:
        """Gather what is not there yet; what cannot be read is in ``failed_result`` from then
        on.
        """
        wanted = (self._lacking(request) for request in requests)
        lacking = [request for request in wanted if request.sections]
        if not lacking:
            return
        gathered, failed = load_features(lacking, self._extractor, self._jobs, self._progress)
        self.failed |= failed
        for each in gathered:
            before = self._found.get(each.video)
            features = each.features if before is None else before.features | each.features
            self._found[each.video] = replace(each, features=features)

    def of(self, videos: Iterable[LabelledVideo]) -> list[VideoFeatures]:
        """Those of ``videos`` that could be read, in order."""
        readable = (v for v in videos if str(v.path) not in self.failed)
        return [self._found[video] for video in readable if video in self._found]

    def spec(self, section: FeatureSection) -> FeatureSpec:
        """What features of ``section`` are; where a data set comes with features, those."""
        for video, each in self._found.items():
            if has_precomputed_features(video) and section in each.features:
                return each.features[section].spec
        return self._extractor.spec(section)

    def with_cut_bags(
        self,
        training: Sequence[TrainingVideo],
        seen: Sequence[Sequence[Features]],
        videos: Sequence[VideoFeatures],
        n: int,
    ) -> list[TrainingVideo]:
        """``training`` with bags of ``n`` segments, where its features lie on disk.

        Args:
            training: What training sees of ``videos``.
            seen: The features that it is made of.
            videos: The videos.
            n: Segments of a bag.

        Raises:
            InputError: features cannot be read.
            OddframeError: bags cannot be written.
        """
        digests = [each.sha256 for each in videos]
        root, tell = self._extractor.store.root, self._progress.videos
        return with_cut_bags(training, seen, digests, n, root, tell)

    def estimate_seconds(self, requests: Sequence[FeatureRequest]) -> float:
        """Seconds that ``add`` would take; 0 where everything is kept.

        Measured, where it is not yet known, on the two shortest videos. Other features with as many
        snippets must be there.
        """
        unmade = [one for request in requests for one in self._unmade(request)]
        if self._snippet_s is None and len(unmade) > 1:
            unmade.sort(key=self._snippets)
            self.add(unmade[:1])  # Loads the backbone.
            began = time.monotonic()
            self.add(unmade[1:2])
            self._snippet_s = (time.monotonic() - began) / self._snippets(unmade[1])
            unmade = unmade[2:]
        return (self._snippet_s or 0.0) * sum(map(self._snippets, unmade))

    def _lacking(self, request: FeatureRequest) -> FeatureRequest:
        """What is not in memory of what is wanted."""
        if str(request.video.path) in self.failed:
            return replace(request, sections=())
        found = self._found.get(request.video)
        known = {} if found is None else found.features
        return replace(request, sections=tuple(s for s in request.sections if s not in known))

    def _unmade(self, request: FeatureRequest) -> list[FeatureRequest]:
        """What is neither in memory nor in the store, one request a section."""
        video = request.video
        if has_precomputed_features(video):
            return []
        return [
            FeatureRequest(video, (section,))
            for section in self._lacking(request).sections
            if not self._extractor.is_stored(video, self._found[video].sha256, section)
        ]

    def _snippets(self, request: FeatureRequest) -> int:
        """Snippets of all crops that the one section of ``request`` asks for."""
        (section,) = request.sections
        lengths = (
            features.timebase.n_snippets
            for other, features in self._found[request.video].features.items()
            if (other.stride, other.rate) == (section.stride, section.rate)
        )
        return next(lengths) * len(section.crops)
