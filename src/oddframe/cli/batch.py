"""Scoring many videos: one that fails never stops the rest, and what is done is not done again."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from oddframe.cli.console import follow, note, printable, progress_bar, say
from oddframe.detector import Detector, VideoResult
from oddframe.errors import InputError, OddframeError
from oddframe.features.extract import Progress
from oddframe.features.store import read_features
from oddframe.outputs.clock import clock, length
from oddframe.outputs.json_file import read_json, to_dict
from oddframe.outputs.names import stems
from oddframe.outputs.write import path_of, write
from oddframe.video.discover import find_inputs
from oddframe.video.mask import read_mask

_EVENTS_IN_A_LINE = 5


@dataclass(frozen=True)
class Settings:
    """What ``oddframe score`` was asked for; see its options."""

    model: str
    profile: str
    views: int | None
    device: str
    engine: str
    precision: str
    threshold: float | None
    mask: Path | None
    fps: float | None
    out: Path | None
    formats: tuple[str, ...]
    again: bool


@dataclass(frozen=True)
class Job:
    """One input: a video, or a feature file, and the name of what comes out."""

    path: Path
    stem: str
    is_features: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of one job: a result, or the reason why there is none."""

    job: Job
    result: VideoResult | None = None
    error: str = ""
    exit_code: int = 0
    kept: bool = False


def run(
    paths: Sequence[str],
    features: Sequence[Path],
    settings: Settings,
    jobs: int,
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    """Score everything, say what was found, return the exit code.

    Raises:
        UsageError: the model, mask or a device cannot be had; nothing was scored then.
    """
    work = _jobs(find_inputs(paths), features)
    detector = load_detector(settings)
    if settings.mask is not None:
        read_mask(settings.mask)  # A bad mask is said once, not once a video.
    if settings.out is not None:
        _make_folder(settings.out)
    info = detector.info
    note(
        f"{info.name}: trained on {info.knows}; it knows nothing else. "
        f"{info.method} on {info.backbone}, profile {info.profile}, {info.engine}",
        quiet=quiet,
    )
    start = time.monotonic()
    outcomes: list[Outcome] = []
    for outcome in _score_all(work, settings, detector, jobs, quiet=quiet):
        outcomes.append(outcome)
        if outcome.error:
            note(line(outcome))
        elif not as_json:
            say(line(outcome))
    if as_json:
        say(json.dumps(_answer(outcomes), indent=2))
    if len(outcomes) > 1 or any(o.error for o in outcomes):
        note(summary(outcomes, time.monotonic() - start), quiet=quiet)
    return max((o.exit_code for o in outcomes), default=0)


def load_detector(settings: Settings) -> Detector:
    """The detector that these settings describe."""
    return Detector.load(
        settings.model,
        profile=settings.profile,
        views=settings.views,  # type: ignore[arg-type]
        device=settings.device,  # type: ignore[arg-type]
        engine=settings.engine,  # type: ignore[arg-type]
        precision=settings.precision,  # type: ignore[arg-type]
    )


def _jobs(videos: Sequence[Path], features: Sequence[Path]) -> list[Job]:
    every = [*videos, *features]
    return [
        Job(path, stem, is_features=i >= len(videos))
        for i, (path, stem) in enumerate(zip(every, stems(every), strict=True))
    ]


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OddframeError(f"{out}: cannot be made ({error.strerror})") from None
    if not os.access(out, os.W_OK):
        raise OddframeError(f"{out}: no permission to write there; choose another --out")


def _score_all(
    work: Sequence[Job], settings: Settings, detector: Detector, jobs: int, *, quiet: bool
) -> Iterator[Outcome]:
    if min(jobs, len(work)) > 1:
        yield from _in_parallel(work, settings, min(jobs, len(work)), quiet=quiet)
        return
    with progress_bar(quiet=quiet) as bar:
        for job in work:
            progress = follow(bar, job.path.name)
            outcome = score_one(job, settings, detector, progress)
            bar.remove_task(bar.task_ids[-1])
            yield outcome


def _in_parallel(
    work: Sequence[Job], settings: Settings, jobs: int, *, quiet: bool
) -> Iterator[Outcome]:
    # Each process gets its share of the cores; it reads this when it loads its networks.
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = threads
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        with progress_bar(quiet=quiet) as bar:
            update = follow(bar, f"{len(work)} videos")
            waiting = {pool.submit(_score_in_worker, job, settings): job for job in work}
            for done, future in enumerate(as_completed(waiting), 1):
                update(done, len(work))
                try:
                    yield future.result()
                except BrokenProcessPool:
                    reason = "the process that scored it was killed (out of memory?)"
                    yield Outcome(
                        waiting[future], error=f"{waiting[future].path}: {reason}", exit_code=1
                    )
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


_worker_detector = lru_cache(maxsize=1)(load_detector)


def _score_in_worker(job: Job, settings: Settings) -> Outcome:
    return score_one(job, settings, _worker_detector(settings))


def score_one(
    job: Job, settings: Settings, detector: Detector, progress: Progress | None = None
) -> Outcome:
    """Score one input and write its files; a failure is an outcome, not an exception."""
    try:
        rule = detector.rule
        if settings.threshold is not None:
            rule = rule.with_threshold(settings.threshold)
        fingerprint = _fingerprint(job, settings, detector)
        if (old := _kept(job, settings, fingerprint)) is not None:
            return Outcome(job, old, kept=True)
        mask = read_mask(settings.mask) if settings.mask else None
        damaged = 0
        if job.is_features:
            features = read_features(job.path)
        else:
            fps = settings.fps if job.path.is_dir() else None  # A video has its own times.
            made = detector.features(job.path, fps=fps, mask=mask, progress=progress)
            features, damaged = made.features, made.damaged_packets
        track = detector.score(features)
        result = detector.result(str(job.path), track, rule=rule, damaged=damaged)
        result = replace(result, fingerprint=fingerprint)
        if settings.out is not None:
            source = None if job.is_features else job.path
            write(result, settings.formats, settings.out, job.stem, source=source, mask=mask)
        return Outcome(job, result)
    except OddframeError as error:
        return Outcome(job, error=_named(str(error), job.path), exit_code=error.exit_code)


def _named(reason: str, path: Path) -> str:
    return reason if str(path) in reason else f"{path}: {reason}"


def _fingerprint(job: Job, settings: Settings, detector: Detector) -> str:
    """Changes when the input or anything that the result depends on does."""
    stat = job.path.stat() if job.path.exists() else None
    parts: list[Any] = [
        str(job.path.absolute()),
        stat and (stat.st_size, stat.st_mtime_ns),
        detector.model.sha256,
        detector.spec.hash(),
        detector.choice,
        settings.threshold,
        settings.fps,
        settings.mask and hashlib.sha256(settings.mask.read_bytes()).hexdigest(),
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _kept(job: Job, settings: Settings, fingerprint: str) -> VideoResult | None:
    """The result of an earlier run with the same fingerprint, if all its files are there."""
    if settings.out is None or settings.again:
        return None
    files = [path_of(settings.out, job.stem, name) for name in settings.formats]
    if not all(file.is_file() for file in files):
        return None
    try:
        old = read_json(path_of(settings.out, job.stem, "json"))
    except InputError:
        return None
    return old if old.fingerprint == fingerprint else None


def line(outcome: Outcome) -> str:
    """What a person reads about one video."""
    result = outcome.result
    if result is None:
        return printable(f"FAILED {outcome.error}")
    notes = []
    if result.damaged_packets:
        notes.append(f"{result.damaged_packets} damaged packets skipped")
    if outcome.kept:
        notes.append("scored before")
    ending = f"  [{'; '.join(notes)}]" if notes else ""
    name = printable(result.video)
    duration = length(result.track.timebase.duration_s)
    if not result.events:
        highest = result.track.scores.max()
        return f"{name} ({duration}): no events (highest score {highest:.2f}){ending}"
    shown = [
        f"{clock(e.start_s, 1)}-{clock(e.end_s, 1)} ({e.score:.2f})"
        for e in result.events[:_EVENTS_IN_A_LINE]
    ]
    if (more := len(result.events) - len(shown)) > 0:
        shown.append(f"and {more} more")
    count = f"{len(result.events)} event{'s' if len(result.events) > 1 else ''}"
    return f"{name} ({duration}): {count}: {', '.join(shown)}{ending}"


def summary(outcomes: Sequence[Outcome], seconds: float) -> str:
    """The last line of a batch."""
    results = [o.result for o in outcomes if o.result is not None]
    scored = sum(
        o.result.track.timebase.duration_s for o in outcomes if o.result is not None and not o.kept
    )
    eventful = sum(1 for result in results if result.events)
    text = f"{len(results)} of {len(outcomes)} scored, {eventful} with events"
    if scored > 0 and seconds > 0:
        text += (
            f"; {length(scored)} of video in {length(seconds)}, {scored / seconds:.1f}x real time"
        )
    if failed := [o for o in outcomes if o.error]:
        text += f"; {len(failed)} failed, see above"
    return text


def _answer(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "schema": 1,
        "videos": [to_dict(o.result) for o in outcomes if o.result is not None],
        "failed": [{"video": str(o.job.path), "reason": o.error} for o in outcomes if o.error],
    }
