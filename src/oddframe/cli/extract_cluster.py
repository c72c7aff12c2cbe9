"""Extracting on a cluster: what is there is looked at, what is missing made, each content once."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from oddframe.cli.console import bar_progress, print_note, printable, progress_bar
from oddframe.cli.extract_run import Limits, size_of
from oddframe.cli.extract_told import Append, Books, Tally, remembered, settle
from oddframe.features.cluster.ray_cluster import Cluster, ClusterResources, connect_to_cluster
from oddframe.features.cluster.remote import RemotePath, find_remote_videos, to_remote_path
from oddframe.features.cluster.worker import ClusterJob, ItemStatus, WorkItem, failed_result
from oddframe.features.extraction.file_layout import previous_outputs
from oddframe.features.extraction.worker import ExtractionRequest, ExtractionResult
from oddframe.features.store.manifest import (
    MANIFEST_NAME,
    ManifestEntry,
    append_entries,
    read_entries,
)
from oddframe.outputs.write import unique_stems

# A manifest in an object store is written anew whenever it grows; not more often than this (s).
_SEND_S = 60.0


def run_on_cluster(
    address: str,
    paths: Sequence[str],
    wanted: ExtractionRequest,
    store: str,
    out: str | None,
    limits: Limits,
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    """Extract everything on a cluster, say what was made, return the exit code.

    Args:
        address: ``local``, ``ray://HOST:PORT`` or ``HOST:PORT``.
        paths: Of the videos; addresses such as ``s3://bucket/videos``, or paths that every machine
            sees under the same name.
        wanted: What to make.
        store: The store that keeps it, an address or a path.
        out: Folder of files by name, likewise; None: none.
        limits: Those of a machine; ``jobs``: videos at the same time on all, None: what fits.

    Raises:
        UsageError: Ray, or what an address needs, is not installed; an engine cannot be had.
        OddframeError: the cluster is lost, or the store cannot be written.
    """
    with ExitStack() as stack:
        where, named = to_remote_path(store), None if out is None else to_remote_path(out)
        known, append = stack.enter_context(_manifest(where))
        before, append_named = (
            ((), None) if named is None else stack.enter_context(_manifest(named))
        )
        sources = find_remote_videos(paths, size_of)
        names = unique_stems([Path(source.name) for source in sources])
        written = previous_outputs(before, names)
        items = [WorkItem(s, name, written[name]) for s, name in zip(sources, names, strict=True)]
        tally = Tally(sum(item.source.size for item in items))
        answers = _answers(address, items, wanted, (where, named), limits, tally, quiet=quiet)
        sizes = [item.source.size for item in items]
        books = Books(store, *remembered(known), append, append_named)
        return settle(answers, sizes, books, tally, as_json=as_json, quiet=quiet)


def _answers(
    address: str,
    items: Sequence[WorkItem],
    wanted: ExtractionRequest,
    places: tuple[RemotePath, RemotePath | None],
    limits: Limits,
    tally: Tally,
    *,
    quiet: bool,
) -> Iterator[tuple[int, ExtractionResult]]:
    # The answers are said when the cluster is let go: what Ray says on standard output is no part.
    with connect_to_cluster(address, limits.jobs, partial(print_note, quiet=quiet)) as cluster:
        wanted, room = cluster.settle(wanted)
        specs = tuple(part.spec(wanted.precision) for part in wanted.parts)
        order = ClusterJob(wanted, specs, *places, limits.memory_bytes, limits.timeout_s)
        print_note(
            f"{len(items)} videos, {', '.join(f'{s.backbone} ({s.hash()})' for s in specs)}, "
            f"into {printable(places[0].text)}, {room.actors} at the same time",
            quiet=quiet,
        )
        yield from _all(cluster, items, order, room, tally, quiet=quiet)


def _all(
    cluster: Cluster,
    items: Sequence[WorkItem],
    order: ClusterJob,
    room: ClusterResources,
    tally: Tally,
    *,
    quiet: bool,
) -> Iterator[tuple[int, ExtractionResult]]:
    """What became of each video: first those where nothing is to do, then one of each content."""
    with progress_bar(quiet=quiet) as bar:
        update = bar_progress(bar, f"reading {len(items)} videos")
        seen: dict[int, ItemStatus] = {}
        for found in cluster.run(dict(enumerate(items)), order, room, "look"):
            seen.update(found)
            update(len(seen), len(items))
        bar.remove_task(bar.task_ids[-1])
        update = bar_progress(bar, f"{len(items)} videos")
        todo: dict[int, WorkItem] = {}
        copies: defaultdict[str, list[int]] = defaultdict(list)
        for number, item in enumerate(items):
            what = seen[number]
            if what.reason:
                yield number, failed_result(item, what.reason, what.exit_code)
            elif what.is_done:
                yield number, ExtractionResult(what.kept)
            elif what.sha256 in copies:
                copies[what.sha256].append(number)
            else:
                copies[what.sha256] = []
                todo[number] = replace(item, sha256=what.sha256, missing=what.missing)
        later: dict[int, WorkItem] = {}
        for number, made in _made(cluster, todo, order, room):
            yield number, made
            for copy in copies[todo[number].sha256]:
                item = replace(items[copy], sha256=todo[number].sha256)
                if order.out is None or made.exit_code:
                    yield copy, _copied(made, item)
                else:
                    later[copy] = item
            update(tally.done, max(1, tally.total))
            bar.update(bar.task_ids[-1], note=f"{tally.frames / tally.seconds:.0f} frames/s")
        # What is made of them lies in the store by now: only files by their names are missing.
        again = replace(order, wanted=replace(order.wanted, fresh=False))
        yield from _made(cluster, later, again, room)


def _made(
    cluster: Cluster, items: Mapping[int, WorkItem], order: ClusterJob, room: ClusterResources
) -> Iterator[tuple[int, ExtractionResult]]:
    for found in cluster.run(items, order, room, "make"):
        yield from found


def _copied(made: ExtractionResult, item: WorkItem) -> ExtractionResult:
    entries = (replace(entry, video=item.source.name, seconds=0.0) for entry in made.entries)
    return replace(made, entries=tuple(entries), new=0)


@contextmanager
def _manifest(place: RemotePath) -> Iterator[tuple[list[ManifestEntry], Append]]:
    """What the manifest of a folder says, and what adds lines to it."""
    if place.is_local:
        yield list(read_entries(place.path)), lambda entries: append_entries(place.path, entries)
        return
    with tempfile.TemporaryDirectory(prefix="oddframe-") as name:
        folder, there = Path(name), place / MANIFEST_NAME
        if there.exists():
            there.fetch(folder / MANIFEST_NAME)
        sent = time.monotonic()
        dirty = False

        def append(entries: Iterable[ManifestEntry]) -> None:
            nonlocal sent, dirty
            lines = list(entries)
            append_entries(folder, lines)
            dirty = dirty or bool(lines)
            if dirty and time.monotonic() - sent > _SEND_S:
                there.put(folder / MANIFEST_NAME)
                sent, dirty = time.monotonic(), False

        try:
            yield list(read_entries(folder)), append
        finally:
            if dirty:
                there.put(folder / MANIFEST_NAME)
