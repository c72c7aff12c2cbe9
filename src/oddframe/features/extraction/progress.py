"""Reports the progress of an extraction in bytes of video, which are known before decoding."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from oddframe._utils.progress import ProgressCallback, ignore_progress
from oddframe.features.extraction.worker import ExtractionResult

# Called with the result of a video and the estimated seconds left; None: unknown, or none is left.
ResultCallback = Callable[[ExtractionResult, float | None], object]


class ProgressTracker:
    """Counts what is done, and reports each change.

    Args:
        sizes: Bytes of each video.
        progress: Called with the bytes done and in all.
        on_result: Called with the result of each video.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        progress: ProgressCallback | None = None,
        on_result: ResultCallback | None = None,
    ) -> None:
        self.frames = 0  # Decoded, of finished videos.
        self._sizes, self._total = sizes, sum(sizes)
        self._progress, self._on_result = progress or ignore_progress, on_result
        self._done = 0
        self._decoded = 0  # Bytes of the finished videos that were not in the store.
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return max(1e-3, time.monotonic() - self._start)

    def report_inspected(self, videos: int) -> None:
        """Report how many videos a cluster has looked up."""
        count = len(self._sizes)
        self._progress(videos, count, f"reading {count} videos")

    def report_running(self, videos: Iterable[tuple[int, int, int | None]]) -> None:
        """Report the videos being decoded: (index, frames so far, frames expected or None)."""
        bytes_done, frames = float(self._done), self.frames
        for index, done, expected in videos:
            frames += done
            if expected:
                bytes_done += self._sizes[index] * min(1.0, done / expected)
        self._report(round(bytes_done), frames)

    def finish(self, index: int, result: ExtractionResult) -> None:
        """Count a finished video and report its result."""
        self._done += self._sizes[index]
        if result.new or result.exit_code:
            self._decoded += self._sizes[index]
            self.frames += result.entries[0].frames
        if self._on_result is not None:
            self._on_result(result, self._seconds_left())
        self._report(self._done, self.frames)

    def _seconds_left(self) -> float | None:
        if self._done >= self._total or not self._decoded:
            return None
        return self.seconds * (self._total - self._done) / self._decoded

    def _report(self, done: int, frames: int) -> None:
        speed = f"{frames / self.seconds:.0f} frames/s"
        self._progress(done, max(1, self._total), f"{len(self._sizes)} videos: {speed}")
