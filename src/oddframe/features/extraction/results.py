"""What an extraction reports of each video: its lines in the manifests, and the progress."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from oddframe._utils.progress import ProgressCallback, ignore_progress
from oddframe.features.extraction.worker import ExtractionResult
from oddframe.features.store.manifest import REMARK_FIELDS, ManifestEntry

# Adds lines to a manifest.
AppendEntries = Callable[[Iterable[ManifestEntry]], None]
_Key = tuple[str, str, str]


class ManifestRecorder:
    """Adds a line to a manifest for each result that the manifest does not state yet.

    ``entries`` are the lines of the store's manifest, oldest first, read once because there may be
    a million. ``append_files`` adds lines to the manifest of the folder of files by name.
    """

    def __init__(
        self,
        entries: Iterable[ManifestEntry],
        append: AppendEntries,
        append_files: AppendEntries | None,
    ) -> None:
        self._append, self._append_files = append, append_files
        # What holds for each video: the features that exist or, if that came later, the failure.
        self._known: defaultdict[str, set[_Key]] = defaultdict(set)
        # By content and spec, the line that names damage or notes.
        self._remarks: dict[tuple[str, str], ManifestEntry] = {}
        for entry in entries:
            others = () if entry.reason else (key for key in self._known[entry.video] if not key[2])
            self._known[entry.video] = {*others, _key(entry)}
            if _has_remarks(entry):
                self._remarks[entry.sha256, entry.spec] = entry

    def record(self, result: ExtractionResult) -> ExtractionResult:
        """Write the lines of a result; the result with the damage and notes of earlier runs."""
        result = replace(result, entries=tuple(map(self._with_remarks, result.entries)))
        self._append(
            [e for e in result.entries if result.new or _key(e) not in self._known[e.video]]
        )
        if self._append_files is not None:
            self._append_files(result.file_entries)
        return result

    def _with_remarks(self, entry: ManifestEntry) -> ManifestEntry:
        """Add the damage and notes of the earlier extraction to an entry of stored features."""
        old = self._remarks.get((entry.sha256, entry.spec))
        if old is None or entry.reason or _has_remarks(entry):
            return entry
        return replace(entry, **{name: getattr(old, name) for name in REMARK_FIELDS})


def _has_remarks(entry: ManifestEntry) -> bool:
    return any(getattr(entry, name) for name in REMARK_FIELDS)


def _key(entry: ManifestEntry) -> _Key:
    return entry.sha256, entry.spec, entry.reason


# Called with the result of a video and the estimated seconds left; None: unknown, or none is left.
ResultCallback = Callable[[ExtractionResult, float | None], object]


class ProgressTracker:
    """Counts what is done, of videos of these sizes in bytes, and reports each change."""

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
