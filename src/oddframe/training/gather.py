"""Features of a whole data set: from the store where they are kept, extracted where not."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from oddframe.backbones.engines import DeviceName, EngineName, choose
from oddframe.backbones.i3d import FEATURE_DIM
from oddframe.backbones.registry import Backbone, load_backbone, weights_file
from oddframe.datasets.labelled import LabelledVideo
from oddframe.datasets.ready import digest_of, is_ready, ready_features
from oddframe.errors import InputError
from oddframe.features.extract import extract
from oddframe.features.lazy import Views
from oddframe.features.spec import Features, FeatureSpec
from oddframe.features.store import FeatureStore, content_hash
from oddframe.methods.base import Loss
from oddframe.training.bags import TrainingVideo
from oddframe.training.config import FeatureSection
from oddframe.video.source import open_source


class Progress(Protocol):
    """How a training run tells what it is doing."""

    def videos(self, done: int, total: int, name: str) -> None:
        """Features of ``done`` of ``total`` videos are there, ``name`` the latest."""

    def steps(self, done: int, total: int, loss: Loss) -> None:
        """``done`` of ``total`` training steps are done."""

    def say(self, line: str) -> None:
        """A line for a person to read: a warning, a video left out."""


class Silent:
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
        return TrainingVideo(Views([features.array for features in seen]), abnormal)
    rows, columns = seen[0].spec.tiles
    arrays = [np.asarray(features.array, np.float32) for features in seen]
    views = tuple(array.reshape(-1, array.shape[2]) for array in arrays)
    return TrainingVideo(views, abnormal, rows * columns)


@dataclass(frozen=True)
class Request:
    """A video and the features that are wanted of it."""

    video: LabelledVideo
    sections: tuple[FeatureSection, ...]


@dataclass(frozen=True)
class Gathered:
    """A video, the sha256 of its content, and its features by what was asked for."""

    video: LabelledVideo
    sha256: str
    features: dict[FeatureSection, Features]


class Extractor:
    """Makes features as they are asked for; a backbone is loaded when it is first needed."""

    def __init__(self, store: FeatureStore, device: DeviceName, engine: EngineName):
        self.store, self.device, self.engine = store, device, engine
        self.precision = choose(engine, device).precision
        self._backbones: dict[tuple[str, tuple[int, int], int], Backbone] = {}
        self._weights: dict[str, str] = {}
        self._lock = threading.Lock()

    def spec(self, section: FeatureSection) -> FeatureSpec:
        """The spec of the features that ``section`` describes, as this machine makes them."""
        how = section.preprocessing()
        name = section.backbone
        if name not in self._weights:
            self._weights[name] = content_hash(weights_file(name))
        return FeatureSpec(
            **vars(how),
            backbone=name,
            weights_sha256=self._weights[name],
            dim=FEATURE_DIM,
            precision=self.precision,
        )

    def features(self, video: LabelledVideo, sha256: str, section: FeatureSection) -> Features:
        """From the store, or extracted and kept.

        Raises:
            InputError: the video cannot be read.
        """
        spec = self.spec(section)
        features = self.store.get(sha256, spec)
        if features is None:
            backbone = self._backbone(section)
            features = extract(open_source(video.path), spec, backbone).features
            self.store.put(sha256, features)
        return features

    def _backbone(self, section: FeatureSection) -> Backbone:
        key = (section.backbone, section.crop_size, section.snippet_frames)
        with self._lock:
            if key not in self._backbones:
                self._backbones[key] = load_backbone(
                    section.backbone,
                    crop_size=section.crop_size,
                    snippet_frames=section.snippet_frames,
                    device=self.device,
                    engine=self.engine,
                )
            return self._backbones[key]


def gather(
    requests: Sequence[Request], extractor: Extractor, jobs: int, progress: Progress
) -> tuple[list[Gathered], dict[str, str]]:
    """Features of all videos that can be read, in order, and why the others cannot, by path.

    A file that holds features already gives those, whatever is asked for.

    Args:
        requests: What is wanted.
        extractor: What makes it.
        jobs: Videos that are decoded side by side.
        progress: Is told of every video.
    """

    def one(request: Request) -> Gathered:
        video = request.video
        sha256 = digest_of(video)
        sections = dict.fromkeys(request.sections)
        if is_ready(video):
            made = ready_features(video)
            return Gathered(video, sha256, dict.fromkeys(sections, made))
        features = {s: extractor.features(video, sha256, s) for s in sections}
        return Gathered(request.video, sha256, features)

    found: dict[int, Gathered] = {}
    failed: dict[str, str] = {}
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        futures = {pool.submit(one, request): i for i, request in enumerate(requests)}
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                video = requests[futures[future]].video
                try:
                    found[futures[future]] = future.result()
                except InputError as error:
                    failed[str(video.path)] = str(error)
                progress.videos(done, len(requests), video.path.name)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [found[i] for i in sorted(found)], failed
