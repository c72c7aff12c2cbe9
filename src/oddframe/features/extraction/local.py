"""Extracts many videos on this machine, several at a time, each in a process of a worker pool."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial

from oddframe._utils.child_process import PATIENCE_HINT
from oddframe._utils.processes import share_cores
from oddframe._utils.progress import MessageCallback
from oddframe._utils.worker_pool import WorkerFailure, WorkerPool
from oddframe.errors import InputError
from oddframe.features.extraction.progress import ProgressTracker
from oddframe.features.extraction.worker import (
    ExtractionRequest,
    ExtractionResult,
    ExtractionWorker,
    VideoJob,
)
from oddframe.features.store.manifest import ManifestEntry
from oddframe.video.decoding.isolated import DecodingLimits


def extract_locally(
    videos: Sequence[VideoJob],
    request: ExtractionRequest,
    limits: DecodingLimits,
    jobs: int,
    tracker: ProgressTracker,
    message: MessageCallback,
) -> Generator[tuple[int, ExtractionResult], None, None]:
    """Extract videos and yield (index, result) of each as it is finished.

    A video that another process is extracting is tried again after the others, until it is done.

    Args:
        videos: The videos.
        request: What to extract.
        limits: Memory besides the networks and seconds without a frame that a video may take.
        jobs: Videos at the same time.
        tracker: Gets the progress of the videos that are being decoded.
        message: Called with a line if the run waits for another process.
    """
    processes = max(1, min(jobs, len(videos)))
    pool: WorkerPool[VideoJob, ExtractionResult] = WorkerPool(
        partial(ExtractionWorker, request, limits.memory_bytes),
        processes,
        limits.timeout_s,
        keep=True,
        advice=PATIENCE_HINT,
    )
    remaining, notified = list(range(len(videos))), False
    with share_cores(processes):
        try:
            while remaining:
                busy: list[int] = []
                for answer in pool.run([videos[index] for index in remaining]):
                    tracker.report_running(
                        (remaining[number], *frames) for number, frames in pool.done.items()
                    )
                    if answer is None:
                        continue
                    index, result = remaining[answer[0]], answer[1]
                    if isinstance(result, WorkerFailure):
                        entry = ManifestEntry(video=str(videos[index].path), reason=result.reason)
                        result = ExtractionResult((entry,), exit_code=InputError.exit_code)
                    if result.busy:
                        busy.append(index)
                    else:
                        yield index, result
                if busy and not notified:
                    message(f"waiting for another process, which extracts {len(busy)} of them")
                remaining, notified = busy, True
        finally:
            pool.end()
