"""``oddframe.score``: score many videos, write the files of each, resume a run that was stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from oddframe._utils.child_process import PATIENCE_HINT
from oddframe._utils.files import invalid_path_reason, unique_stems
from oddframe._utils.progress import (
    MessageCallback,
    ProgressCallback,
    ignore_message,
    ignore_progress,
)
from oddframe._utils.worker_pool import (
    Heartbeat,
    WorkerFailure,
    WorkerPool,
    send_heartbeats,
    share_cores,
)
from oddframe.backbones.engines import DeviceName, EngineName, PrecisionName
from oddframe.detector import CropCount, Detector, VideoResult
from oddframe.errors import InputError, OddframeError, UsageError
from oddframe.events import RuleChanges
from oddframe.features.extract import find_recordings
from oddframe.features.extraction.file_layout import common_path
from oddframe.methods.actions import LOOK_FOR
from oddframe.methods.config import DETECTS_UNUSUAL
from oddframe.outputs.pages.folder_index import INDEX_NAME, FolderIndex, is_index
from oddframe.outputs.registry import SCORE_FILE, format_names, get_format
from oddframe.outputs.write import output_path
from oddframe.scoring_job import (
    ScoringJob,
    ScoringOutcome,
    ScoringSettings,
    load_detector,
    score_input,
)
from oddframe.video.decoding.isolated import DecodingLimits, decoding_limits, set_decoding_limits
from oddframe.video.decoding.pictures import PICTURE_SUFFIXES
from oddframe.video.mask import read_masks

# A worker process is given up without a heartbeat for so long (s), beside what its decoder may
# take: networks may first have to be converted, on a machine that does other things, too.
_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class ScoringSummary:
    """What a run did."""

    outcomes: tuple[ScoringOutcome, ...]  # Of each input, in the order of the inputs.
    seconds: float  # Without loading the model.
    index: Path | None = None  # The page over all results of the output folder.
    index_error: OddframeError | None = None  # Why it could not be written.

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
    look_for: str | Sequence[str] = (),
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
        fight.mp4: 0.00 s to 1.28 s
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
        look_for: Actions of Kinetics-400, such as ``wrestling``; scores by I3D's own classifier
            instead of a model (``Detector.look_for``).
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
    for name in formats:
        get_format(name)  # UsageError for an unknown one.
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
        formats=tuple(each for each in format_names() if each == SCORE_FILE or each in formats),
        fresh=fresh,
        raise_errors=raise_errors,
        look_for=tuple([look_for] if isinstance(look_for, str) else look_for),
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
    inputs = [*paths, *reversed(once.values())]
    stems = unique_stems(inputs, [Path(INDEX_NAME).stem])
    work = [
        ScoringJob(path, stem, is_features=i >= len(paths))
        for i, (path, stem) in enumerate(zip(inputs, stems, strict=True))
    ]
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
    report, processes = progress or ignore_progress, min(jobs, len(work))
    if processes > 1:
        scored = _in_parallel(work, settings, processes, report)
    else:
        scored = (score_input(job, settings, detector, report) for job in work)
    # Closed at once, also by Ctrl-C and by an exception of a callback, so that no process is left.
    with closing(scored):
        for outcome in scored:
            outcomes[outcome.job] = outcome
            index.add(outcome)
            if on_outcome is not None:
                on_outcome(outcome)
    index.write()
    seconds, page = time.monotonic() - started, index.page.path if index.page else None
    return ScoringSummary(tuple(outcomes[job] for job in work), seconds, page, index.error)


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
    if info.method == LOOK_FOR:
        return [
            f"looking for {info.detects} by I3D's own classifier: a hint; nothing was trained. "
            f"Profile {info.profile}, {info.engine}"
        ]
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
    """

    def __init__(self, work: Sequence[ScoringJob], settings: ScoringSettings) -> None:
        self.page: FolderIndex | None = None
        self.error: OddframeError | None = None
        out = settings.out
        if out is not None and ("html" in settings.formats or is_index(out / INDEX_NAME)):
            page = FolderIndex(out, {job.stem: str(job.path) for job in work})
            self.page = page if page.needed else None
        self.write(finished=False)

    def add(self, outcome: ScoringOutcome) -> None:
        job = outcome.job
        if self.page is None:
            return
        if outcome.result is not None:
            self.page.add_result(job.stem, outcome.result)
        else:
            self.page.add_failure(job.stem, str(job.path), outcome.error)
        self.write(finished=False)

    def write(self, *, finished: bool = True) -> None:
        try:
            if self.page is not None:
                self.page.write(finished)
        except OddframeError as error:
            self.page, self.error = None, error


def _in_parallel(
    work: Sequence[ScoringJob],
    settings: ScoringSettings,
    processes: int,
    progress: ProgressCallback,
) -> Generator[ScoringOutcome, None, None]:
    limits = decoding_limits()
    timeout_s = _TIMEOUT_S + limits.timeout_s
    pool: WorkerPool[ScoringJob, ScoringOutcome] = WorkerPool(
        partial(_Scorer, settings, limits), processes, timeout_s, advice=PATIENCE_HINT
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
        return score_input(
            job, self._settings, self._detector, lambda n, total, _: heartbeat(n, total), guard
        )
