"""Extracts many videos on a cluster: look up what exists, then extract each content once."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import chain
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
    """An extraction on a cluster; see ``open_cluster_run``."""

    items: Sequence[WorkItem]
    recorder: ManifestRecorder
    store: RemotePath
    out: RemotePath | None

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

        The request's ``store`` and ``out`` are ignored.
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

    ``store`` and ``out`` are addresses or paths, and paths are the same on every machine.
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
    for index, result in chain.from_iterable(cluster.run(todo, job, resources, "extract")):
        yield index, result
        for copy in copies[todo[index].sha256]:
            name = items[copy].video.name
            if job.out is None or result.exit_code:
                entries = tuple(replace(e, video=name, seconds=0.0) for e in result.entries)
                yield copy, replace(result, entries=entries, new=0)
            else:
                later[copy] = replace(items[copy], sha256=todo[index].sha256)
    # The features of copies are in the store by now: only files with their names are missing.
    again = replace(job, request=replace(job.request, fresh=False))
    yield from chain.from_iterable(cluster.run(later, again, resources, "extract"))


@contextmanager
def _open_manifest(folder: RemotePath) -> Iterator[tuple[list[ManifestEntry], AppendEntries]]:
    """The lines of a folder's manifest, and a function that adds lines to it."""
    if folder.is_local:
        path = Path(folder.url)
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
