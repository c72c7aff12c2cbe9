"""Scores one input and writes its files, or takes over what an earlier run has made of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from oddframe._utils.progress import ProgressCallback, ignore_progress
from oddframe._utils.version import VERSION
from oddframe.backbones.engines import DeviceName, EngineName, PrecisionName
from oddframe.cameras import camera_name, camera_rule
from oddframe.detector import CropCount, Detector, VideoResult
from oddframe.errors import InputError, OddframeError, describe_unexpected_error
from oddframe.events import RuleChanges
from oddframe.features.extraction.file_layout import sibling_files
from oddframe.features.extraction.partial import PartialFeatures
from oddframe.features.formats.feature_file import read_any_features
from oddframe.features.spec import join_features
from oddframe.outputs.registry import SCORE_FILE
from oddframe.outputs.score_files import ScoreFile, read_score_file
from oddframe.outputs.write import find_wrong_files, output_path, write
from oddframe.video.mask import Mask, Masks, mask_digest

_Guard = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class ScoringSettings:
    """Settings of a run; see ``score``."""

    model: str = "fight"
    profile: str = "best"
    views: CropCount | None = None
    device: DeviceName = "auto"
    engine: EngineName = "auto"
    precision: PrecisionName = "auto"
    threshold: float | None = None
    rule_changes: RuleChanges = field(default_factory=RuleChanges)
    masks: Masks = field(default_factory=Masks)
    fps: float | None = None
    out: Path | None = None
    formats: tuple[str, ...] = (SCORE_FILE,)
    fresh: bool = False
    raise_errors: bool = False


@dataclass(frozen=True)
class ScoringJob:
    """One input.

    Attributes:
        path: A video, or a feature file.
        stem: Name of its output files, without ending.
        is_features: Whether it is a feature file.
    """

    path: Path
    stem: str
    is_features: bool = False


@dataclass(frozen=True)
class ScoringOutcome:
    """What became of one input.

    Attributes:
        job: The input.
        result: Its scores and events; None: it failed.
        error: Why it failed.
        exit_code: The exit code of ``oddframe score`` for this failure; 0 without one.
        already_scored: Whether an earlier run scored it.
        camera: The camera whose own threshold was used; empty: the common threshold, or one that
            was asked for.
        notes: Remarks on the input and its files: that there is no sound, say.
    """

    job: ScoringJob
    result: VideoResult | None = None
    error: str = ""
    exit_code: int = 0
    already_scored: bool = False
    camera: str = ""
    notes: tuple[str, ...] = ()


def load_detector(settings: ScoringSettings) -> Detector:
    """Load the detector of these settings."""
    return Detector.load(
        settings.model,
        profile=settings.profile,
        views=settings.views,
        device=settings.device,
        engine=settings.engine,
        precision=settings.precision,
    )


def score_input(
    job: ScoringJob,
    settings: ScoringSettings,
    detector: Detector,
    progress: ProgressCallback = ignore_progress,
    guard: _Guard = nullcontext,
) -> ScoringOutcome:
    """Score one input and write its files; a failure is an outcome, not an exception.

    Args:
        job: The input.
        settings: Settings of the run.
        detector: The detector of these settings.
        progress: Called with (snippets done, snippets expected or None, ``scoring: NAME``).
        guard: Makes a context for work that reports no progress: that on scores and files.
    """
    stage = f"scoring: {job.path.name}"
    progress(0, None, stage)
    partial_features = None
    try:
        common = settings.rule_changes.apply_to(detector.rule)
        rule = camera_rule(detector.model.card, detector.profile, common, job.path)
        camera = "" if rule is common else camera_name(job.path)
        if settings.threshold is not None:
            rule, camera = common.with_threshold(settings.threshold), ""
        files = sibling_files(job.path, detector.spec) if job.is_features else (job.path,)
        mask = settings.masks.for_video(job.path)
        feature_key = _short_hash(_feature_inputs(job, files, settings, detector, mask))
        fingerprint = _short_hash(feature_key, detector.model.sha256, rule)
        old = _read_earlier(job, settings)
        if old is not None and _is_current(old, settings, fingerprint):
            with guard():
                notes = _restore_files(old, job, settings, mask)
            return ScoringOutcome(job, old.result, already_scored=True, camera=camera, notes=notes)
        damaged = mended = 0
        notes = ()
        if job.is_features:
            features = join_features([read_any_features(file) for file in files])
            if settings.threshold is None:
                notes = tuple(detector.threshold_notes([(job.path, features.spec.mask)]))
        else:
            fps = settings.fps if job.path.is_dir() else None  # A video has its own times.
            partial_features = _acquire_partial(settings, feature_key, guard)
            made = detector.features(
                job.path,
                fps=fps,
                mask=mask,
                progress=lambda done, total, _: progress(done, total, stage),
                partial=partial_features,
            )
            features, notes = made.features, made.notes
            damaged, mended = made.damaged_packets, made.mended_frames
        with guard():
            track = detector.score(features)
            result = detector.result(str(job.path), track, rule=rule, damaged=damaged)
            result = replace(
                result, mended_frames=mended, fingerprint=fingerprint, mask=features.spec.mask
            )
            if settings.out is not None:
                notes += _write_files(old, result, job, settings, mask)
                if partial_features is not None:
                    partial_features.discard()
        return ScoringOutcome(job, result, camera=camera, notes=notes)
    except OddframeError as error:
        if settings.raise_errors:
            raise
        if isinstance(error, InputError) and partial_features is not None:
            partial_features.discard()  # Resuming would fail again.
        reason = _with_path(str(error), job.path)
        return ScoringOutcome(job, error=reason, exit_code=error.exit_code)
    except Exception as error:  # A fault here or in a decoder: the others are still scored.
        if settings.raise_errors:
            raise
        reason = _with_path(describe_unexpected_error(error), job.path)
        return ScoringOutcome(job, error=reason, exit_code=1)
    finally:
        if partial_features is not None:
            partial_features.release()


def _acquire_partial(
    settings: ScoringSettings, feature_key: str, guard: _Guard
) -> PartialFeatures | None:
    """Where unfinished features are kept; None if another process keeps those of this video.

    Raises:
        OddframeError: the folder cannot be written.
    """
    if settings.out is None:
        return None
    found = PartialFeatures(settings.out / f".{feature_key}.partial", writing=guard)
    return found if found.acquire() else None


def _write_files(
    old: ScoreFile | None,
    result: VideoResult,
    job: ScoringJob,
    settings: ScoringSettings,
    mask: Mask | None,
) -> tuple[str, ...]:
    """Write the files of a result; notes on earlier files that were replaced or removed."""
    out = settings.out
    assert out is not None
    notes = _replacement_notes(old, job, settings, out, result.fingerprint)
    names = () if old is None else old.files
    before = [out / name for name in names if (out / name).exists()]
    source = None if job.is_features else job.path
    write(result, settings.formats, out, job.stem, source=source, mask=mask)
    if removed := [path.name for path in before if not path.exists()]:
        notes += (f"removed, of the earlier scores: {', '.join(removed)}",)
    return notes


def _replacement_notes(
    old: ScoreFile | None, job: ScoringJob, settings: ScoringSettings, out: Path, fingerprint: str
) -> tuple[str, ...]:
    """A note where the scores of another input, or a damaged score file, are written over."""
    path = output_path(out, job.stem, SCORE_FILE)
    if old is None:
        return (f"{path.name} was damaged, written again",) if path.is_file() else ()
    if Path(old.result.video).absolute() != job.path.absolute():
        return (f"replaces the scores of {old.result.video}",)
    if old.result.fingerprint == fingerprint and not settings.fresh:
        why = "was written by an earlier version" if old.intact is None else "was changed"
        return (f"{path.name} {why}, scored again",)
    return ()


def _read_earlier(job: ScoringJob, settings: ScoringSettings) -> ScoreFile | None:
    """The result under the name of this input that an earlier run wrote, of whatever input."""
    if settings.out is None:
        return None
    try:
        return read_score_file(output_path(settings.out, job.stem, SCORE_FILE))
    except InputError:
        return None


def _is_current(old: ScoreFile, settings: ScoringSettings, fingerprint: str) -> bool:
    """Whether an earlier result is of this input and settings, and its score file unchanged."""
    return bool(old.intact) and not settings.fresh and old.result.fingerprint == fingerprint


def _restore_files(
    old: ScoreFile, job: ScoringJob, settings: ScoringSettings, mask: Mask | None
) -> tuple[str, ...]:
    """Write the files of an earlier result that are missing or changed; a note on each."""
    out = settings.out
    assert out is not None
    wrong = find_wrong_files(old, settings.formats, out, job.stem)
    if not wrong:
        return ()
    source = None if job.is_features else job.path
    write(old.result, (SCORE_FILE, *wrong), out, job.stem, source=source, mask=mask)
    names = {name: output_path(out, job.stem, name).name for name in wrong}
    return tuple(
        f"{names[name]} {why}" if why == "added" else f"{names[name]} {why}, written again"
        for name, why in wrong.items()
    )


def _with_path(reason: str, path: Path) -> str:
    return reason if str(path) in reason else f"{path}: {reason}"


def _feature_inputs(
    job: ScoringJob,
    files: Sequence[Path],
    settings: ScoringSettings,
    detector: Detector,
    mask: Mask | None,
) -> tuple[object, ...]:
    """All that the features of this input depend on."""
    return (
        VERSION,
        str(job.path.absolute()),
        *map(_file_state, files),
        detector.spec.hash(),
        detector.runtime,
        settings.fps,
        mask_digest(mask) or None,
    )


def _file_state(path: Path) -> object:
    """Changes when a file does, or a frame in a folder of frames."""
    try:
        if path.is_dir():
            return sorted((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in path.iterdir())
        return (path.stat().st_size, path.stat().st_mtime_ns)
    except OSError:  # Opening it raises the reason.
        return None


def _short_hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
