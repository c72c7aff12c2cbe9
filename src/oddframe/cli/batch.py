"""Scoring many videos: one that fails never stops the rest, and what is done is not done again."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from oddframe._utils.child_process import PATIENCE_HINT
from oddframe._utils.threads import share_cores
from oddframe._utils.worker_pool import Heartbeat, WorkerFailure, WorkerPool, send_heartbeats
from oddframe.cli.console import bar_progress, print_answer, print_note, printable, progress_bar
from oddframe.cli.inputs import recordings
from oddframe.cli.messages import format_batch_summary, format_outcome, outcomes_to_dict
from oddframe.detector import Detector
from oddframe.errors import InputError, OddframeError, UsageError
from oddframe.features.extraction.file_layout import common_path
from oddframe.modelfile import DETECTS_UNUSUAL
from oddframe.outputs.pages.folder_index import INDEX_NAME as INDEX
from oddframe.outputs.pages.folder_index import FolderIndex, is_index
from oddframe.outputs.write import output_path, unique_stems
from oddframe.scoring import (
    ScoringJob,
    ScoringOutcome,
    ScoringSettings,
    load_detector,
    score_input,
)
from oddframe.video.decoding.folder import PICTURE_SUFFIXES
from oddframe.video.decoding.isolated import DecodingLimits, decoding_limits, set_decoding_limits

# Several at once: a process is given up when nothing comes of it for so long (s) beside what its
# decoder may take. Networks may first have to be converted, on a machine that does other things.
_SILENCE_S = 300.0


def score_batch(
    paths: Sequence[str],
    features: Sequence[Path],
    settings: ScoringSettings,
    jobs: int,
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    """Score everything, say what was found, return the exit code.

    Raises:
        InputError: there are only videos that oddframe wrote itself.
        UsageError: the model, mask or a device cannot be had, or a video would be written over;
            nothing was scored then.
    """
    videos = recordings(paths, quiet=quiet)
    detector = load_detector(settings)
    # Files of several backbones are one video, whichever of them are named.
    once = {common_path(path, detector.spec): path for path in reversed(features)}
    work = _jobs(videos, list(reversed(once.values())))
    if settings.out is not None:
        _spare(work, settings.out, settings.formats)
    if any(not job.is_features for job in work):
        detector.check()  # What no video would get past is said once.
    if settings.out is not None:
        _make_folder(settings.out)
    info = detector.info
    trained = f"trained on {info.detects}; it knows nothing else"
    if info.detects == DETECTS_UNUSUAL:
        trained = f"trained on normal video alone; it finds {DETECTS_UNUSUAL} beside that"
    print_note(
        printable(f"{info.name}: {trained}. ")
        + f"{info.method} on {info.backbone}, profile {info.profile}, {info.engine}",
        quiet=quiet,
    )
    ours, theirs = len(detector.spec.crops), len(detector.model.profiles[info.profile].spec.crops)
    if ours != theirs and settings.threshold is None:
        set_on = f"{theirs} view{'s' if theirs > 1 else ''}"
        print_note(f"its threshold was set on {set_on}, not {ours}: see --threshold", quiet=quiet)
    if settings.threshold is None:
        masks = [(path, settings.masks.digest_of(path)) for path in videos]
        for text in detector.threshold_notes(masks, settings.events.of(detector.rule)):
            print_note(text, quiet=quiet)
    if (single := sum(job.path.suffix.lower() in PICTURE_SUFFIXES for job in work)) > 1:
        print_note(
            f"{single} single pictures: name their folder to score them as one video", quiet=quiet
        )
    start = time.monotonic()
    outcomes: list[ScoringOutcome] = []
    index = _Index(work, settings)
    for outcome in _score_all(work, settings, detector, jobs, quiet=quiet):
        outcomes.append(outcome)
        index.add(outcome)
        if outcome.error:
            print_note(format_outcome(outcome))
        elif not as_json:
            print_answer(format_outcome(outcome))
    if as_json:
        order = {job: i for i, job in enumerate(work)}
        outcomes.sort(key=lambda outcome: order[outcome.job])
        print_answer(json.dumps(outcomes_to_dict(outcomes), indent=2))
    if len(outcomes) > 1 or any(o.error for o in outcomes):
        print_note(format_batch_summary(outcomes, time.monotonic() - start), quiet=quiet)
    return max([*(o.exit_code for o in outcomes), index.finish(quiet=quiet)])


class _Index:
    """The page over all results of the output folder, where reports are written.

    That it cannot be written is said once and stops nothing.
    """

    def __init__(self, work: Sequence[ScoringJob], settings: ScoringSettings) -> None:
        self._index: FolderIndex | None = None
        self._exit_code = 0
        out = settings.out
        if out is not None and ("html" in settings.formats or is_index(out / INDEX)):
            index = FolderIndex(out, {job.stem: str(job.path) for job in work})
            self._index = index if index.wanted else None
        self._write(finished=False)

    def add(self, outcome: ScoringOutcome) -> None:
        """Take up what became of one input."""
        if self._index is None:
            return
        job = outcome.job
        if outcome.result is not None:
            self._index.add_result(job.stem, outcome.result)
        else:
            self._index.add_failure(job.stem, str(job.path), outcome.error)
        self._write(finished=False)

    def finish(self, *, quiet: bool) -> int:
        """Write it a last time and say where it is; the exit code."""
        self._write(finished=True)
        if self._index is not None:
            print_note(f"all videos and events: {printable(str(self._index.path))}", quiet=quiet)
        return self._exit_code

    def _write(self, *, finished: bool) -> None:
        try:
            if self._index is not None:
                self._index.write(finished)
        except OddframeError as error:
            print_note(printable(str(error)))
            self._index, self._exit_code = None, error.exit_code


def _jobs(videos: Sequence[Path], features: Sequence[Path]) -> list[ScoringJob]:
    every = [*videos, *features]
    return [
        ScoringJob(path, stem, is_features=i >= len(videos))
        for i, (path, stem) in enumerate(
            zip(every, unique_stems(every, [Path(INDEX).stem]), strict=True)
        )
    ]


def _spare(work: Sequence[ScoringJob], out: Path, formats: Sequence[str]) -> None:
    """Refuse to write over anything that is to be scored."""
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


def _score_all(
    work: Sequence[ScoringJob],
    settings: ScoringSettings,
    detector: Detector,
    jobs: int,
    *,
    quiet: bool,
) -> Iterator[ScoringOutcome]:
    if min(jobs, len(work)) > 1:
        yield from _in_parallel(work, settings, min(jobs, len(work)), quiet=quiet)
        return
    with progress_bar(quiet=quiet) as bar:
        for job in work:
            progress = bar_progress(bar, job.path.name)
            outcome = score_input(job, settings, detector, progress)
            bar.remove_task(bar.task_ids[-1])
            yield outcome


def _in_parallel(
    work: Sequence[ScoringJob], settings: ScoringSettings, jobs: int, *, quiet: bool
) -> Iterator[ScoringOutcome]:
    watched: WorkerPool[ScoringJob, ScoringOutcome] = WorkerPool(
        partial(_Scorer, settings, decoding_limits()),
        jobs,
        _SILENCE_S + decoding_limits().timeout_s,
        advice=PATIENCE_HINT,
    )
    with share_cores(jobs), progress_bar(quiet=quiet) as bar:
        update, done = bar_progress(bar, f"{len(work)} videos"), 0
        for found in watched.run(work):
            if found is None:
                continue
            number, answer = found
            done += 1
            update(done, len(work))
            if isinstance(answer, WorkerFailure):
                reason = f"{work[number].path}: {answer.reason}"
                answer = ScoringOutcome(work[number], error=reason, exit_code=InputError.exit_code)
            yield answer


class _Scorer:
    """Scores in a process of its own that is watched; see ``WorkerPool``."""

    def __init__(self, settings: ScoringSettings, limits: DecodingLimits) -> None:
        set_decoding_limits(limits)
        self._settings, self._detector = settings, load_detector(settings)

    def __call__(self, job: ScoringJob, heartbeat: Heartbeat) -> ScoringOutcome:
        # What comes after the features may take long.
        return score_input(
            job,
            self._settings,
            self._detector,
            heartbeat,
            settling=partial(send_heartbeats, heartbeat),
        )
