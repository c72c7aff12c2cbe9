"""``oddframe.score``: score many videos, write the files of each, and resume where a run stopped.

A video that fails does not stop the others, and a video that an earlier run has scored with the
same settings is not scored again.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from oddframe._utils.child_process import PATIENCE_HINT
from oddframe._utils.files import invalid_path_reason, unique_stems
from oddframe._utils.processes import share_cores
from oddframe._utils.progress import (
    MessageCallback,
    ProgressCallback,
    ignore_message,
    ignore_progress,
)
from oddframe._utils.version import VERSION
from oddframe._utils.worker_pool import Heartbeat, WorkerFailure, WorkerPool, send_heartbeats
from oddframe.backbones.engines import DeviceName, EngineName, PrecisionName
from oddframe.cameras import camera_name, camera_rule
from oddframe.detector import CropCount, Detector, VideoResult
from oddframe.errors import InputError, OddframeError, UsageError, describe_unexpected_error
from oddframe.events import RuleChanges
from oddframe.features.extract import find_recordings
from oddframe.features.extraction.file_layout import common_path, sibling_files
from oddframe.features.extraction.partial import PartialFeatures
from oddframe.features.formats.feature_file import read_any_features
from oddframe.features.join import join_features
from oddframe.modelfile import DETECTS_UNUSUAL
from oddframe.outputs.pages.folder_index import INDEX_NAME, FolderIndex, is_index
from oddframe.outputs.registry import SCORE_FILE, format_names, get_format
from oddframe.outputs.scores.json_file import ScoreFile, read_score_file
from oddframe.outputs.write import find_wrong_files, output_path, write
from oddframe.video.decoding.folder import PICTURE_SUFFIXES
from oddframe.video.decoding.isolated import DecodingLimits, decoding_limits, set_decoding_limits
from oddframe.video.mask import Mask, Masks, mask_digest, read_masks

# A worker process is given up without a heartbeat for so long (s), beside what its decoder may
# take: networks may first have to be converted, on a machine that does other things, too.
_TIMEOUT_S = 300.0

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


@dataclass(frozen=True)
class ScoringSummary:
    """What a run did.

    Attributes:
        outcomes: The outcome of each input, in the order of the inputs.
        seconds: Time that scoring took, without loading the model.
        index: The page over all results of the output folder; None: there is none.
        index_error: Why the index could not be written.
    """

    outcomes: tuple[ScoringOutcome, ...]
    seconds: float
    index: Path | None = None
    index_error: OddframeError | None = None

    @property
    def results(self) -> tuple[VideoResult, ...]:
        """Results of the inputs that did not fail."""
        return tuple(each.result for each in self.outcomes if each.result is not None)

    @property
    def failed(self) -> dict[str, str]:
        """The reason of each failure, by input."""
        return {str(each.job.path): each.error for each in self.outcomes if each.error}

    @property
    def exit_code(self) -> int:
        """The exit code of ``oddframe score``: 0 if nothing failed."""
        codes = [each.exit_code for each in self.outcomes]
        return max([*codes, 0 if self.index_error is None else self.index_error.exit_code])


def score(
    videos: str | Path | Sequence[str | Path] = (),
    *,
    features: Sequence[str | Path] = (),
    model: str | Path = "fight",
    out: str | Path | None = None,
    formats: Sequence[str] = (),
    threshold: float | None = None,
    rule: RuleChanges = RuleChanges(),  # noqa: B008 - frozen
    mask: str | Path | None = None,
    profile: str = "best",
    views: CropCount | None = None,
    fps: float | None = None,
    device: DeviceName = "auto",
    engine: EngineName = "auto",
    precision: PrecisionName = "auto",
    jobs: int = 1,
    fresh: bool = False,
    raise_errors: bool = False,
    progress: ProgressCallback | None = None,
    on_outcome: Callable[[ScoringOutcome], None] | None = None,
    message: MessageCallback = ignore_message,
) -> ScoringSummary:
    """Score videos: a score for every frame, and events with start, end and peak.

    A video that fails does not stop the others. With ``out``, files of each video are written as
    soon as it is scored, and the same call resumes where an earlier one was stopped, by Ctrl-C or
    otherwise.

    Examples:
        >>> import oddframe
        >>> summary = oddframe.score("fight.mp4", out="results", formats=["csv", "vtt"])
        >>> for result in summary.results:
        ...     for event in result.events:
        ...         print(f"{result.video}: {event.start_s:.2f} s to {event.end_s:.2f} s")
        fight.mp4: 0.00 s to 2.00 s
        >>> summary.failed
        {}

    Args:
        videos: Videos, folders, patterns, or folders of frames. Annotated videos and previews that
            oddframe wrote are left out.
        features: Feature files to score instead of videos.
        model: Name of a shipped model, or a model file.
        out: Folder for the files of each video; None: nothing is written.
        formats: Formats beside the score file (json): csv, vtt, png, html, mp4.
        threshold: Threshold instead of the model's, or that of a camera, in [0, 1].
        rule: Changes of the model's event rule.
        mask: A picture, black where the detector must not look, or a folder with one for each
            camera.
        profile: ``best``, or ``fast`` where the model has it.
        views: Crops of each frame whose scores are averaged; None: as the model was trained.
        fps: Frame rate of folders of frames; None: 25.
        device: Where the networks run.
        engine: What runs the backbone.
        precision: Of the backbone.
        jobs: Videos at the same time, each in a process of its own.
        fresh: Score videos again that an earlier run has scored.
        raise_errors: Raise the first failure instead of reporting it as an outcome.
        progress: Called with (snippets done, snippets expected, ``scoring: NAME``); with several
            jobs, with (videos done, videos, ``scoring``).
        on_outcome: Called with each outcome as soon as it is there.
        message: Called with a line about the model, the threshold, or inputs left out.

    Raises:
        InputError: there are only videos that oddframe wrote, or the model cannot be used.
        UsageError: nothing to score, an unknown model, format or device, or files would be written
            over an input. Nothing was scored then.
        OddframeError: the folder cannot be written.
    """
    settings = ScoringSettings(
        model=str(model),
        profile=profile,
        views=views,
        device=device,
        engine=engine,
        precision=precision,
        threshold=threshold,
        rule_changes=rule,
        masks=read_masks(None if mask is None else Path(mask)),
        fps=fps,
        out=None if out is None else Path(out),
        formats=_formats(formats),
        fresh=fresh,
        raise_errors=raise_errors,
    )
    if formats and out is None:
        raise UsageError("formats are written to a folder: name it with out")
    names = [videos] if isinstance(videos, str | Path) else list(videos)
    files = [Path(each) for each in features]
    if not names and not files:
        raise UsageError("nothing to score")
    for path in files:
        if reason := invalid_path_reason(str(path)):
            raise InputError(f"{path!s:.60}: the path {reason}")
    paths = find_recordings([str(each) for each in names], message)
    detector = load_detector(settings)
    # Feature files of several backbones are one video, whichever of them are named.
    once = {common_path(path, detector.spec): path for path in reversed(files)}
    work = _jobs(paths, list(reversed(once.values())))
    if settings.out is not None:
        _refuse_overwriting_inputs(work, settings.out, settings.formats)
    if any(not job.is_features for job in work):
        detector.check()  # What makes every video fail is raised once.
    if settings.out is not None:
        _make_folder(settings.out)
    for line in _notes(paths, work, settings, detector):
        message(line)

    started = time.monotonic()
    outcomes: dict[ScoringJob, ScoringOutcome] = {}
    index = _Index(work, settings)
    # Closed at once, also by Ctrl-C and by an exception of a callback, so that no process is left.
    with closing(_score_all(work, settings, detector, jobs, progress or ignore_progress)) as run:
        for outcome in run:
            outcomes[outcome.job] = outcome
            index.add(outcome)
            if on_outcome is not None:
                on_outcome(outcome)
    index.write()
    seconds = time.monotonic() - started
    return ScoringSummary(tuple(outcomes[job] for job in work), seconds, index.path, index.error)


def _formats(names: Sequence[str]) -> tuple[str, ...]:
    """The formats to write, in the order of the registry; the score file is always written."""
    for name in names:
        get_format(name)
    return tuple(name for name in format_names() if name == SCORE_FILE or name in names)


def _jobs(videos: Sequence[Path], features: Sequence[Path]) -> list[ScoringJob]:
    paths = [*videos, *features]
    stems = unique_stems(paths, [Path(INDEX_NAME).stem])
    return [
        ScoringJob(path, stem, is_features=i >= len(videos))
        for i, (path, stem) in enumerate(zip(paths, stems, strict=True))
    ]


def _refuse_overwriting_inputs(
    work: Sequence[ScoringJob], out: Path, formats: Sequence[str]
) -> None:
    inputs = {job.path.absolute() for job in work}
    for job in work:
        if "png" in formats and job.path.is_dir() and job.path.resolve() == out.resolve():
            raise UsageError(f"{out}: a folder of frames, and the curve would be one; see --out")
        for target in (output_path(out, job.stem, name) for name in formats):
            if target.absolute() in inputs:
                raise UsageError(
                    f"{target}: to be scored, and what is written of {job.path} would take its "
                    "place; choose another --out, or name the videos one by one"
                )


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OddframeError(f"{out}: cannot be made ({error.strerror})") from None
    if not os.access(out, os.W_OK):
        raise OddframeError(f"{out}: no permission to write there; choose another --out")


def _notes(
    videos: Sequence[Path],
    work: Sequence[ScoringJob],
    settings: ScoringSettings,
    detector: Detector,
) -> list[str]:
    """Lines about the model, and about what does not fit its threshold."""
    info = detector.info
    trained = f"trained on {info.detects}; it detects nothing else"
    if info.detects == DETECTS_UNUSUAL:
        trained = f"trained on normal video alone; it detects {DETECTS_UNUSUAL}"
    notes = [
        f"{info.name}: {trained}. {info.method} on {info.backbone}, profile {info.profile}, "
        f"{info.engine}"
    ]
    if settings.threshold is None:
        crops = len(detector.spec.crops)
        trained_crops = len(detector.model.profiles[info.profile].spec.crops)
        if crops != trained_crops:
            views = f"{trained_crops} view{'s' if trained_crops > 1 else ''}"
            notes.append(f"its threshold was set on {views}, not {crops}: see --threshold")
        masks = [(path, settings.masks.digest_of(path)) for path in videos]
        notes += detector.threshold_notes(masks, settings.rule_changes.apply_to(detector.rule))
    if (pictures := sum(job.path.suffix.lower() in PICTURE_SUFFIXES for job in work)) > 1:
        notes.append(f"{pictures} single pictures: name their folder to score them as one video")
    return notes


class _Index:
    """The page over all results of the output folder, where reports are written.

    If it cannot be written, scoring continues without it.

    Attributes:
        path: The page; None: there is none.
        error: Why it could not be written.
    """

    def __init__(self, work: Sequence[ScoringJob], settings: ScoringSettings) -> None:
        self._index: FolderIndex | None = None
        self.error: OddframeError | None = None
        out = settings.out
        if out is not None and ("html" in settings.formats or is_index(out / INDEX_NAME)):
            index = FolderIndex(out, {job.stem: str(job.path) for job in work})
            self._index = index if index.needed else None
        self.write(finished=False)

    @property
    def path(self) -> Path | None:
        return None if self._index is None else self._index.path

    def add(self, outcome: ScoringOutcome) -> None:
        """Add the outcome of one input."""
        if self._index is None:
            return
        job = outcome.job
        if outcome.result is not None:
            self._index.add_result(job.stem, outcome.result)
        else:
            self._index.add_failure(job.stem, str(job.path), outcome.error)
        self.write(finished=False)

    def write(self, *, finished: bool = True) -> None:
        try:
            if self._index is not None:
                self._index.write(finished)
        except OddframeError as error:
            self._index, self.error = None, error


def _score_all(
    work: Sequence[ScoringJob],
    settings: ScoringSettings,
    detector: Detector,
    processes: int,
    progress: ProgressCallback,
) -> Generator[ScoringOutcome, None, None]:
    processes = min(processes, len(work))
    if processes > 1:
        yield from _in_parallel(work, settings, processes, progress)
        return
    for job in work:
        text = f"scoring: {job.path.name}"
        progress(0, None, text)
        yield score_input(job, settings, detector, partial(_report, progress, text))


def _report(progress: ProgressCallback, text: str, done: int, total: int | None) -> None:
    progress(done, total, text)


def _in_parallel(
    work: Sequence[ScoringJob],
    settings: ScoringSettings,
    processes: int,
    progress: ProgressCallback,
) -> Generator[ScoringOutcome, None, None]:
    limits = decoding_limits()
    pool: WorkerPool[ScoringJob, ScoringOutcome] = WorkerPool(
        partial(_Scorer, settings, limits),
        processes,
        _TIMEOUT_S + limits.timeout_s,
        advice=PATIENCE_HINT,
    )
    done = 0
    progress(0, None, "scoring")
    with share_cores(processes):
        for answer in pool.run(work):
            if answer is None:
                continue
            number, outcome = answer
            done += 1
            progress(done, len(work), "scoring")
            if isinstance(outcome, WorkerFailure):
                reason = f"{work[number].path}: {outcome.reason}"
                outcome = ScoringOutcome(work[number], error=reason, exit_code=InputError.exit_code)
            yield outcome


class _Scorer:
    """Scores inputs in a worker process; see ``WorkerPool``."""

    def __init__(self, settings: ScoringSettings, limits: DecodingLimits) -> None:
        set_decoding_limits(limits)
        self._settings, self._detector = settings, load_detector(settings)

    def __call__(self, job: ScoringJob, heartbeat: Heartbeat) -> ScoringOutcome:
        # The work after the features reports no progress, and may take long.
        guard = partial(send_heartbeats, heartbeat)
        return score_input(job, self._settings, self._detector, heartbeat, guard)


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
    progress: Callable[[int, int | None], None] | None = None,
    guard: _Guard = nullcontext,
) -> ScoringOutcome:
    """Score one input and write its files; a failure is an outcome, not an exception.

    Args:
        job: The input.
        settings: Settings of the run.
        detector: The detector of these settings.
        progress: Called with (snippets done, snippets expected or None).
        guard: Makes a context for work that reports no progress: that on scores and files.
    """
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
                job.path, fps=fps, mask=mask, progress=progress, partial=partial_features
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
    except (
        Exception
    ) as error:  # A fault of oddframe or a decoder: the other videos are still scored.
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
