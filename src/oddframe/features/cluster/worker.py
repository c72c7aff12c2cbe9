"""A machine's share of an extraction on many: looks at what is there, makes what is missing.

A station fetches a video to its own disk, makes its features there as ``oddframe extract`` does on
one machine, in a watched process, and puts the finished files where they belong. Nothing that it
does has to be undone if it is cut off: what it has put is whole, and what it has not is made again.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from weakref import finalize

from oddframe import __version__
from oddframe._utils.child_process import PATIENCE_HINT
from oddframe._utils.files import scratch_folder
from oddframe._utils.worker_pool import WorkerFailure, WorkerPool
from oddframe.errors import InputError, OddframeError
from oddframe.features.cluster.remote import RemotePath, RemoteVideo
from oddframe.features.extraction.file_layout import (
    NO_OUTPUTS,
    PreviousOutputs,
    can_omit_backbone,
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
    """What all stations of a run are to do.

    Attributes:
        wanted: What to make; its ``store`` and ``out`` are not looked at.
        specs: What that gives on each of them.
        store: Where features are kept.
        out: Where files by name go; None: there are none.
        memory_bytes: That reading a video may take beside the networks.
        timeout_s: Seconds without a frame until a video is given up.
        version: Of oddframe.
    """

    wanted: ExtractionRequest
    specs: tuple[FeatureSpec, ...]
    store: RemotePath
    out: RemotePath | None
    memory_bytes: int
    timeout_s: float
    version: str = __version__

    def check(self) -> None:
        """Say no where this machine would make something else.

        Raises:
            OddframeError: another version of oddframe is installed here, or other weights are.
        """
        if self.version != __version__:
            raise OddframeError(
                f"a machine of the cluster has oddframe {__version__}, and this one has "
                f"{self.version}: install the same everywhere"
            )
        precision = self.wanted.precision
        for part, spec in zip(self.wanted.parts, self.specs, strict=True):
            if differences := part.spec(precision).differences(spec):
                raise OddframeError(
                    f"a machine of the cluster has other weights: {'; '.join(differences)}"
                )


@dataclass(frozen=True)
class WorkItem:
    """A video in a run.

    Attributes:
        source: The video.
        stem: Name of its files, where there are any.
        written: What an earlier run wrote under that name.
        sha256: Of its content, once that is known.
        missing: How many parts were not in the store when the run began, likewise.
    """

    source: RemoteVideo
    stem: str
    written: PreviousOutputs = NO_OUTPUTS
    sha256: str = ""
    missing: int = 0


@dataclass(frozen=True)
class ItemStatus:
    """What there is of a video.

    Attributes:
        sha256: Of its content; "": it could not be read.
        kept: For the manifest, of each part that is in the store.
        missing: How many parts are not.
        unnamed: How many parts have no files by name yet, where those are wanted.
        reason: Why nothing can be made of it; "": nothing speaks against it.
        exit_code: What that makes the command end with.
    """

    sha256: str
    kept: tuple[ManifestEntry, ...] = ()
    missing: int = 0
    unnamed: int = 0
    reason: str = ""
    exit_code: int = 0

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return bool(self.reason) or not (self.missing or self.unnamed)


def inspect_item(item: WorkItem, order: ClusterJob) -> ItemStatus:
    """What there is of a video; a failure is an answer, not an exception."""
    try:
        sha256 = item.sha256 or item.source.place.sha256()
        kept = [_stored_entry(item, sha256, spec, order) for spec in order.specs]
        unnamed = sum(not _has_files(item, sha256, spec, order) for spec in order.specs)
    except OddframeError as error:
        reason = _clean_reason(str(error), item, item.source.place.text)
        return ItemStatus("", reason=reason, exit_code=error.exit_code)
    there = tuple(entry for entry in kept if entry is not None)
    return ItemStatus(sha256, there, len(kept) - len(there), unnamed)


def failed_result(
    item: WorkItem, reason: str, exit_code: int = InputError.exit_code, sha256: str = ""
) -> ExtractionResult:
    """What became of a video that nothing can be made of."""
    entry = ManifestEntry(video=item.source.name, sha256=sha256, reason=reason)
    return ExtractionResult((entry,), exit_code=exit_code)


class ClusterWorker:
    """Makes one video after another; the networks are loaded once, in a process beside this one.

    Raises:
        OddframeError: another version is installed here, or other weights.
    """

    def __init__(self, order: ClusterJob) -> None:
        order.check()
        self._order = order
        scratch = ExitStack()
        self._folder = scratch.enter_context(scratch_folder())
        self._clean_up = finalize(self, scratch.close)  # Actors of Ray are not closed.
        out = self._folder / "out" if order.out else None
        wanted = replace(order.wanted, store=self._folder / "store", out=out, fresh=False)
        self._watched: WorkerPool[VideoJob, ExtractionResult] = WorkerPool(
            partial(ExtractionWorker, wanted, order.memory_bytes),
            1,
            order.timeout_s,
            keep=True,
            advice=PATIENCE_HINT,
        )

    def __call__(self, item: WorkItem) -> ExtractionResult:
        """Make the features of a video; a failure is an answer, not an exception."""
        # A machine that was cut off may have finished it.
        seen = inspect_item(item, self._order)
        if seen.is_done:
            if seen.reason:
                return failed_result(item, seen.reason, seen.exit_code, item.sha256)
            return ExtractionResult(seen.kept, new=item.missing)
        try:
            path = self._here(item)
            self._fetch(seen)
            made = self._made(VideoJob(path, item.stem))
            if not made.exit_code:
                self._put(item, seen)
        except OddframeError as error:
            reason = _clean_reason(str(error), item, item.source.place.text)
            return failed_result(item, reason, error.exit_code, item.sha256)
        finally:
            for each in self._folder.iterdir():
                shutil.rmtree(each, ignore_errors=True)
        return _renamed(made, item, path)

    def close(self) -> None:
        """End the process, remove what is on the disk."""
        self._watched.end()
        self._clean_up()

    def _here(self, item: WorkItem) -> Path:
        """The video on this machine."""
        place = item.source.place
        if place.is_local:
            return place.path
        path = self._folder / "in" / (place.text.rstrip("/").rpartition("/")[2] or "video")
        place.fetch(path)
        return path

    def _fetch(self, seen: ItemStatus) -> None:
        """What is kept: files by name are made of it, and it is not made again."""
        for entry in seen.kept:
            (self._order.store / entry.file).fetch(self._folder / "store" / entry.file)

    def _made(self, video: VideoJob) -> ExtractionResult:
        for answer in self._watched.run([video]):
            if answer is not None:
                _, made = answer
                if isinstance(made, WorkerFailure):
                    raise InputError(made.reason)
                return made
        raise AssertionError

    def _put(self, item: WorkItem, seen: ItemStatus) -> None:
        there = {entry.file for entry in seen.kept}
        if self._order.out is not None:
            self._refuse_strange(item, self._order.out)
        for folder, files, place in (
            ("out", "*", self._order.out),
            ("store", "??/*.safetensors", self._order.store),
        ):
            for file in sorted((self._folder / folder).glob(files)):
                name = file.relative_to(self._folder / folder).as_posix()
                if place is not None and name not in there:
                    (place / name).put(file)

    def _refuse_strange(self, item: WorkItem, out: RemotePath) -> None:
        """Refuse to replace files of unknown origin; a run that was killed leaves those of ours."""
        alone = can_omit_backbone(self._order.specs, self._order.wanted.format)
        for spec in self._order.specs:
            names = output_names(spec, item.stem, self._order.wanted.format, alone=alone)
            if item.written.knows(names[0]):
                continue
            for name in names:
                if (out / name).exists() and (out / name).sha256() != hash_video(
                    self._folder / "out" / name
                ):
                    raise unknown_file_error(name, out.text)


def _stored_entry(
    item: WorkItem, sha256: str, spec: FeatureSpec, order: ClusterJob
) -> ManifestEntry | None:
    if order.wanted.fresh:
        return None
    header = (order.store / path_in_store(sha256, spec)).header()
    if header is None or header.spec != spec:
        return None
    return describe_entry(ManifestEntry(video=item.source.name, sha256=sha256), spec, header)


def _has_files(item: WorkItem, sha256: str, spec: FeatureSpec, order: ClusterJob) -> bool:
    if order.out is None:
        return True
    alone = can_omit_backbone(order.specs, order.wanted.format)
    names = output_names(spec, item.stem, order.wanted.format, alone=alone)
    owner = item.written.owner(names[0], sha256)
    if owner is not None and (order.out / names[0]).exists():
        raise name_taken_error(item.source.name, names[0], order.out.text, owner)
    if order.wanted.fresh or not item.written.is_of(names[0], sha256, spec.hash()):
        return False
    return all((order.out / name).exists() for name in names)


def _renamed(made: ExtractionResult, item: WorkItem, path: Path) -> ExtractionResult:
    """The same by the name that the video was given."""
    name = item.source.name

    def renamed(entry: ManifestEntry) -> ManifestEntry:
        return replace(entry, video=name, reason=_clean_reason(entry.reason, item, str(path)))

    return replace(
        made,
        entries=tuple(map(renamed, made.entries)),
        named=tuple(map(renamed, made.named)),
    )


def _clean_reason(reason: str, item: WorkItem, path: str) -> str:
    return reason.removeprefix(f"{path}: ").replace(path, item.source.name)
