"""The whole chain for one video: frames -> features -> scores -> events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oddframe.backbones.base import Backbone
from oddframe.backbones.engines import (
    DeviceName,
    EngineName,
    PrecisionName,
    Runtime,
    choose_runtime,
)
from oddframe.backbones.registry import load_backbone
from oddframe.cameras import mask_warning
from oddframe.errors import InputError, UsageError
from oddframe.events import EventRule, find_events, smooth_frame_scores
from oddframe.features.extraction.extract_video import (
    Extraction,
    ProgressCallback,
    extract_video,
    make_spec,
)
from oddframe.features.extraction.partial import PartialFeatures
from oddframe.features.formats.arrays import ARRAY_BACKBONE as ARRAY
from oddframe.features.spec import Features, FeatureSpec
from oddframe.modelfile import Model, Profile, load_model
from oddframe.timeline import Event, ScoreTrack
from oddframe.video.mask import Mask, mask_digest
from oddframe.video.snippets.crops import with_views
from oddframe.video.source import open_source

CropCount = Literal[1, 5, 10]
VideoLike = str | Path | NDArray[np.uint8] | Iterable[NDArray[np.uint8]]


@dataclass(frozen=True)
class ModelInfo:
    """What a reader of a result wants to know of the model behind it.

    Attributes:
        name: ``fight``, or the file's stem.
        sha256: Of the model file.
        method: ``ur_dmu``.
        detects: What it was trained to find, in words: ``fights``.
        backbone: Backbone and input, ``i3d 224x224``.
        profile: ``best`` or ``fast``.
        engine: Engine and precision that made the features, ``openvino float32``.
        version: Version of oddframe that wrote the model.
    """

    name: str
    sha256: str
    method: str
    detects: str
    backbone: str
    profile: str
    engine: str
    version: str


@dataclass(frozen=True)
class VideoResult:
    """One scored video.

    Attributes:
        video: Path as it was given.
        track: Snippet scores and their timebase.
        events: What was found, in order of time.
        rule: How scores became events; ``rule.threshold`` is the threshold.
        model: What found it.
        damaged_packets: Packets that gave no picture and were skipped.
        truth: Half-open intervals (start, end) in seconds of what really happened, if known.
        fingerprint: Of the input and all settings; a later run with the same one is not needed.
        mended_frames: Frames that were decoded with errors and are used.
        mask: Digest of the mask that it was scored with; "": none.
    """

    video: str
    track: ScoreTrack
    events: tuple[Event, ...]
    rule: EventRule
    model: ModelInfo
    damaged_packets: int = 0
    truth: tuple[tuple[float, float], ...] | None = None
    fingerprint: str = ""
    mended_frames: int = 0
    mask: str = ""

    @property
    def highest_score(self) -> float:
        """The highest smoothed score: what the threshold is held against."""
        return float(smooth_frame_scores(self.track, self.rule.smooth_s).max())


class Detector:
    """A model and the backbone that feeds it, ready for videos.

    Examples:
        >>> detector = Detector.load("fight")
        >>> track = detector.score("cam3.mp4")
        >>> detector.events(track)
    """

    def __init__(self, model: Model, profile: str, spec: FeatureSpec, runtime: Runtime):
        self.model = model
        self.profile = profile
        self.spec = spec
        self.runtime = runtime
        self._loading = Lock()

    @classmethod
    def load(
        cls,
        model: str | Path = "fight",
        *,
        profile: str = "best",
        views: CropCount | None = None,
        device: DeviceName = "auto",
        engine: EngineName = "auto",
        precision: PrecisionName = "auto",
    ) -> Detector:
        """Load a model, by the name of a shipped one or by its file.

        Args:
            model: ``fight``, or the path of a model file.
            profile: ``best``, or ``fast`` where the model has it.
            views: Crops of the picture whose scores are averaged; None: as the model was trained.
            device: ``auto``, ``cpu`` or ``cuda``.
            engine: Of the backbone: ``auto``, ``openvino`` or ``torch``.
            precision: Of the backbone: ``auto``, ``float32`` or ``bfloat16``.

        Raises:
            UsageError: no such model, profile, engine or device.
            InputError: the model file cannot be used.
        """
        choice = choose_runtime(engine, device, precision)
        loaded = load_model(model, choice.device)
        if profile not in loaded.profiles:
            there = ", ".join(loaded.profiles)
            raise UsageError(
                f"the model {loaded.name!r} has no profile {profile!r}; it has: {there}"
            )
        spec = loaded.profiles[profile].spec
        return cls(loaded, profile, spec if views is None else with_views(spec, views), choice)

    @property
    def backbone(self) -> Backbone:
        """What turns snippets into features; loaded when the first video comes.

        Raises:
            UsageError: the model reads features that others made.
        """
        self._refuse_made_elsewhere()
        with self._loading:  # Once, however many threads ask for it.
            return self._backbone

    @cached_property
    def _backbone(self) -> Backbone:
        return load_backbone(
            self.spec.backbone,
            self.spec.preprocessing,
            device=self.runtime.device,  # type: ignore[arg-type]
            engine=self.runtime.engine,  # type: ignore[arg-type]
            precision=self.runtime.precision,  # type: ignore[arg-type]
        )

    def check(self) -> None:
        """Say no where no video can be scored here, before any is opened.

        Raises:
            UsageError: the model reads features that others made, or of no backbone known here.
            InputError: the backbone's weights are not here, or are others than the model's.
        """
        self._refuse_made_elsewhere()
        ours, here = self.spec.weights_sha256, make_spec(self.spec.backbone).weights_sha256
        if ours != here:
            raise InputError(
                f"the model {self.model.name!r} reads features by other weights of "
                f"{self.spec.backbone} than are here (sha256 {ours[:12]}, not {here[:12]}); "
                "take those that it was trained with, or train it again"
            )

    def _refuse_made_elsewhere(self) -> None:
        name, backbone = self.model.name, self.spec.backbone
        if backbone == ARRAY:
            raise UsageError(
                f"the model {name!r} was trained on arrays of features and scores such files "
                "alone, with --features"
            )
        if self.spec.imported:
            raise UsageError(
                f"the model {name!r} reads features that others made ({backbone}) and none of a "
                "video; measure it with oddframe evaluate and --features, or import its "
                "checkpoint with --reads i3d"
            )

    def extraction_spec(self, mask: Mask | None = None) -> FeatureSpec:
        """The spec of features that this detector makes here: by this engine, with this mask."""
        if not self.spec.has_picture:
            return replace(self.spec, precision="float32")
        return replace(self.spec, precision=self.runtime.precision, mask=mask_digest(mask))

    @property
    def rule(self) -> EventRule:
        """How this model's scores become events."""
        settings: Profile = self.model.profiles[self.profile]
        return settings.rule

    def threshold_notes(
        self, masks: Sequence[tuple[Path, str]], rule: EventRule | None = None
    ) -> list[str]:
        """Why the model's threshold does not fit what is scored, a line a reason.

        Args:
            masks: Each video and the digest of the mask that it is scored with; "": none.
            rule: How its scores become events; None: the model's own rule.
        """
        card, common = self.model.card, self.model.profiles[self.profile].spec.mask
        counts = Counter(
            line
            for path, used in masks
            if (line := mask_warning(card, self.profile, common, path, used)) is not None
        )
        lines = [
            line if count == len(masks) else f"{count} of {len(masks)} videos: {line}"
            for line, count in counts.items()
        ]
        if rule is not None and rule != self.rule:
            lines.append(
                "the threshold was set with other event options than these: oddframe calibrate "
                "takes them, too"
            )
        return lines

    @property
    def info(self) -> ModelInfo:
        """What a reader of a result wants to know of the model."""
        size = "x".join(map(str, self.spec.crop_size))
        return ModelInfo(
            name=self.model.name,
            sha256=self.model.sha256,
            method=self.model.method,
            detects=self.model.detects,
            backbone=f"{self.spec.backbone} {size}"
            if self.spec.has_picture
            else self.spec.backbone,
            profile=self.profile,
            engine=str(self.runtime),
            version=self.model.version,
        )

    def features(
        self,
        source: VideoLike,
        *,
        fps: float | None = None,
        mask: Mask | None = None,
        progress: ProgressCallback | None = None,
        partial: PartialFeatures | None = None,
    ) -> Extraction:
        """Features of one video, as this model reads them.

        Args:
            source: A file, a folder of frames, an array (N, H, W, 3) uint8 RGB, or an iterator of
                (H, W, 3) frames.
            fps: Frame rate of frames that carry no time: arrays, iterators and folders.
            mask: Parts of the picture to ignore.
            progress: Called with (snippets done, snippets expected or None).
            partial: Where an unfinished extraction is kept, and taken up again.

        Raises:
            InputError: it cannot be decoded.
        """
        return extract_video(
            open_source(source, fps=fps),
            self.spec,
            self.backbone,
            mask=mask,
            progress=progress,
            partial=partial,
        )

    def score(
        self,
        source: VideoLike | Features,
        *,
        fps: float | None = None,
        mask: Mask | None = None,
        progress: ProgressCallback | None = None,
    ) -> ScoreTrack:
        """Scores of one video, or of features that were extracted before.

        Arguments and errors as for ``features``; features of another spec raise InputError.
        """
        if isinstance(source, Features):
            return self.model.score(source)
        made = self.features(source, fps=fps, mask=mask, progress=progress)
        return self.model.score(made.features)

    def events(self, track: ScoreTrack, rule: EventRule | None = None) -> tuple[Event, ...]:
        """What a track of this model's scores says happened; ``rule`` replaces the model's own."""
        return find_events(track, rule or self.rule)

    def result(
        self, video: str, track: ScoreTrack, *, rule: EventRule | None = None, damaged: int = 0
    ) -> VideoResult:
        """A track with its events and all that a report says about them."""
        rule = rule or self.rule
        return VideoResult(video, track, self.events(track, rule), rule, self.info, damaged)
