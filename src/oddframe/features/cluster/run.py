"""Extracts many videos on a cluster: look up what exists, then extract each content once."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from oddframe._utils.files import unique_stems
from oddframe._utils.progress import MessageCallback
from oddframe.features.cluster.ray_cluster import Cluster, ClusterResources, connect_to_cluster
from oddframe.features.cluster.remote import RemotePath, find_remote_videos, to_remote_path
from oddframe.features.cluster.worker import ClusterJob, ItemStatus, WorkItem, failed_result
from oddframe.features.extraction.file_layout import previous_outputs
from oddframe.features.extraction.results import AppendEntries, ManifestRecorder, ProgressTracker
from oddframe.features.extraction.worker import ExtractionRequest, ExtractionResult
from oddframe.features.store.manifest import (
    MANIFEST_NAME,
    ManifestEntry,
    append_entries,
    read_entries,
)
from oddframe.video.decoding.isolated import DecodingLimits

# A manifest in an object store is uploaded as a whole; not more often than this (s).
_UPLOAD_S = 60.0


@dataclass(frozen=True)
class ClusterRun:
    """An extraction on a cluster; see ``open_cluster_run``.

    Attributes:
        items: The videos.
        recorder: Records results in the manifests.
        store: The feature store.
        out: Folder of files named after the videos; None: none are written.
    """

    items: Sequence[WorkItem]
    recorder: ManifestRecorder
    store: RemotePath
    out: RemotePath | None

    @property
    def sizes(self) -> list[int]:
        """Bytes of each video."""
        return [item.video.size for item in self.items]

    def extract(
        self,
        address: str,
        request: ExtractionRequest,
        limits: DecodingLimits,
        jobs: int | None,
        tracker: ProgressTracker,
        message: MessageCallback,
    ) -> Generator[tuple[int, ExtractionResult], None, None]:
        """Extract the videos and yield (index, result) of each as it is finished.

        Args:
            address: ``local``, ``ray://HOST:PORT`` or ``HOST:PORT``.
            request: What to extract; its ``store`` and ``out`` are ignored.
            limits: Memory and seconds that a video may take on a machine.
            jobs: Videos at the same time on all machines; None: as many as fit.
            tracker: Gets the number of videos that have been inspected.
            message: Called with lines about the run, such as work that was lost.

        Raises:
            UsageError: Ray, or a package that an address needs, is not installed, or the engine is
                not available.
            OddframeError: the cluster was lost, or the store cannot be written.
        """
        with connect_to_cluster(address, jobs, message) as cluster:
            request, resources = cluster.resolve(request)
            specs = tuple(template.spec(request.precision) for template in request.templates)
            job = ClusterJob(
                request, specs, self.store, self.out, limits.memory_bytes, limits.timeout_s
            )
            message(
                f"{len(self.items)} videos, "
                f"{', '.join(f'{s.backbone} ({s.hash()})' for s in specs)}, "
                f"into {self.store.url}, {resources.actors} at the same time"
            )
            yield from _extract_all(cluster, self.items, job, resources, tracker)


@contextmanager
def open_cluster_run(inputs: Sequence[str], store: str, out: str | None) -> Iterator[ClusterRun]:
    """Find the videos and open the manifests, which are uploaded a last time at the end.

    Args:
        inputs: Addresses such as ``s3://bucket/videos``, or paths that are the same on every
            machine.
        store: The feature store, an address or a path.
        out: Folder of files named after the videos, likewise; None: none are written.

    Raises:
        InputError: an object store cannot be listed or read.
        UsageError: a package that an address needs is not installed.
    """
    with ExitStack() as stack:
        store_path, out_path = to_remote_path(store), None if out is None else to_remote_path(out)
        known, append = stack.enter_context(_open_manifest(store_path))
        written: list[ManifestEntry] = []
        append_files: AppendEntries | None = None
        if out_path is not None:
            written, append_files = stack.enter_context(_open_manifest(out_path))
        videos = find_remote_videos(inputs)
        stems = unique_stems([Path(video.name) for video in videos])
        previous = previous_outputs(written, stems)
        items = [
            WorkItem(video, stem, previous[stem]) for video, stem in zip(videos, stems, strict=True)
        ]
        yield ClusterRun(items, ManifestRecorder(known, append, append_files), store_path, out_path)


def _extract_all(
    cluster: Cluster,
    items: Sequence[WorkItem],
    job: ClusterJob,
    resources: ClusterResources,
    tracker: ProgressTracker,
) -> Iterator[tuple[int, ExtractionResult]]:
    """First the videos with nothing to do, then one video of each content, then its copies."""
    statuses: dict[int, ItemStatus] = {}
    for found in cluster.run(dict(enumerate(items)), job, resources, "inspect"):
        statuses.update(found)
        tracker.report_inspected(len(statuses))
    todo: dict[int, WorkItem] = {}
    copies: defaultdict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        status = statuses[index]
        if status.reason:
            yield index, failed_result(item, status.reason, status.exit_code)
        elif status.is_done:
            yield index, ExtractionResult(status.stored)
        elif status.sha256 in copies:
            copies[status.sha256].append(index)
        else:
            copies[status.sha256] = []
            todo[index] = replace(item, sha256=status.sha256, missing=status.missing)
    later: dict[int, WorkItem] = {}
    for index, result in _extract_items(cluster, todo, job, resources):
        yield index, result
        for copy in copies[todo[index].sha256]:
            item = replace(items[copy], sha256=todo[index].sha256)
            if job.out is None or result.exit_code:
                yield copy, _copied_result(result, item)
            else:
                later[copy] = item
    # The features of copies are in the store by now: only files with their names are missing.
    again = replace(job, request=replace(job.request, fresh=False))
    yield from _extract_items(cluster, later, again, resources)


def _extract_items(
    cluster: Cluster, items: Mapping[int, WorkItem], job: ClusterJob, resources: ClusterResources
) -> Iterator[tuple[int, ExtractionResult]]:
    for found in cluster.run(items, job, resources, "extract"):
        yield from found


def _copied_result(result: ExtractionResult, item: WorkItem) -> ExtractionResult:
    entries = (replace(entry, video=item.video.name, seconds=0.0) for entry in result.entries)
    return replace(result, entries=tuple(entries), new=0)


@contextmanager
def _open_manifest(folder: RemotePath) -> Iterator[tuple[list[ManifestEntry], AppendEntries]]:
    """The lines of a folder's manifest, and a function that adds lines to it."""
    if folder.is_local:
        path = folder.local_path
        yield list(read_entries(path)), lambda entries: append_entries(path, entries)
        return
    with tempfile.TemporaryDirectory(prefix="oddframe-") as name:
        copy, remote = Path(name), folder / MANIFEST_NAME
        if remote.exists():
            remote.fetch(copy / MANIFEST_NAME)
        uploaded = time.monotonic()
        changed = False

        def append(entries: Iterable[ManifestEntry]) -> None:
            nonlocal uploaded, changed
            lines = list(entries)
            append_entries(copy, lines)
            changed = changed or bool(lines)
            if changed and time.monotonic() - uploaded > _UPLOAD_S:
                remote.put(copy / MANIFEST_NAME)
                uploaded, changed = time.monotonic(), False

        try:
            yield list(read_entries(copy)), append
        finally:
            if changed:
                remote.put(copy / MANIFEST_NAME)
