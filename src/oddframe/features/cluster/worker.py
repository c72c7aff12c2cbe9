"""The work of one machine in a cluster extraction: inspect videos, extract what is missing.

A worker downloads a video to its own disk, extracts it as ``oddframe extract`` does on one machine,
and uploads the finished files. It can be killed at any time: uploads are whole or absent, and what
is missing is extracted again.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from weakref import finalize

from oddframe._utils.child_process import PATIENCE_HINT
from oddframe._utils.files import scratch_folder
from oddframe._utils.version import VERSION
from oddframe._utils.worker_pool import WorkerFailure, WorkerPool
from oddframe.errors import InputError, OddframeError
from oddframe.features.cluster.remote import RemotePath, RemoteVideo
from oddframe.features.extraction.file_layout import (
    NO_OUTPUTS,
    PreviousOutputs,
    name_taken_error,
    output_names,
    unknown_file_error,
)
from oddframe.features.extraction.worker import (
    ExtractionRequest,
    ExtractionResult,
    ExtractionWorker,
    VideoJob,
    describe_entry,
    hash_video,
)
from oddframe.features.spec import FeatureSpec
from oddframe.features.store.manifest import ManifestEntry
from oddframe.features.store.store import path_in_store


@dataclass(frozen=True)
class ClusterJob:
    """What all workers of a run have in common."""

    request: ExtractionRequest  # Its ``store`` and ``out`` are ignored.
    specs: tuple[FeatureSpec, ...]  # As the caller's machine has them.
    store: RemotePath
    out: RemotePath | None  # For files named after the videos.
    memory_bytes: int
    timeout_s: float
    version: str = VERSION  # The caller's.

    def check(self) -> None:
        """Raise OddframeError unless this machine extracts the same features as the caller's."""
        if self.version != VERSION:
            raise OddframeError(
                f"a machine of the cluster has oddframe {VERSION}, and this one has "
                f"{self.version}: install the same everywhere"
            )
        for template, spec in zip(self.request.templates, self.specs, strict=True):
            if differences := template.spec(self.request.precision).differences(spec):
                raise OddframeError(
                    f"a machine of the cluster has other weights: {'; '.join(differences)}"
                )


@dataclass(frozen=True)
class WorkItem:
    """A video of a run."""

    video: RemoteVideo
    stem: str  # Name of its files in the output folder, without ending.
    previous: PreviousOutputs = NO_OUTPUTS
    sha256: str = ""  # Of its content; "": not known yet.
    missing: int = 0  # How many kinds of features were not in the store when the run began.


@dataclass(frozen=True)
class ItemStatus:
    """Which features of a video exist."""

    sha256: str  # Of its content; "": it could not be read.
    stored: tuple[ManifestEntry, ...] = ()  # One for each kind of features in the store.
    missing: int = 0  # How many kinds are not in the store.
    missing_files: int = 0  # How many kinds lack their files in the output folder.
    reason: str = ""  # Why the video cannot be extracted; "": it can.
    exit_code: int = 0

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return bool(self.reason) or not (self.missing or self.missing_files)


def inspect_item(item: WorkItem, job: ClusterJob) -> ItemStatus:
    """Look up which features of a video exist; a failure is returned, not raised."""
    try:
        sha256 = item.sha256 or item.video.location.sha256()
        entries = [_stored_entry(item, sha256, spec, job) for spec in job.specs]
        files = output_names(job.specs, item.stem, job.request.format)
        missing_files = sum(
            not _has_files(item, sha256, spec, names, job)
            for spec, names in zip(job.specs, files, strict=True)
        )
    except OddframeError as error:
        reason = _clean_reason(str(error), item, item.video.location.url)
        return ItemStatus("", reason=reason, exit_code=error.exit_code)
    stored = tuple(entry for entry in entries if entry is not None)
    return ItemStatus(sha256, stored, len(entries) - len(stored), missing_files)


def failed_result(
    item: WorkItem, reason: str, exit_code: int = InputError.exit_code, sha256: str = ""
) -> ExtractionResult:
    """The result of a video that cannot be extracted."""
    entry = ManifestEntry(video=item.video.name, sha256=sha256, reason=reason)
    return ExtractionResult((entry,), exit_code=exit_code)


class ClusterWorker:
    """Extracts one video after another, in a process of its own that keeps the networks."""

    def __init__(self, job: ClusterJob) -> None:
        job.check()
        self._job = job
        scratch = ExitStack()
        self._folder = scratch.enter_context(scratch_folder())
        finalize(self, scratch.close)  # Ray does not close its actors.
        request = replace(
            job.request,
            store=self._folder / "store",
            out=self._folder / "out" if job.out else None,
            fresh=False,
        )
        self._pool: WorkerPool[VideoJob, ExtractionResult] = WorkerPool(
            partial(ExtractionWorker, request, job.memory_bytes),
            1,
            job.timeout_s,
            keep=True,
            advice=PATIENCE_HINT,
        )

    def __call__(self, item: WorkItem) -> ExtractionResult:
        """Extract the features of a video; a failure is returned, not raised."""
        status = inspect_item(item, self._job)
        if status.reason:
            return failed_result(item, status.reason, status.exit_code, item.sha256)
        if status.is_done:  # By a worker that died before it could report.
            return ExtractionResult(status.stored, new=item.missing)
        try:
            path = self._download_video(item)
            for entry in status.stored:  # To write files named after the video.
                (self._job.store / entry.file).fetch(self._folder / "store" / entry.file)
            result = self._extract(VideoJob(path, item.stem))
            if not result.exit_code:
                self._upload(item, status)
        except OddframeError as error:
            reason = _clean_reason(str(error), item, item.video.location.url)
            return failed_result(item, reason, error.exit_code, item.sha256)
        finally:
            for each in self._folder.iterdir():
                shutil.rmtree(each, ignore_errors=True)
        return _with_original_name(result, item, path)

    def _download_video(self, item: WorkItem) -> Path:
        location = item.video.location
        if location.is_local:
            return Path(location.url)
        path = self._folder / "in" / (location.url.rstrip("/").rpartition("/")[2] or "video")
        location.fetch(path)
        return path

    def _extract(self, video: VideoJob) -> ExtractionResult:
        _, result = next(filter(None, self._pool.run([video])))
        if isinstance(result, WorkerFailure):
            raise InputError(result.reason)
        return result

    def _upload(self, item: WorkItem, status: ItemStatus) -> None:
        """Upload the new files."""
        stored = {entry.file for entry in status.stored}
        if self._job.out is not None:
            self._refuse_unknown_files(item, self._job.out)
        for folder, pattern, target in (
            ("out", "*", self._job.out),
            ("store", "??/*.safetensors", self._job.store),
        ):
            for file in sorted((self._folder / folder).glob(pattern)):
                name = file.relative_to(self._folder / folder).as_posix()
                if target is not None and name not in stored:
                    (target / name).put(file)

    def _refuse_unknown_files(self, item: WorkItem, out: RemotePath) -> None:
        """As ``refuse_unknown_files`` of an output folder on this machine."""
        for names in output_names(self._job.specs, item.stem, self._job.request.format):
            if item.previous.wrote(names[0]):
                continue
            for name in names:
                new_file = self._folder / "out" / name
                if (out / name).exists() and (out / name).sha256() != hash_video(new_file):
                    raise unknown_file_error(name, out.url)


def _stored_entry(
    item: WorkItem, sha256: str, spec: FeatureSpec, job: ClusterJob
) -> ManifestEntry | None:
    if job.request.fresh:
        return None
    header = (job.store / path_in_store(sha256, spec)).header()
    if header is None or header.spec != spec:
        return None
    return describe_entry(ManifestEntry(video=item.video.name, sha256=sha256), spec, header)


def _has_files(
    item: WorkItem, sha256: str, spec: FeatureSpec, names: Sequence[str], job: ClusterJob
) -> bool:
    """Whether the features of ``spec`` are in the output folder, if one is wanted."""
    if job.out is None:
        return True
    owner = item.previous.owner(names[0], sha256)
    if owner is not None and (job.out / names[0]).exists():
        raise name_taken_error(item.video.name, names[0], job.out.url, owner)
    if job.request.fresh or not item.previous.matches(names[0], sha256, spec.hash()):
        return False
    return all((job.out / name).exists() for name in names)


def _with_original_name(result: ExtractionResult, item: WorkItem, path: Path) -> ExtractionResult:
    """The result with the video's name as it was given, in place of its path on this machine."""

    def rename(entry: ManifestEntry) -> ManifestEntry:
        reason = _clean_reason(entry.reason, item, str(path))
        return replace(entry, video=item.video.name, reason=reason)

    return replace(
        result,
        entries=tuple(map(rename, result.entries)),
        file_entries=tuple(map(rename, result.file_entries)),
    )


def _clean_reason(reason: str, item: WorkItem, path: str) -> str:
    """The reason without the path in front, and with the video's own name elsewhere."""
    return reason.removeprefix(f"{path}: ").replace(path, item.video.name)
