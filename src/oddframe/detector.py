"""Scoring videos from Python: frames -> features -> scores -> events."""

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

from oddframe._utils.progress import ProgressCallback, stage_progress
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
from oddframe.features.extraction.extract_video import Extraction, extract_video, make_spec
from oddframe.features.extraction.partial import PartialFeatures
from oddframe.features.formats.npy import ARRAY_BACKBONE
from oddframe.features.spec import Features, FeatureSpec
from oddframe.look_for import action_model
from oddframe.modelfile import Model, load_model
from oddframe.stream import WINDOW, Stream
from oddframe.timeline import Event, ScoreTrack
from oddframe.video.decoding.isolated import open_source
from oddframe.video.frame import DEFAULT_FPS
from oddframe.video.mask import Mask, mask_digest
from oddframe.video.snippets.preprocessing import with_views

CropCount = Literal[1, 5, 10]
VideoLike = str | Path | NDArray[np.uint8] | Iterable[NDArray[np.uint8]]


@dataclass(frozen=True)
class ModelInfo:
    """What a result says about the model that made it."""

    name: str  # ``fight``, or the stem of the model's file.
    sha256: str  # Of the model file.
    method: str
    detects: str  # What it was trained to detect, in words: ``fights``.
    backbone: str  # With the size of its input: ``i3d 224x224``.
    profile: str
    engine: str  # Engine, precision and device of the backbone: ``openvino float32 on cpu``.
    version: str  # Of oddframe when it wrote the model.


@dataclass(frozen=True)
class VideoResult:
    """One scored video.

    Attributes:
        video: Path as it was given.
        track: Snippet scores and their timebase.
        events: Detected events, in order of time.
        rule: How scores became events; ``rule.threshold`` is the threshold.
        model: The model that scored it.
        damaged_packets: Packets that could not be decoded and were skipped.
        truth: Ground truth, if known: half-open intervals (start, end) of events, in seconds.
        fingerprint: Digest of the input and all settings. If it is unchanged, a video need not be
            scored again.
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
        """The highest smoothed score, which is compared with the threshold."""
        return float(smooth_frame_scores(self.track, self.rule.smooth_s).max())


class Detector:
    """A model together with the backbone that extracts its features.

    Examples:
        >>> from oddframe import Detector
        >>> detector = Detector.load("fight")
        >>> track = detector.score("fi150.mp4")
        >>> len(track.scores), len(track.to_frames())
        (4, 50)
        >>> for event in detector.events(track):
        ...     print(f"{event.start_s:.1f} to {event.end_s:.1f} s, score {event.score:.1f}")
        0.0 to 1.3 s, score 0.9
        >>> detector.events(detector.score("nofi079.mp4"))
        ()

    Several threads may use the same detector.

    Attributes:
        model: The loaded model.
        profile: Name of its profile, ``best`` or ``fast``.
        spec: Features that the profile reads.
        runtime: Engine, device and precision of the backbone.
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
        profile: str = "best",
        *,
        views: CropCount | int | None = None,
        device: DeviceName | str = "auto",
        engine: EngineName | str = "auto",
        precision: PrecisionName | str = "auto",
    ) -> Detector:
        """Load a model, by the name of a shipped one or by the path of its file.

        Strings may be members of a ``StrEnum``, as the command line has them.

        Args:
            model: ``fight``, or the path of a model file.
            profile: ``best``, or ``fast`` if the model has it.
            views: Number of crops whose scores are averaged; None: the model's own.
            device: ``auto``, ``cpu`` or ``cuda``.
            engine: Engine of the backbone: ``auto``, ``openvino`` or ``torch``.
            precision: Precision of the backbone: ``auto``, ``float32`` or ``bfloat16``.

        Raises:
            UsageError: there is no such model, profile, number of crops, engine, device or
                precision.
            InputError: the model file cannot be used.
        """
        runtime = _runtime(engine, device, precision)
        loaded = load_model(model, runtime.device, light=runtime.engine != "torch")
        return cls._of(loaded, str(profile), views, runtime)

    @classmethod
    def look_for(
        cls,
        actions: Sequence[str],
        profile: str = "best",
        *,
        device: DeviceName | str = "auto",
        engine: EngineName | str = "auto",
        precision: PrecisionName | str = "auto",
    ) -> Detector:
        """A detector of human actions by their names, without any training.

        A snippet's score is the sum of the probabilities that I3D's own classifier, which knows the
        400 actions of Kinetics-400, gives to ``actions``. An event has its likeliest ``actions``.

        Args:
            actions: Their names, as ``["wrestling", "headbutting"]``.
            profile: As for ``load``, and likewise the arguments below.

        Raises:
            UsageError: I3D knows no such action, or an argument of ``load`` is wrong.
        """
        runtime = _runtime(engine, device, precision)
        return cls._of(action_model(actions), str(profile), None, runtime)

    @classmethod
    def _of(
        cls, loaded: Model, profile: str, views: CropCount | int | None, runtime: Runtime
    ) -> Detector:
        if profile not in loaded.profiles:
            names = ", ".join(loaded.profiles)
            raise UsageError(
                f"the model {loaded.name!r} has no profile {profile!r}; it has: {names}"
            )
        spec = loaded.profiles[profile].spec
        if views is not None:
            spec = with_views(spec, views)  # type: ignore[arg-type]  # It refuses other numbers.
        return cls(loaded, profile, spec, runtime)

    def with_pictures(self, result: VideoResult) -> VideoResult:
        """A result that was read from a score file, with the pictures of the training clips."""
        bank = self.model.prototypes
        if bank is None:
            return result
        events = [replace(e, similar=bank.with_pictures(e.similar)) for e in result.events]
        return replace(result, events=tuple(events))

    @property
    def backbone(self) -> Backbone:
        """The backbone that extracts features; it is loaded at the first use."""
        self._check_own_features()
        with self._loading:  # Several threads share one backbone.
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
        """Check that this model can score videos, before any is opened.

        Raises:
            UsageError: the model reads imported features, or its backbone is unknown.
            InputError: the weights of the backbone are missing, or not those of the model.
        """
        self._check_own_features()
        wanted, here = self.spec.weights_sha256, make_spec(self.spec.backbone).weights_sha256
        if wanted != here:
            raise InputError(
                f"the model {self.model.name!r} was trained with other weights of "
                f"{self.spec.backbone} than the installed ones (sha256 {wanted[:12]}, not "
                f"{here[:12]}); install those weights, or train the model again"
            )

    def _check_own_features(self) -> None:
        name, backbone = self.model.name, self.spec.backbone
        if backbone == ARRAY_BACKBONE:
            raise UsageError(
                f"the model {name!r} was trained on arrays of features and scores only such "
                "files, with --features"
            )
        if self.spec.imported:
            raise UsageError(
                f"the model {name!r} reads imported features ({backbone}) and cannot score "
                "videos; evaluate it with oddframe evaluate --features, or import its checkpoint "
                "with --reads i3d"
            )

    def extraction_spec(self, mask: Mask | None = None) -> FeatureSpec:
        """The spec of features that this detector extracts, with its precision and ``mask``."""
        if not self.spec.has_picture:
            return replace(self.spec, precision="float32")
        return replace(self.spec, precision=self.runtime.precision, mask=mask_digest(mask))

    @property
    def rule(self) -> EventRule:
        """How this model's scores become events."""
        return self.model.profiles[self.profile].rule

    def threshold_notes(
        self, masks: Sequence[tuple[Path, str]], rule: EventRule | None = None
    ) -> list[str]:
        """Reasons why the model's threshold does not apply to these videos, one a line.

        ``masks`` are each video and the digest of the mask that it is scored with; "": none.
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
                "the threshold was set with other event options: give these to oddframe calibrate, "
                "too"
            )
        return lines

    @property
    def info(self) -> ModelInfo:
        """What results say about this model."""
        size = " " + "x".join(map(str, self.spec.crop_size)) if self.spec.has_picture else ""
        return ModelInfo(
            name=self.model.name,
            sha256=self.model.sha256,
            method=self.model.method,
            detects=self.model.detects,
            backbone=self.spec.backbone + size,
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
        """Extract the features of one video that this model reads.

        Args:
            source: A file, a folder of frames, an array (N, H, W, 3) uint8 RGB, or an iterator of
                (H, W, 3) frames.
            fps: Frame rate of arrays, iterators and folders, which have no time stamps.
            mask: Parts of the frame to ignore.
            progress: Called with (snippets done, snippets expected or None, ``features: NAME``).
            partial: Stores an unfinished extraction, so that it can be resumed.

        Returns:
            Features (C crops, T snippets, D) with their timebase, and notes of damage.

        Raises:
            UsageError: the model reads imported features.
            InputError: the video cannot be decoded.
        """
        video = open_source(source, fps=fps)
        report = stage_progress(progress, f"features: {Path(video.name).name}")
        return extract_video(
            video, self.spec, self.backbone, mask=mask, progress=report, partial=partial, heat=True
        )

    def score(
        self,
        source: VideoLike | Features,
        *,
        fps: float | None = None,
        mask: Mask | None = None,
        progress: ProgressCallback | None = None,
    ) -> ScoreTrack:
        """Score one video, or features that were extracted before.

        Args:
            source: As for ``features``, or features.
            fps: As for ``features``, and likewise the arguments below.

        Returns:
            One score in [0, 1] for each snippet, with the timebase.

        Raises:
            UsageError: the model reads imported features.
            InputError: the video cannot be decoded, or features of another spec are given.
        """
        if isinstance(source, Features):
            return self.model.score(source)
        extraction = self.features(source, fps=fps, mask=mask, progress=progress)
        return self.model.score(extraction.features)

    def stream(
        self,
        fps: float = DEFAULT_FPS,
        *,
        window: int = WINDOW,
        look_ahead: int | None = None,
        rule: EventRule | None = None,
        mask: Mask | None = None,
    ) -> Stream:
        """Start scoring a live stream, whose frames are pushed one by one.

        Args:
            fps: Frames a second, for frames that are pushed without a time.
            window: Snippets that the head sees, the latest ones.
            look_ahead: Snippets to wait for before a score is final; None: 8 for methods that
                compare a snippet with its neighbours, 0 for others.
            rule: Replaces the model's own.
            mask: Parts of the frame to ignore.

        Raises:
            UsageError: a value is out of range, or the model reads imported features or sound.

        Examples:
            >>> import av
            >>> stream = Detector.load("fight").stream()
            >>> frames = av.open("fi150.mp4").decode(video=0)
            >>> for frame in (each.to_ndarray(format="rgb24") for each in frames):
            ...     for update in stream.push(frame):
            ...         if update.kind == "new":
            ...             print(f"event {update.id} from {update.start_s:.1f} s")
            event 1 from 0.0 s
            >>> [update.kind for update in stream.finish()]
            ['score', 'end']
        """
        spec = self.extraction_spec(mask)
        return Stream(
            self.model,
            spec,
            self.backbone,
            rule or self.rule,
            fps=fps,
            window=window,
            look_ahead=look_ahead,
            mask=mask,
        )

    def events(self, track: ScoreTrack, rule: EventRule | None = None) -> tuple[Event, ...]:
        """Detect events in scores of this model; ``rule`` replaces the model's own."""
        return find_events(track, rule or self.rule)

    def result(
        self, video: str, track: ScoreTrack, *, rule: EventRule | None = None, damaged: int = 0
    ) -> VideoResult:
        """The result of one video, which ``oddframe.write`` and reports take.

        Args:
            video: Its path, for the report.
            track: Its scores.
            rule: Replaces the model's own.
            damaged: Packets that could not be decoded.
        """
        rule = rule or self.rule
        return VideoResult(video, track, self.events(track, rule), rule, self.info, damaged)


def _runtime(engine: str, device: str, precision: str) -> Runtime:
    # ``choose_runtime`` refuses other words. The plain texts enter digests, so no enums here.
    return choose_runtime(str(engine), str(device), str(precision))  # type: ignore[arg-type]
