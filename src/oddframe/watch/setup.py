"""From sources and a file of cameras to what the watcher needs: models loaded, masks read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oddframe._utils.child_process import is_supported
from oddframe.backbones.base import Backbone
from oddframe.cameras import camera_rule
from oddframe.detector import Detector
from oddframe.errors import UsageError
from oddframe.events import RuleChanges
from oddframe.video.mask import read_mask
from oddframe.watch.cameras_file import (
    MAX_CAMERAS,
    MAX_SOURCE,
    CameraSection,
    CamerasSection,
    announce_rule,
    check_name,
    time_zone,
)
from oddframe.watch.reader_protocol import ReaderSettings
from oddframe.watch.sources import parse_source, source_name
from oddframe.watch.watcher import WatchedCamera


@dataclass(frozen=True)
class WatchDefaults:
    """What holds for cameras that say nothing else; as the options of ``oddframe score``."""

    model: str = "fight"
    profile: str = "best"
    threshold: float | None = None
    changes: RuleChanges = field(default_factory=RuleChanges)
    mask: Path | None = None
    device: str = "auto"
    engine: str = "auto"
    precision: str = "auto"


def name_sources(sources: Sequence[str], as_live: bool) -> dict[str, CameraSection]:
    """A camera for each source of a command line, named after its host, file or folder."""
    if len(sources) > MAX_CAMERAS:
        raise UsageError(f"{len(sources)} sources; at most {MAX_CAMERAS} are watched")
    cameras: dict[str, CameraSection] = {}
    for text in sources:
        if len(text) > MAX_SOURCE:
            raise UsageError(f"a source of {len(text)} characters; at most {MAX_SOURCE} are read")
        wanted = source_name(parse_source(text, as_live=as_live))
        wanted = "".join(c if c.isprintable() and c not in "/\\+#" else "_" for c in wanted)
        wanted = wanted.strip()[:50] or "camera"
        name, number = wanted, 2
        while name in cameras:
            name, number = f"{wanted}-{number}", number + 1
        cameras[name] = CameraSection(source=text)
    return cameras


def open_cameras(
    sections: CamerasSection, defaults: WatchDefaults, *, as_live: bool = False
) -> list[WatchedCamera]:
    """Check all cameras and load their models, before any is opened.

    Raises:
        UsageError: a source, a model, a name or a value is wrong.
        InputError: a mask or a model file cannot be read.
    """
    if not is_supported():
        raise UsageError("cameras are watched on Linux and macOS only")
    if len(sections.cameras) > MAX_CAMERAS:
        raise UsageError(f"{len(sections.cameras)} cameras; at most {MAX_CAMERAS} are watched")
    parsed = {
        check_name(name): parse_source(camera.source, as_live=as_live)
        for name, camera in sections.cameras.items()
    }
    detectors: dict[tuple[str, str], Detector] = {}
    backbones: dict[object, Backbone] = {}
    zone = time_zone(sections)
    found = []
    for name, camera in sections.cameras.items():
        model, profile = camera.model or defaults.model, camera.profile or defaults.profile
        detector = detectors.get((model, profile)) or _load(model, profile, defaults)
        detectors[model, profile] = detector
        mask_file = camera.mask or defaults.mask
        mask = None if mask_file is None else read_mask(mask_file)
        threshold = camera.threshold if camera.threshold is not None else defaults.threshold
        rule = defaults.changes.apply_to(
            camera_rule(detector.model.card, profile, detector.rule, Path(name) / "video")
        )
        if threshold is not None:
            rule = rule.with_threshold(threshold)
        settings = ReaderSettings(
            detector.spec.preprocessing,
            mask,
            silence_s=camera.silence_s,
            frozen_s=camera.frozen_s,
        )
        found.append(
            WatchedCamera(
                name,
                parsed[name],
                settings,
                detector.model,
                detector.extraction_spec(mask),
                _backbone(detector, backbones),
                rule,
                announce_rule(camera, zone),
            )
        )
    return found


def _load(model: str, profile: str, defaults: WatchDefaults) -> Detector:
    detector = Detector.load(
        model,
        profile,
        device=defaults.device,
        engine=defaults.engine,
        precision=defaults.precision,
    )
    detector.check()
    return detector


def _backbone(detector: Detector, loaded: dict[object, Backbone]) -> Backbone:
    """The backbone of a detector; one that differs only in how snippets are spaced is shared."""
    spec, preprocessing = detector.spec, detector.spec.preprocessing
    key = (
        spec.backbone,
        spec.weights_sha256,
        preprocessing.crops,
        preprocessing.crop_size,
        preprocessing.snippet_frames,
        str(detector.runtime),
    )
    if key not in loaded:
        loaded[key] = detector.backbone
        if loaded[key].audio_encoders:
            raise UsageError(
                f"the model {detector.model.name!r} needs sound, which cameras are not read for"
            )
    return loaded[key]
