"""The feature store: one feature file for each video and spec, found by the video's content.

The path of a feature file is ``<root>/<hh>/<content>-<spec>.safetensors``: the sha256 of the video
and the hash of the spec. So the features of a video that was moved or renamed are found again, and
those of a video that changed are not. Imported features are found by data set and name.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from oddframe._utils.files import (
    describe_read_error,
    file_sha256,
    is_dir,
    is_file,
    read_bytes,
    remove_stale_parts,
    write_text,
)
from oddframe._utils.parsing import parse_json
from oddframe._utils.progress import ProgressCallback, ignore_progress
from oddframe.errors import InputError, OddframeError, UsageError
from oddframe.features.formats.feature_file import StoredFeatures, read_features, write_features
from oddframe.features.spec import IMPORTED, Features, FeatureSpec
from oddframe.features.store.index import Index, IndexEntry, SpecSummary, choose_spec, open_index

_MAX_BYTES = 2**20


def content_hash(path: Path, heartbeat: Callable[[], None] = lambda: None) -> str:
    """Compute sha256 (hex) of a file, or of the names and contents of a folder of frames."""
    if not is_dir(path):
        return file_sha256(path, heartbeat)
    digest = hashlib.sha256()
    try:
        for child in sorted(p for p in path.iterdir() if is_file(p) and p.name[0] != "."):
            line = f"\0{file_sha256(child, heartbeat)}\n"
            digest.update(os.fsencode(child.name) + line.encode())
    except OSError as error:
        raise InputError(f"{path}: {describe_read_error(error)}") from None
    return digest.hexdigest()


def path_in_store(content_sha256: str, spec: FeatureSpec) -> str:
    """Path of a feature file, relative to the root of the store."""
    return f"{content_sha256[:2]}/{content_sha256}-{spec.hash()}.safetensors"


class FeatureStore:
    """Features on disk under ``root``, by the content of the video and the spec.

    Several processes may use a store at the same time.
    """

    def __init__(self, root: Path):
        self.root = root

    def path(self, content_sha256: str, spec: FeatureSpec) -> Path:
        """Path of the feature file, whether it exists or not."""
        return self.root / path_in_store(content_sha256, spec)

    def get(self, content_sha256: str, spec: FeatureSpec) -> Features | None:
        """Read features; None if there are none or their file is damaged.

        A damaged file is not removed here, because another process may have replaced it since it
        was read. ``put`` overwrites it.
        """
        try:
            features = read_features(self.path(content_sha256, spec))
        except InputError:
            return None
        return features if features.spec == spec else None

    def put(self, content_sha256: str, features: Features) -> Path:
        """Write the features of a video and add them to the index; returns the path of the file."""
        path = self.path(content_sha256, features.spec)
        write_features(path, features)
        snippets, size = features.timebase.n_snippets, path.stat().st_size
        entry = IndexEntry(content_sha256, features.spec.hash(), snippets, size)
        with suppress(OddframeError):  # The index can always be rebuilt from the files.
            Index(self.root).add([entry], features.spec)
        return path

    def sweep(self) -> None:
        """Remove the temporary files that killed processes left anywhere in the store."""
        for folder, _, names in os.walk(self.root):
            if any(name.endswith(".part") for name in names):
                with suppress(OSError):
                    remove_stale_parts(Path(folder))


@dataclass(frozen=True)
class StoreVerification:
    """What a verification found."""

    read: int  # Files that were read.
    total: int  # Files in the store, of the chosen spec.
    damaged: tuple[str, ...]  # A message for each damaged file.


def verify_store(
    store: Path,
    spec: str | None = None,
    sample: int | None = None,
    progress: ProgressCallback = ignore_progress,
) -> StoreVerification:
    """Read the feature files of a store and list those that are damaged.

    ``spec``: start of a hash, to read its files only; ``sample``: read so many, drawn at random.
    """
    index = open_index(store)
    index.verify()
    specs = index.specs()
    if spec is not None:
        specs = [choose_spec(store, specs, spec)]
    total = sum(each.videos for each in specs)
    if sample is None or sample >= total:
        files = [e.file for e in chain.from_iterable(index.all(each.hash) for each in specs)]
        if spec is None:  # A file that the index does not know is damaged, too.
            on_disk = {p.relative_to(store) for p in store.glob("[0-9a-f][0-9a-f]/*.safetensors")}
            files += sorted(on_disk - set(files))
    else:
        files = _draw_files(index, specs, sample)
    damaged = []
    for done, file in enumerate(files, start=1):
        try:
            read_features(store / file)
        except InputError as error:
            damaged.append(str(error))
        progress(done, len(files), f"reading {len(files)} files")
    return StoreVerification(len(files), max(total, len(files)), tuple(damaged))


def _draw_files(index: Index, specs: Sequence[SpecSummary], count: int) -> list[Path]:
    """``count`` different files, fewer than there are, each with the same probability."""
    rng, drawn = random.Random(), set[Path]()
    while missing := count - len(drawn):
        chosen = rng.choices(specs, [each.videos for each in specs], k=missing)
        for each in specs:
            if number := chosen.count(each):
                drawn |= {entry.file for entry in index.draw(each.hash, number, rng)}
    return sorted(drawn)


# Imported features are found by data set and name, because there is no video to hash. Those of a
# video lie where the store would keep those of a file whose sha256 is that of the text
# ``oddframe import <data set>/<name>``. For each kind of feature that was imported, the file
# ``<root>/imported/<data set>/<kind>.json`` holds the spec. So an interrupted import can go on, and
# features are found by the published name of a video on any machine that has the store.


def import_key(data: str, name: str) -> str:
    """Compute the key of imported features, which stands for the sha256 of a video."""
    return hashlib.sha256(f"oddframe import {data}/{name}".encode()).hexdigest()


def imported_specs(store: FeatureStore, data: str) -> dict[str, FeatureSpec]:
    """Read which kinds of features were imported: specs by name, ``i3d``, ``i3d+vggish``."""
    found = {}
    for path in sorted(_folder(store, data).glob("*.json"), key=lambda path: path.stem):
        try:
            found[path.stem] = FeatureSpec.from_dict(parse_json(read_bytes(path, _MAX_BYTES)))
        except (OSError, ValueError, TypeError, AttributeError, InputError):
            continue  # Written by another version; the next import overwrites it.
    return found


def record_import(store: FeatureStore, data: str, spec: FeatureSpec) -> None:
    """Record that features of ``spec`` are imported of the data set ``data``.

    UsageError if other features were imported under the same name.
    """
    kind = spec.backbone.removeprefix(IMPORTED)
    known = imported_specs(store, data).get(kind)
    if known == spec:
        return
    if known is not None:
        raise UsageError(
            f"{store.root} holds other features of {data} as {kind}: "
            f"{'; '.join(known.differences(spec, sampling=True))}; use another --store"
        )
    write_text(_folder(store, data) / f"{kind}.json", json.dumps(spec.to_dict(), indent=1) + "\n")


def imported_file(store: FeatureStore, data: str, name: str, spec: FeatureSpec) -> StoredFeatures:
    """Locate the imported features of a video, whether they exist or not."""
    return StoredFeatures(store.path(import_key(data, name), spec))


def _folder(store: FeatureStore, data: str) -> Path:
    return store.root / "imported" / data
