"""One input of ``oddframe score``: what was asked for, what became of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import oddframe
from oddframe.cameras import camera_name, camera_rule
from oddframe.detector import Detector, VideoResult
from oddframe.errors import InputError, OddframeError, describe_unexpected_error
from oddframe.events import RuleChanges
from oddframe.features.extraction.extract_video import ProgressCallback
from oddframe.features.extraction.file_layout import sibling_files
from oddframe.features.extraction.partial import PartialFeatures
from oddframe.features.formats.arrays import read_any_features
from oddframe.features.join import join_features
from oddframe.outputs.scores.json_file import ScoreFile, read_score_file
from oddframe.outputs.write import find_wrong_files, output_path, write
from oddframe.video.mask import Mask, Masks, mask_digest


@dataclass(frozen=True)
class ScoringSettings:
    """What ``oddframe score`` was asked for; see its options."""

    model: str
    profile: str
    views: int | None
    device: str
    engine: str
    precision: str
    threshold: float | None
    events: RuleChanges
    masks: Masks
    fps: float | None
    out: Path | None
    formats: tuple[str, ...]
    fresh: bool
    raise_errors: bool


@dataclass(frozen=True)
class ScoringJob:
    """One input: a video, or a feature file, and the name of what comes out."""

    path: Path
    stem: str
    is_features: bool = False


@dataclass(frozen=True)
class ScoringOutcome:
    """What became of one job.

    Attributes:
        job: What it was.
        result: What was found; None: it failed.
        error: Why there is no result.
        exit_code: What that makes the command end with.
        kept: Whether an earlier run has scored it.
        camera: Whose own threshold was used; "": the common one was, or one that was asked for.
        notes: What the extraction noted: that there is no sound, say.
    """

    job: ScoringJob
    result: VideoResult | None = None
    error: str = ""
    exit_code: int = 0
    kept: bool = False
    camera: str = ""
    notes: tuple[str, ...] = ()


def load_detector(settings: ScoringSettings) -> Detector:
    """The detector that these settings describe."""
    return Detector.load(
        settings.model,
        profile=settings.profile,
        views=settings.views,  # type: ignore[arg-type]
        device=settings.device,  # type: ignore[arg-type]
        engine=settings.engine,  # type: ignore[arg-type]
        precision=settings.precision,  # type: ignore[arg-type]
    )


def score_input(
    job: ScoringJob,
    settings: ScoringSettings,
    detector: Detector,
    progress: ProgressCallback | None = None,
    settling: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> ScoringOutcome:
    """Score one input and write its files; a failure is an outcome, not an exception.

    Args:
        job: The input.
        settings: What is wanted of it.
        detector: Scores it.
        progress: Is told of every snippet.
        settling: What all that comes behind the features is done in, and writing them.
    """
    partial = None
    try:
        common = settings.events.of(detector.rule)
        rule = camera_rule(detector.model.card, detector.profile, common, job.path)
        camera = "" if rule is common else camera_name(job.path)
        if settings.threshold is not None:
            rule, camera = common.with_threshold(settings.threshold), ""
        files = sibling_files(job.path, detector.spec) if job.is_features else (job.path,)
        mask = settings.masks.of(job.path)
        seen = _short_hash(_feature_inputs(job, files, settings, detector, mask))
        fingerprint = _short_hash(seen, detector.model.sha256, rule)
        old = _earlier(job, settings)
        if old is not None and _fits(old, settings, fingerprint):
            with settling():
                completed = _complete(old, job, settings, mask)
            return ScoringOutcome(job, old.result, kept=True, camera=camera, notes=completed)
        damaged = mended = 0
        notes: tuple[str, ...] = ()
        if job.is_features:
            features = join_features([read_any_features(file) for file in files])
            if settings.threshold is None:
                notes = tuple(detector.threshold_notes([(job.path, features.spec.mask)]))
        else:
            fps = settings.fps if job.path.is_dir() else None  # A video has its own times.
            partial = _unfinished(settings, seen, settling)
            made = detector.features(
                job.path, fps=fps, mask=mask, progress=progress, partial=partial
            )
            features, notes = made.features, made.notes
            damaged, mended = made.damaged_packets, made.mended_frames
        with settling():
            track = detector.score(features)
            result = detector.result(str(job.path), track, rule=rule, damaged=damaged)
            result = replace(
                result, mended_frames=mended, fingerprint=fingerprint, mask=features.spec.mask
            )
            if settings.out is not None:
                source = None if job.is_features else job.path
                notes += _replaced(old, job, settings, fingerprint)
                before = _files_of(old, settings.out)
                write(result, settings.formats, settings.out, job.stem, source=source, mask=mask)
                if gone := [path.name for path in before if not path.exists()]:
                    notes += (f"removed, of the earlier scores: {', '.join(gone)}",)
                if partial is not None:
                    partial.discard()
        return ScoringOutcome(job, result, camera=camera, notes=notes)
    except OddframeError as error:
        if settings.raise_errors:
            raise
        if isinstance(error, InputError) and partial is not None:
            partial.discard()  # Going on would fail again.
        return ScoringOutcome(job, error=_named(str(error), job.path), exit_code=error.exit_code)
    except Exception as error:  # A fault of ours, or of a decoder: the other videos go on.
        if settings.raise_errors:
            raise
        return ScoringOutcome(
            job, error=_named(describe_unexpected_error(error), job.path), exit_code=1
        )
    finally:
        if partial is not None:
            partial.release()


def _unfinished(
    settings: ScoringSettings, seen: str, settling: Callable[[], AbstractContextManager[None]]
) -> PartialFeatures | None:
    """Where unfinished features are kept; None if another process is keeping those of this video.

    Raises:
        OddframeError: the folder cannot be written.
    """
    if settings.out is None:
        return None
    partial = PartialFeatures(settings.out / f".{seen}.partial", writing=settling)
    return partial if partial.acquire() else None


def _replaced(
    old: ScoreFile | None, job: ScoringJob, settings: ScoringSettings, fingerprint: str
) -> tuple[str, ...]:
    """A note where the scores of another input, or a damaged score file, are written over."""
    assert settings.out is not None
    path = output_path(settings.out, job.stem, "json")
    if old is None:
        return (f"{path.name} was damaged, written anew",) if path.is_file() else ()
    if Path(old.result.video).absolute() != job.path.absolute():
        return (f"replaces the scores of {old.result.video}",)
    if old.result.fingerprint == fingerprint and not settings.fresh:
        why = "was written by an earlier version" if old.intact is None else "was changed"
        return (f"{path.name} {why}, scored anew",)
    return ()


def _files_of(old: ScoreFile | None, out: Path) -> list[Path]:
    return [] if old is None else [out / name for name in old.files if (out / name).exists()]


def _named(reason: str, path: Path) -> str:
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
        oddframe.__version__,
        str(job.path.absolute()),
        *map(_state, files),
        detector.spec.hash(),
        detector.runtime,
        settings.fps,
        mask_digest(mask) or None,
    )


def _state(path: Path) -> object:
    """Changes when a file does, or a frame in a folder of frames."""
    try:
        if path.is_dir():
            return sorted((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in path.iterdir())
        return (path.stat().st_size, path.stat().st_mtime_ns)
    except OSError:  # Opening it will say why.
        return None


def _short_hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _earlier(job: ScoringJob, settings: ScoringSettings) -> ScoreFile | None:
    """The result of an earlier run under the name of this input's, whatever it is of."""
    if settings.out is None:
        return None
    try:
        return read_score_file(output_path(settings.out, job.stem, "json"))
    except InputError:
        return None


def _fits(old: ScoreFile, settings: ScoringSettings, fingerprint: str) -> bool:
    """Whether an earlier result is this one and its score file is as it was written."""
    return bool(old.intact) and not settings.fresh and old.result.fingerprint == fingerprint


def _complete(
    old: ScoreFile, job: ScoringJob, settings: ScoringSettings, mask: Mask | None
) -> tuple[str, ...]:
    """Write the files of an earlier result that are missing or changed; a note of each."""
    assert settings.out is not None
    wrong = find_wrong_files(old, settings.formats, settings.out, job.stem)
    if not wrong:
        return ()
    source = None if job.is_features else job.path
    formats = ("json", *wrong)
    write(old.result, formats, settings.out, job.stem, source=source, mask=mask)
    names = {name: output_path(settings.out, job.stem, name).name for name in wrong}
    return tuple(
        f"{names[name]} {why}" if why == "added" else f"{names[name]} {why}, written anew"
        for name, why in wrong.items()
    )
