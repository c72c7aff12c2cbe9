"""Extracts one video after another into a feature store, in a process of the worker pool."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from oddframe._utils.child_process import limit_memory, out_of_memory
from oddframe._utils.files import describe_read_error, exists, is_dir
from oddframe._utils.version import VERSION
from oddframe._utils.worker_pool import Heartbeat, send_heartbeats
from oddframe.backbones.base import Backbone
from oddframe.backbones.engines import DeviceName, EngineName, PrecisionName, choose_runtime
from oddframe.backbones.registry import load_backbone
from oddframe.errors import InputError, OddframeError, describe_unexpected_error, is_out_of_memory
from oddframe.features.extraction.extract_video import (
    Extraction,
    ExtractionTask,
    SpecTemplate,
    extract_tasks,
)
from oddframe.features.extraction.file_layout import (
    NO_OUTPUTS,
    FeatureFileFormat,
    PreviousOutputs,
    all_readable,
    name_taken_error,
    output_names,
    refuse_unknown_files,
    write_feature_files,
)
from oddframe.features.extraction.partial import CHUNK_SNIPPETS, PartialFeatures
from oddframe.features.formats.feature_file import (
    FeatureFileHeader,
    open_features,
    read_feature_header,
)
from oddframe.features.spec import FeatureSpec
from oddframe.features.store.manifest import REMARK_FIELDS, ManifestEntry
from oddframe.features.store.store import FeatureStore, content_hash, path_in_store
from oddframe.video.decoding.container import check_readable
from oddframe.video.decoding.isolated import open_in_process
from oddframe.video.frame import HeartbeatSource
from oddframe.video.mask import Mask

# The folder of a store in which unfinished extractions are saved.
PARTIAL_FOLDER = "unfinished"
# Seconds to wait for a video that another process is extracting, before other videos come first.
_LOCK_WAIT_S = 0.5


@dataclass(frozen=True)
class ExtractionRequest:
    """What to extract from each video, and where to."""

    templates: tuple[SpecTemplate, ...]  # One a backbone.
    device: DeviceName
    engine: EngineName
    precision: PrecisionName
    store: Path
    out: Path | None = None  # For files named after the videos.
    format: FeatureFileFormat = "npy"
    fresh: bool = False  # Extract again what is in the store.
    mask: Mask | None = None  # The templates have its digest.


@dataclass(frozen=True)
class VideoJob:
    """A video to extract, the name of its files, and what earlier runs wrote under that name."""

    path: Path
    stem: str
    previous: PreviousOutputs = NO_OUTPUTS


@dataclass(frozen=True)
class ExtractionResult:
    """The result of one video.

    Attributes:
        entries: For the manifest of the store: one for each kind of features, or one with the
            reason of the failure.
        file_entries: For the manifest of the folder of files named after videos.
        new: How many kinds of features were not in the store.
        exit_code: Exit code of the command because of a failure; 0: no failure.
        busy: Another process is extracting the same features: try again later.
    """

    entries: tuple[ManifestEntry, ...]
    file_entries: tuple[ManifestEntry, ...] = ()
    new: int = 0
    exit_code: int = 0
    busy: bool = False


class ExtractionWorker:
    """Extracts one video after another; networks are loaded with the first video that needs them.

    ``memory_bytes`` is what this process may take besides the networks.
    """

    def __init__(self, request: ExtractionRequest, memory_bytes: int) -> None:
        self._request, self._memory_bytes = request, memory_bytes
        self._store = FeatureStore(request.store)
        runtime = choose_runtime(request.engine, request.device, request.precision)
        self._specs = [template.spec(runtime.precision) for template in request.templates]
        self._backbones: list[Backbone] = []
        self._checked: set[tuple[Path, int, int]] = set()

    def __call__(self, video: VideoJob, heartbeat: Heartbeat) -> ExtractionResult:
        """Extract the features of a video; a failure is returned, not raised."""
        sha256, exit_code = "", InputError.exit_code
        try:
            sha256 = hash_video(video.path, lambda: heartbeat(0, None))
            return self._extract(video, sha256, heartbeat)
        except _BusyError:
            return ExtractionResult((), busy=True)
        except OddframeError as error:
            reason, exit_code = str(error), error.exit_code
        except OSError as error:  # The file vanished, or its disk failed.
            reason = describe_read_error(error)
        except Exception as error:  # A bug of ours or of a decoder must not stop the other videos.
            if is_out_of_memory(error):
                reason = str(out_of_memory(self._memory_bytes))
            else:
                reason, exit_code = describe_unexpected_error(error), 1
        reason = reason.removeprefix(f"{video.path}: ")
        entry = ManifestEntry(video=str(video.path), sha256=sha256, reason=reason)
        return ExtractionResult((entry,), exit_code=exit_code)

    def _extract(self, video: VideoJob, sha256: str, heartbeat: Heartbeat) -> ExtractionResult:
        start = time.monotonic()
        self._refuse_taken_names(video, sha256)
        with send_heartbeats(heartbeat):
            missing = self._missing(sha256, range(len(self._specs)))
        new = self._extract_missing(video.path, sha256, missing, heartbeat) if missing else {}
        seconds = round(time.monotonic() - start, 3)
        entries = []
        for i, spec in enumerate(self._specs):
            header = read_feature_header(self._store.path(sha256, spec))
            entry = ManifestEntry(video=str(video.path), sha256=sha256, seconds=seconds)
            entries.append(describe_entry(entry, spec, header, new.get(i)))
        file_entries: tuple[ManifestEntry, ...] = ()
        if self._request.out is not None:
            with send_heartbeats(heartbeat):
                file_entries = tuple(self._write_files(video, entries, self._request.out))
        return ExtractionResult(tuple(entries), file_entries, len(new))

    def _missing(self, sha256: str, indices: Iterable[int]) -> list[int]:
        """Those of the specs whose features are not in the store."""
        return [i for i in indices if not self._is_stored(sha256, self._specs[i])]

    def _is_stored(self, sha256: str, spec: FeatureSpec) -> bool:
        path = self._store.path(sha256, spec)
        if self._request.fresh or not exists(path):
            return False
        try:
            stat = path.stat()
            key = (path, stat.st_size, stat.st_mtime_ns)
            if key not in self._checked:
                if open_features(path, verify=True).spec != spec:
                    return False
                self._checked.add(key)  # A busy video is looked up again and again.
        except (InputError, OSError):  # Damaged or gone.
            return False
        return True

    def _extract_missing(
        self, path: Path, sha256: str, missing: Sequence[int], heartbeat: Heartbeat
    ) -> dict[int, Extraction]:
        """Extractions by the index of their spec, without those that another process finished."""
        with ExitStack() as stack:
            with send_heartbeats(heartbeat):
                backbones = self._load_backbones()
                partials = {i: self._partial(path, sha256, i, heartbeat) for i in missing}
                # All processes lock in the same order, so that no two wait for each other.
                for each in sorted(partials.values(), key=lambda partial: partial.folder):
                    if not each.acquire(_LOCK_WAIT_S):
                        raise _BusyError
                    stack.callback(each.release)
                missing = self._missing(sha256, missing)  # Another process may have been faster.
            if not missing:
                return {}
            source = HeartbeatSource(open_in_process(path), heartbeat)
            tasks = []
            for i in missing:
                backbone = with_heartbeat(backbones[i], source.heartbeat)
                tasks.append(ExtractionTask(self._specs[i], backbone, partials[i], on_disk=True))
            try:
                extractions = extract_tasks(source, tasks, mask=self._request.mask)
                if hash_video(path, source.heartbeat) != sha256:
                    raise InputError(
                        f"{path}: it changed while it was read; extract it again once complete"
                    )
                with send_heartbeats(heartbeat):  # Writing a long video takes long.
                    for extraction in extractions:
                        self._store.put(sha256, extraction.features)
            except InputError:
                for each in partials.values():
                    each.discard()  # A resumed run would fail again.
                raise
            for each in partials.values():
                each.discard()
            return dict(zip(missing, extractions, strict=True))

    def _partial(
        self, path: Path, sha256: str, index: int, heartbeat: Heartbeat
    ) -> PartialFeatures:
        """Where unfinished features are saved: a folder for all that their bytes depend on."""
        backbone, spec = self._backbones[index], self._specs[index]
        facts = (VERSION, sha256, spec.hash(), str(backbone.runtime), str(path.absolute()))
        name = hashlib.sha256(repr(facts).encode()).hexdigest()[:24]
        # A chunk is a multiple of a batch: a resumed run then computes the same batches.
        batch = max(1, backbone.batch_size // len(spec.crops))
        folder = self._store.root / PARTIAL_FOLDER / f"{name}.partial"
        chunk = max(batch, CHUNK_SNIPPETS - CHUNK_SNIPPETS % batch)
        return PartialFeatures(folder, chunk, writing=partial(send_heartbeats, heartbeat))

    def _refuse_taken_names(self, video: VideoJob, sha256: str) -> None:
        out = self._request.out
        if out is None:
            return
        for names in output_names(self._specs, video.stem, self._request.format):
            owner = video.previous.owner(names[0], sha256)
            if owner is not None and all_readable(out, names[:1]):
                raise name_taken_error(str(video.path), names[0], str(out), owner)

    def _write_files(
        self, video: VideoJob, entries: Sequence[ManifestEntry], out: Path
    ) -> Iterator[ManifestEntry]:
        """Write missing files named after the video; yields their lines for the manifest."""
        files = output_names(self._specs, video.stem, self._request.format)
        for entry, spec, names in zip(entries, self._specs, files, strict=True):
            features = open_features(self._store.path(entry.sha256, spec))
            written = video.previous.matches(names[0], entry.sha256, entry.spec)
            if written and not self._request.fresh and all_readable(out, names):
                continue
            write = partial(write_feature_files, features, names)
            if not video.previous.wrote(names[0]):
                refuse_unknown_files(out, names, write)
            write(out)
            yield replace(entry, file=names[0])

    def _load_backbones(self) -> list[Backbone]:
        if not self._backbones:
            request = self._request
            self._backbones = [
                load_backbone(
                    template.backbone,
                    template.preprocessing,
                    device=request.device,
                    engine=request.engine,
                    precision=request.precision,
                )
                for template in request.templates
            ]
            limit_memory(self._memory_bytes)
        return self._backbones


class _BusyError(Exception):
    """Another process is extracting the same video."""


def hash_video(path: Path, heartbeat: Callable[[], None] = lambda: None) -> str:
    """sha256 (hex) of a video's content; InputError if it is no file or folder that can be read."""
    if not is_dir(path):
        check_readable(path)  # Hashing a pipe would never end.
    return content_hash(path, heartbeat)


def video_size(path: Path) -> int:
    """Bytes of a video or of a folder of frames; 0 if it cannot be read."""
    try:
        if path.is_dir():
            return sum(child.stat().st_size for child in path.iterdir())
        return path.stat().st_size
    except OSError:  # Opening it later says why.
        return 0


def describe_entry(
    entry: ManifestEntry,
    spec: FeatureSpec,
    header: FeatureFileHeader,
    extraction: Extraction | None = None,
) -> ManifestEntry:
    """The entry with the facts from the header of its feature file and from its extraction."""
    if extraction is not None:
        entry = replace(entry, **{name: getattr(extraction, name) for name in REMARK_FIELDS})
    return replace(
        entry,
        spec=spec.hash(),
        backbone=spec.backbone,
        snippets=header.shape[1],
        frames=header.timebase.n_frames,
        duration_s=round(header.timebase.duration_s, 6),
        file=path_in_store(entry.sha256, spec),
    )


def with_heartbeat(backbone: Backbone, heartbeat: Callable[[], None]) -> Backbone:
    """The backbone with networks that send a heartbeat before each call: some calls take long."""

    def wrap(encoder: Any) -> Any:
        def encode(batch: Any) -> Any:
            heartbeat()
            return encoder.encode(batch)

        return replace(encoder, encode=encode)

    return replace(
        backbone,
        visual_encoders=tuple(map(wrap, backbone.visual_encoders)),
        audio_encoders=tuple(map(wrap, backbone.audio_encoders)),
    )
