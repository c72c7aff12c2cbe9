"""Extracting many videos: what is made, what was there, what failed, how long it still takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from oddframe._utils.child_process import PATIENCE_HINT
from oddframe._utils.files import make_folder
from oddframe._utils.threads import share_cores
from oddframe._utils.worker_pool import WorkerFailure, WorkerPool
from oddframe.backbones.engines import choose_runtime
from oddframe.cli.console import bar_progress, print_note, printable, progress_bar
from oddframe.cli.extract_told import Books, Tally, remembered, settle
from oddframe.cli.inputs import recordings
from oddframe.errors import InputError
from oddframe.features.extraction.file_layout import previous_outputs
from oddframe.features.extraction.worker import (
    ExtractionRequest,
    ExtractionResult,
    ExtractionWorker,
    VideoJob,
)
from oddframe.features.store.manifest import ManifestEntry, append_entries, read_entries
from oddframe.features.store.store import FeatureStore
from oddframe.outputs.write import unique_stems


@dataclass(frozen=True)
class Limits:
    """What a run may take.

    Attributes:
        jobs: Videos at the same time; None: one, or what fits on a cluster.
        memory_bytes: That reading one may take, beside the networks.
        timeout_s: Seconds without a frame until a video is given up.
    """

    jobs: int | None
    memory_bytes: int
    timeout_s: float


def run(
    paths: Sequence[str],
    wanted: ExtractionRequest,
    limits: Limits,
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    """Extract everything, say what was made, return the exit code.

    Raises:
        InputError: there are only videos that oddframe wrote itself.
        UsageError: a backbone, engine or device cannot be had; nothing was extracted then.
        OddframeError: the store or the folder cannot be written.
    """
    precision = choose_runtime(wanted.engine, wanted.device, wanted.precision).precision
    specs = [part.spec(precision) for part in wanted.parts]
    make_folder(wanted.store)
    FeatureStore(wanted.store).sweep()
    known, met = remembered(read_entries(wanted.store))
    videos = _videos(recordings(paths, quiet=quiet), wanted.out)
    print_note(
        f"{len(videos)} videos, {', '.join(f'{s.backbone} ({s.hash()})' for s in specs)}, "
        f"into {printable(str(wanted.store))}",
        quiet=quiet,
    )
    sizes = [size_of(video.path) for video in videos]
    tally = Tally(sum(sizes))
    answers = _make_all(videos, sizes, wanted, limits, tally, quiet=quiet)
    append_named = None if wanted.out is None else partial(append_entries, wanted.out)
    append = partial(append_entries, wanted.store)
    books = Books(str(wanted.store), known, met, append, append_named)
    return settle(answers, sizes, books, tally, as_json=as_json, quiet=quiet)


def _make_all(
    videos: Sequence[VideoJob],
    sizes: Sequence[int],
    wanted: ExtractionRequest,
    limits: Limits,
    tally: Tally,
    *,
    quiet: bool,
) -> Iterator[tuple[int, ExtractionResult]]:
    processes = max(1, min(limits.jobs or 1, len(videos)))
    watched: WorkerPool[VideoJob, ExtractionResult] = WorkerPool(
        partial(ExtractionWorker, wanted, limits.memory_bytes),
        processes,
        limits.timeout_s,
        keep=True,
        advice=PATIENCE_HINT,
    )
    left, waited = list(range(len(videos))), False
    with share_cores(processes), progress_bar(quiet=quiet) as bar, _ended(watched):
        update = bar_progress(bar, f"{len(videos)} videos")
        while left:
            busy: list[int] = []
            for answer in watched.run([videos[number] for number in left]):
                _show(watched, [sizes[number] for number in left], tally, update)
                task = bar.tasks[-1]
                frames = tally.frames + sum(done for done, _ in watched.done.values())
                bar.update(task.id, note=f"{frames / tally.seconds:.0f} frames/s")
                if answer is None:
                    continue
                number, made = left[answer[0]], answer[1]
                if isinstance(made, WorkerFailure):
                    entry = ManifestEntry(video=str(videos[number].path), reason=made.reason)
                    made = ExtractionResult((entry,), exit_code=InputError.exit_code)
                if made.busy:
                    busy.append(number)
                else:
                    yield number, made
            if busy and not waited:
                print_note(
                    f"waiting for another process, which extracts {len(busy)} of them", quiet=quiet
                )
            left, waited = busy, True


@contextmanager
def _ended(watched: WorkerPool[VideoJob, ExtractionResult]) -> Iterator[None]:
    try:
        yield
    finally:
        watched.end()


def _show(
    watched: WorkerPool[VideoJob, ExtractionResult],
    sizes: Sequence[int],
    tally: Tally,
    update: Callable[[int, int | None], None],
) -> None:
    at_work = sum(
        sizes[number] * min(1.0, done / expected)
        for number, (done, expected) in watched.done.items()
        if expected
    )
    update(tally.done + round(at_work), max(1, tally.total))


def _videos(paths: Sequence[Path], out: Path | None) -> list[VideoJob]:
    names = unique_stems(paths)
    written = previous_outputs(read_entries(out) if out is not None else (), names)
    return [VideoJob(path, name, written[name]) for path, name in zip(paths, names, strict=True)]


def size_of(path: Path) -> int:
    """Bytes of a video; 0 where that cannot be said."""
    try:
        if path.is_dir():
            return sum(child.stat().st_size for child in path.iterdir())
        return path.stat().st_size
    except OSError:  # Opening it says why.
        return 0
