"""One video -> its features in the store: what a process of ``oddframe extract`` does.

Networks that send a heartbeat with each call.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from oddframe import __version__
from oddframe._utils.child_process import limit_memory, out_of_memory
from oddframe._utils.files import exists, is_dir
from oddframe._utils.worker_pool import Heartbeat, send_heartbeats
from oddframe.backbones.base import AudioEncoder, Backbone, VisualEncoder
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
    can_omit_backbone,
    name_taken_error,
    output_names,
    refuse_unknown_files,
    write_feature_files,
)
from oddframe.features.extraction.partial import CHUNK_SNIPPETS, PartialFeatures
from oddframe.features.formats.feature_file import FeatureFileHeader, read_feature_header
from oddframe.features.spec import FeatureSpec
from oddframe.features.store.imports import StoredFeatures
from oddframe.features.store.manifest import ManifestEntry
from oddframe.features.store.store import FeatureStore, content_hash, path_in_store
from oddframe.video.decoding.container import check_readable
from oddframe.video.decoding.isolated import open_in_process
from oddframe.video.frame import HeartbeatSource
from oddframe.video.mask import Mask

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def with_heartbeat(backbone: Backbone, tell: Callable[[], None]) -> Backbone:
    """The same networks, which tell of each call: some take long, and none is a decoder's."""

    def told(call: Callable[[_In], _Out]) -> Callable[[_In], _Out]:
        def calling(batch_size: _In) -> _Out:
            tell()
            return call(batch_size)

        return calling

    eyes = tuple(
        VisualEncoder(told(eye.encode), eye.batch_size) for eye in backbone.visual_encoders
    )
    ears = tuple(
        AudioEncoder(told(ear.encode), ear.rate, ear.window) for ear in backbone.audio_encoders
    )
    return replace(backbone, visual_encoders=eyes, audio_encoders=ears)


PARTIAL_FOLDER = "unfinished"
# How long (s) a video that another process has in work is waited for, before others are made.
_LOCK_WAIT_S = 0.5


@dataclass(frozen=True)
class ExtractionRequest:
    """What ``oddframe extract`` was asked for.

    Attributes:
        parts: What is made of each video.
        device: Where the networks run.
        engine: On what.
        precision: In what.
        store: Root of the store that keeps it.
        out: Folder of files by name; None: none.
        format: Of these.
        fresh: Make also what is kept.
        mask: Parts of the picture to ignore; the parts have its digest.
    """

    parts: tuple[SpecTemplate, ...]
    device: DeviceName
    engine: EngineName
    precision: PrecisionName
    store: Path
    out: Path | None = None
    format: FeatureFileFormat = "npy"
    fresh: bool = False
    mask: Mask | None = None


@dataclass(frozen=True)
class VideoJob:
    """A job: a video, the name of what comes out, and what an earlier run wrote under that name."""

    path: Path
    stem: str
    written: PreviousOutputs = NO_OUTPUTS


@dataclass(frozen=True)
class ExtractionResult:
    """What became of a video.

    Attributes:
        entries: For the manifest of the store, one a part; one with the reason if it failed.
        named: For the manifest of the folder of files by name.
        new: Parts that were not kept from before.
        exit_code: What a failure makes the command end with; 0: none.
        busy: Nothing became of it yet: another process is making the same features.
    """

    entries: tuple[ManifestEntry, ...]
    named: tuple[ManifestEntry, ...] = ()
    new: int = 0
    exit_code: int = 0
    busy: bool = False


def hash_video(path: Path, heartbeat: Callable[[], None] = lambda: None) -> str:
    """sha256 (hex) of a video's content.

    Raises:
        InputError: it is no file or folder that can be read.
    """
    if not is_dir(path):
        check_readable(path)  # Hashing a pipe would never end.
    return content_hash(path, heartbeat)


def describe_entry(
    entry: ManifestEntry, spec: FeatureSpec, header: FeatureFileHeader
) -> ManifestEntry:
    """An entry with what the header of its feature file says."""
    return replace(
        entry,
        spec=spec.hash(),
        backbone=spec.backbone,
        snippets=header.shape[1],
        frames=header.timebase.n_frames,
        duration_s=round(header.timebase.duration_s, 6),
        file=path_in_store(entry.sha256, spec),
    )


class ExtractionWorker:
    """Makes what is wanted of one video after another; the networks are loaded once, if needed.

    Args:
        wanted: What to make.
        memory_bytes: That this process may take beside the networks.
    """

    def __init__(self, wanted: ExtractionRequest, memory_bytes: int):
        self._wanted, self._memory = wanted, memory_bytes
        self._store = FeatureStore(wanted.store)
        self._choice = choose_runtime(wanted.engine, wanted.device, wanted.precision)
        self._specs = [part.spec(self._choice.precision) for part in wanted.parts]
        self._loaded: list[Backbone] = []
        self._checked: set[tuple[Path, int, int]] = set()

    def __call__(self, video: VideoJob, heartbeat: Heartbeat) -> ExtractionResult:
        """Make the features of a video; a failure is an answer, not an exception."""
        sha256, exit_code = "", InputError.exit_code
        try:
            sha256 = hash_video(video.path, lambda: heartbeat(0, None))
            return self._make(video, sha256, heartbeat)
        except _BusyError:
            return ExtractionResult((), busy=True)
        except OddframeError as error:
            reason, exit_code = str(error), error.exit_code
        except OSError as error:  # It vanished, or its disk failed, while it was read.
            reason = f"cannot be read ({error.strerror or error})"
        except Exception as error:  # A fault of ours, or of a decoder: the other videos go on.
            if is_out_of_memory(error):
                reason = str(out_of_memory(self._memory))
            else:
                reason, exit_code = describe_unexpected_error(error), 1
        reason = reason.removeprefix(f"{video.path}: ")
        entry = ManifestEntry(video=str(video.path), sha256=sha256, reason=reason)
        return ExtractionResult((entry,), exit_code=exit_code)

    def _make(self, video: VideoJob, sha256: str, heartbeat: Heartbeat) -> ExtractionResult:
        began = time.monotonic()
        self._refuse_anothers(video, sha256)
        with send_heartbeats(heartbeat):
            missing = self._missing(sha256, range(len(self._specs)))
        made = self._extract(video.path, sha256, missing, heartbeat) if missing else {}
        seconds = time.monotonic() - began
        entries = [
            self._entry(video.path, sha256, spec, made.get(i), seconds)
            for i, spec in enumerate(self._specs)
        ]
        named: tuple[ManifestEntry, ...] = ()
        if self._wanted.out is not None:
            with send_heartbeats(heartbeat):
                named = tuple(self._written(video, entries))
        return ExtractionResult(tuple(entries), named, len(made))

    def _missing(self, sha256: str, numbers: Iterable[int]) -> list[int]:
        """Those of the parts that are not in the store."""
        return [i for i in numbers if not self._is_kept(sha256, i)]

    def _is_kept(self, sha256: str, number: int) -> bool:
        path = self._store.path(sha256, self._specs[number])
        if self._wanted.fresh or not exists(path):
            return False
        try:
            about = path.stat()
            known = (path, about.st_size, about.st_mtime_ns)
            if known not in self._checked:
                if StoredFeatures(path).open_checked().spec != self._specs[number]:
                    return False
                self._checked.add(known)  # It is asked for again while others are waited for.
        except (InputError, OSError):  # Damaged or gone: it is made anew.
            return False
        return True

    def _extract(
        self, path: Path, sha256: str, missing: Sequence[int], heartbeat: Heartbeat
    ) -> dict[int, Extraction]:
        """What became of the missing parts, by number; of those that another process made, nothing.

        Raises:
            InputError: the video cannot be read, or it changed meanwhile.
            OddframeError: the features cannot be written.
        """
        with ExitStack() as stack:
            with send_heartbeats(heartbeat):
                backbones = self._networks()
                partials = {i: self._partial(path, sha256, i, heartbeat) for i in missing}
                # In an order that all processes have, so that no two wait for each other.
                for each in sorted(partials.values(), key=lambda partial: partial.folder):
                    if not each.acquire(_LOCK_WAIT_S):
                        raise _BusyError
                    stack.callback(each.release)
                missing = self._missing(sha256, missing)  # Another process may have been faster.
            if not missing:
                return {}
            source = HeartbeatSource(open_in_process(path), heartbeat)
            tasks = [
                ExtractionTask(
                    self._specs[i],
                    with_heartbeat(backbones[i], source.heartbeat),
                    partials[i],
                    on_disk=True,
                )
                for i in missing
            ]
            try:
                found = extract_tasks(source, tasks, mask=self._wanted.mask)
                made = dict(zip(missing, found, strict=True))
                if hash_video(path, source.heartbeat) != sha256:
                    raise InputError(
                        f"{path}: it changed while it was read; extract it again once complete"
                    )
                with send_heartbeats(
                    heartbeat
                ):  # The longer the video, the longer it takes to write.
                    for extraction in made.values():
                        self._store.put(sha256, extraction.features)
            except InputError:
                _discard(partials.values())  # Going on would fail again.
                raise
            _discard(partials.values())
            return made

    def _partial(
        self, path: Path, sha256: str, number: int, heartbeat: Heartbeat
    ) -> PartialFeatures:
        """Where unfinished features are kept: apart for all that their bytes depend on."""
        backbone, spec = self._loaded[number], self._specs[number]
        facts = (__version__, sha256, spec.hash(), str(backbone.runtime), str(path.absolute()))
        name = hashlib.sha256(repr(facts).encode()).hexdigest()[:24]
        # A call takes so many snippets: going on after a whole call gives the same calls.
        a_call = max(1, backbone.batch_size // len(spec.crops))
        folder = self._store.root / PARTIAL_FOLDER / f"{name}.partial"
        chunk = max(a_call, CHUNK_SNIPPETS - CHUNK_SNIPPETS % a_call)
        return PartialFeatures(folder, chunk, writing=partial(send_heartbeats, heartbeat))

    def _entry(
        self, path: Path, sha256: str, spec: FeatureSpec, made: Extraction | None, seconds: float
    ) -> ManifestEntry:
        header = read_feature_header(self._store.path(sha256, spec))
        entry = ManifestEntry(video=str(path), sha256=sha256, seconds=round(seconds, 3))
        entry = describe_entry(entry, spec, header)
        if made is None:
            return entry
        return replace(
            entry,
            damaged_packets=made.damaged_packets,
            mended_frames=made.mended_frames,
            notes=made.notes,
        )

    def _refuse_anothers(self, video: VideoJob, sha256: str) -> None:
        out = self._wanted.out
        for name in self._names(video) if out is not None else ():
            owner = video.written.owner(name[0], sha256)
            if out is not None and owner is not None and all_readable(out, name[:1]):
                raise name_taken_error(str(video.path), name[0], str(out), owner)

    def _names(self, video: VideoJob) -> list[list[str]]:
        """Of the files of each part."""
        form, alone = self._wanted.format, can_omit_backbone(self._specs, self._wanted.format)
        return [output_names(spec, video.stem, form, alone=alone) for spec in self._specs]

    def _written(
        self, video: VideoJob, entries: Sequence[ManifestEntry]
    ) -> Iterator[ManifestEntry]:
        """Files by name, those that are not there yet, and their lines for the manifest there."""
        out, form = self._wanted.out, self._wanted.format
        assert out is not None
        alone = can_omit_backbone(self._specs, form)
        for entry, spec, names in zip(entries, self._specs, self._names(video), strict=True):
            features = StoredFeatures(self._store.path(entry.sha256, spec)).open()
            done = video.written.is_of(names[0], entry.sha256, entry.spec)
            if done and not self._wanted.fresh and all_readable(out, names):
                continue
            write = partial(
                write_feature_files, features, stem=video.stem, format=form, alone=alone
            )
            if not video.written.knows(names[0]):
                refuse_unknown_files(out, names, write)
            write(out)
            yield replace(entry, file=names[0])

    def _networks(self) -> list[Backbone]:
        if not self._loaded:
            wanted = self._wanted
            self._loaded = [
                load_backbone(
                    part.backbone,
                    part.preprocessing,
                    device=wanted.device,
                    engine=wanted.engine,
                    precision=wanted.precision,
                )
                for part in wanted.parts
            ]
            limit_memory(self._memory)
        return self._loaded


class _BusyError(Exception):
    """Another process has the same video in work."""


def _discard(partials: Iterable[PartialFeatures]) -> None:
    for each in partials:
        each.discard()
