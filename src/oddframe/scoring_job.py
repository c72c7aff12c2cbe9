"""Scores one input and writes its files, or takes over what an earlier run has made of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
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
    look_for: tuple[str, ...] = ()  # Actions to look for, instead of the model's.


@dataclass(frozen=True)
class ScoringJob:
    """One input: a video or a feature file, and the name of its output files without ending."""

    path: Path
    stem: str
    is_features: bool = False


@dataclass(frozen=True)
class ScoringOutcome:
    """What became of one input."""

    job: ScoringJob
    result: VideoResult | None = None  # None: it failed.
    error: str = ""
    exit_code: int = 0  # Of ``oddframe score`` for this failure; 0 without one.
    already_scored: bool = False
    camera: str = ""  # The camera whose own threshold was used, unless one was asked for.
    notes: tuple[str, ...] = ()  # On the input and its files: that there is no sound, say.


def load_detector(settings: ScoringSettings) -> Detector:
    """Load the detector of these settings."""
    if settings.look_for:
        return Detector.look_for(
            settings.look_for,
            settings.profile,
            device=settings.device,
            engine=settings.engine,
            precision=settings.precision,
        )
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

    ``guard`` makes a context for work that reports no progress: that on scores and files.
    """
    stage = f"scoring: {job.path.name}"
    progress(0, None, stage)
    partial_features, out = None, settings.out
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
        old = None if out is None else _read_earlier(job, out)
        intact = old is not None and old.intact and old.result.fingerprint == fingerprint
        if out is not None and old is not None and intact and not settings.fresh:
            with guard():
                result = detector.with_pictures(old.result)
                notes = _restore_files(replace(old, result=result), job, settings, out, mask)
            return ScoringOutcome(job, result, already_scored=True, camera=camera, notes=notes)
        damaged = mended = 0
        notes = ()
        if job.is_features:
            features = join_features([read_any_features(file) for file in files])
            if settings.threshold is None:
                notes = tuple(detector.threshold_notes([(job.path, features.spec.mask)]))
        else:
            if out is not None:
                unfinished = PartialFeatures(out / f".{feature_key}.partial", writing=guard)
                # Another process may keep those of this video.
                partial_features = unfinished if unfinished.acquire() else None
            made = detector.features(
                job.path,
                fps=settings.fps if job.path.is_dir() else None,  # A video has its own times.
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
            if out is not None:
                notes += _write_files(old, result, job, settings, out, mask)
                if partial_features is not None:
                    partial_features.discard()
        return ScoringOutcome(job, result, camera=camera, notes=notes)
    except Exception as error:  # Also a fault here or in a decoder: the others are still scored.
        if settings.raise_errors:
            raise
        if isinstance(error, InputError) and partial_features is not None:
            partial_features.discard()  # Resuming would fail again.
        exit_code, reason = 1, describe_unexpected_error(error)
        if isinstance(error, OddframeError):
            exit_code, reason = error.exit_code, str(error)
        if str(job.path) not in reason:
            reason = f"{job.path}: {reason}"
        return ScoringOutcome(job, error=reason, exit_code=exit_code)
    finally:
        if partial_features is not None:
            partial_features.release()


def _write_files(
    old: ScoreFile | None,
    result: VideoResult,
    job: ScoringJob,
    settings: ScoringSettings,
    out: Path,
    mask: Mask | None,
) -> tuple[str, ...]:
    """Write the files of a result; notes on earlier files that were replaced or removed."""
    path, notes = output_path(out, job.stem, SCORE_FILE), []
    if old is None:
        if path.is_file():
            notes.append(f"{path.name} was damaged, written again")
    elif Path(old.result.video).absolute() != job.path.absolute():
        notes.append(f"replaces the scores of {old.result.video}")
    elif old.result.fingerprint == result.fingerprint and not settings.fresh:
        why = "was written by an earlier version" if old.intact is None else "was changed"
        notes.append(f"{path.name} {why}, scored again")
    before = [out / name for name in (old.files if old else ()) if (out / name).exists()]
    source = None if job.is_features else job.path
    write(result, settings.formats, out, job.stem, source=source, mask=mask)
    if removed := [path.name for path in before if not path.exists()]:
        notes.append(f"removed, of the earlier scores: {', '.join(removed)}")
    return tuple(notes)


def _read_earlier(job: ScoringJob, out: Path) -> ScoreFile | None:
    """The result under the name of this input that an earlier run wrote, of whatever input."""
    with suppress(InputError):
        return read_score_file(output_path(out, job.stem, SCORE_FILE))
    return None


def _restore_files(
    old: ScoreFile, job: ScoringJob, settings: ScoringSettings, out: Path, mask: Mask | None
) -> tuple[str, ...]:
    """Write the files of an earlier result that are missing or changed; a note on each."""
    wrong = find_wrong_files(old, settings.formats, out, job.stem)
    if wrong:
        source = None if job.is_features else job.path
        write(old.result, (SCORE_FILE, *wrong), out, job.stem, source=source, mask=mask)
    reasons = {n: why if why == "added" else f"{why}, written again" for n, why in wrong.items()}
    return tuple(f"{output_path(out, job.stem, name).name} {why}" for name, why in reasons.items())


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
