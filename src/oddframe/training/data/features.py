"""Features of many videos: read from the store, or extracted and stored."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from oddframe._utils.parallel import CancelCheck, parallel_map
from oddframe._utils.progress import (
    MessageCallback,
    ProgressCallback,
    ignore_message,
    ignore_progress,
)
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
from oddframe.features.lazy_array import CropViews
from oddframe.features.spec import Features, FeatureSpec, join_features
from oddframe.features.store.store import FeatureStore
from oddframe.training.config import FeatureSection
from oddframe.training.data.samplers import TrainingVideo
from oddframe.training.data.snippet_labels import SnippetLabels, label_video
from oddframe.video.decoding.isolated import open_source
from oddframe.video.mask import Masks, mask_digest
from oddframe.video.snippets.preprocessing import region_grid

_MAX_NOTES = 5


def training_video(seen: Sequence[Features], abnormal: bool) -> TrainingVideo:
    """A training video whose bags are all crops of all its features, or all its tiles in a row."""
    if seen[0].spec.tiles is None:
        return TrainingVideo(CropViews([features.array for features in seen]), abnormal)
    rows, columns = seen[0].spec.tiles
    arrays = [np.asarray(features.array, np.float32) for features in seen]
    views = tuple(array.reshape(-1, array.shape[2]) for array in arrays)
    return TrainingVideo(views, abnormal, rows * columns)


def label_views(
    video: LabelledVideo, seen: Sequence[Features], *, events: bool
) -> tuple[SnippetLabels, ...]:
    """The labels in time of each view of ``training_video``; empty if the video has none.

    See ``label_video`` for ``events`` and the error.
    """
    labels: list[SnippetLabels] = []
    for features in seen:
        each = label_video(video, features.timebase, events=events)
        if each is None:
            return ()
        labels += [each] * (len(features.array) if features.spec.tiles is None else 1)
    return tuple(labels)


@dataclass(frozen=True)
class FeatureRequest:
    """A video, and the sections of the configuration that describe the features to load."""

    video: LabelledVideo
    sections: tuple[FeatureSection, ...]


@dataclass(frozen=True)
class VideoFeatures:
    """A video with its features, by the section that describes them."""

    video: LabelledVideo
    sha256: str  # Of the video's content.
    features: dict[FeatureSection, Features]
    notes: tuple[str, ...] = ()  # What extraction reported, for example that there is no sound.


class Extractor:
    """Reads features from the store, or extracts and stores them.

    A backbone is loaded when it is first needed. Features of each backbone are stored separately,
    so that picture and sound are extracted once, whether a configuration joins them or not.
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
        """The spec of the features of ``section``, extracted on this machine without a mask."""
        return make_spec(section.backbone, section.preprocessing(), self.precision)

    def is_stored(self, video: LabelledVideo, sha256: str, section: FeatureSection) -> bool:
        """Whether the store has all features of the video whose content has this sha256."""
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
        """Features by section, and what extraction reported.

        All missing features are extracted in one pass through the video.
        """
        mask = self.masks.for_video(video.path)
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
            extractions = extract_tasks(
                open_source(video.path), tasks, mask=mask, progress=check_cancelled
            )
            for part, extraction in zip(missing, extractions, strict=True):
                self.store.put(sha256, extraction.features)
                found[part] = extraction.features
                notes += extraction.notes
        joined = {section: [found[p] for p in parts] for section, parts in wanted.items()}
        return {s: join_features(parts) for s, parts in joined.items()}, tuple(dict.fromkeys(notes))

    def _backbone(self, part: SpecTemplate) -> Backbone:
        # Everything that the network depends on.
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


def load_features(
    requests: Sequence[FeatureRequest],
    extractor: Extractor,
    jobs: int = 1,
    progress: ProgressCallback = ignore_progress,
    message: MessageCallback = ignore_message,
) -> tuple[list[VideoFeatures], dict[str, str]]:
    """Features of all videos that can be read, in order, and why the others cannot, by path.

    A video that is itself a file of features gives those, whatever the sections ask for.
    ``message`` is called with what extraction reported, a line for each kind of note.
    """

    def load(request: FeatureRequest, check_cancelled: CancelCheck) -> VideoFeatures:
        video = request.video
        sha256 = video_digest(video)
        sections = dict.fromkeys(request.sections)
        if has_precomputed_features(video):
            precomputed = load_precomputed_features(video)
            return VideoFeatures(video, sha256, dict.fromkeys(sections, precomputed))
        features, notes = extractor.features(video, sha256, sections, check_cancelled)
        return VideoFeatures(video, sha256, features, notes)

    def on_done(done: int, request: FeatureRequest) -> None:
        progress(done, len(requests), request.video.path.name)

    loaded: list[VideoFeatures] = []
    failed: dict[str, str] = {}
    results = parallel_map(requests, load, jobs, on_done)
    for request, result in zip(requests, results, strict=True):
        if isinstance(result, InputError):
            failed[str(request.video.path)] = str(result)
        else:
            loaded.append(result)
    for line in _summarise_notes(loaded):
        message(line)
    return loaded, failed


def _summarise_notes(loaded: Sequence[VideoFeatures]) -> list[str]:
    """A line for each different note, with the video's name or the number of videos."""
    videos: dict[str, list[str]] = {}
    for each in loaded:
        for note in each.notes:
            videos.setdefault(note, []).append(each.video.path.name)
    lines = [
        f"{names[0]}: {note}" if len(names) == 1 else f"{len(names)} videos: {note}"
        for note, names in videos.items()
    ]
    more = len(lines) - _MAX_NOTES
    return lines if more <= 0 else [*lines[:_MAX_NOTES], f"... and {more} notes like these"]


@dataclass
class FeatureCache:
    """The features that a training run has loaded so far."""

    extractor: Extractor
    jobs: int = 1
    progress: ProgressCallback = ignore_progress
    message: MessageCallback = ignore_message

    def __post_init__(self) -> None:
        self.failed: dict[str, str] = {}  # Why videos could not be read, by path.
        self._loaded: dict[LabelledVideo, VideoFeatures] = {}
        self._snippet_s: float | None = None

    @property
    def has_precomputed(self) -> bool:
        """Whether some videos are files of features, from which no others can be extracted."""
        return any(has_precomputed_features(video) for video in self._loaded)

    def add(self, requests: Sequence[FeatureRequest]) -> None:
        """Load features that are not loaded yet; videos that cannot be read go to ``failed``."""
        missing = [each for each in map(self._not_loaded, requests) if each.sections]
        if not missing:
            return
        loaded, failed = load_features(
            missing, self.extractor, self.jobs, self.progress, self.message
        )
        self.failed |= failed
        for each in loaded:
            features = self._known(each.video) | each.features
            self._loaded[each.video] = replace(each, features=features)

    def get(self, videos: Iterable[LabelledVideo]) -> list[VideoFeatures]:
        """Features of those ``videos`` that could be read, in order."""
        readable = (v for v in videos if str(v.path) not in self.failed)
        return [self._loaded[video] for video in readable if video in self._loaded]

    def spec(self, section: FeatureSection) -> FeatureSpec:
        """The spec of features of ``section``, or of precomputed features where there are some."""
        for video, each in self._loaded.items():
            if has_precomputed_features(video) and section in each.features:
                return each.features[section].spec
        return self.extractor.spec(section)

    def estimate_seconds(self, requests: Sequence[FeatureRequest]) -> float:
        """Seconds that ``add`` would take; 0 where everything is loaded or stored.

        The first call measures the time a snippet on the two shortest videos. Features with the
        same snippets must have been loaded before, for the number of snippets.
        """
        missing = [one for request in requests for one in self._not_stored(request)]
        if self._snippet_s is None and len(missing) > 1:
            missing.sort(key=self._snippets)
            self.add(missing[:1])  # Loads the backbone.
            began = time.monotonic()
            self.add(missing[1:2])
            self._snippet_s = (time.monotonic() - began) / self._snippets(missing[1])
            missing = missing[2:]
        return (self._snippet_s or 0.0) * sum(map(self._snippets, missing))

    def _not_loaded(self, request: FeatureRequest) -> FeatureRequest:
        """``request`` with only those sections that are not loaded yet."""
        if str(request.video.path) in self.failed:
            return replace(request, sections=())
        known = self._known(request.video)
        return replace(request, sections=tuple(s for s in request.sections if s not in known))

    def _known(self, video: LabelledVideo) -> dict[FeatureSection, Features]:
        return self._loaded[video].features if video in self._loaded else {}

    def _not_stored(self, request: FeatureRequest) -> list[FeatureRequest]:
        """A request for each section that is neither loaded nor in the store."""
        video = request.video
        if has_precomputed_features(video):
            return []
        return [
            FeatureRequest(video, (section,))
            for section in self._not_loaded(request).sections
            if not self.extractor.is_stored(video, self._loaded[video].sha256, section)
        ]

    def _snippets(self, request: FeatureRequest) -> int:
        """Number of snippets of all crops that the one section of ``request`` describes."""
        (section,) = request.sections
        lengths = (
            features.timebase.n_snippets
            for other, features in self._loaded[request.video].features.items()
            if (other.stride, other.rate) == (section.stride, section.rate)
        )
        return next(lengths) * len(section.crops)
