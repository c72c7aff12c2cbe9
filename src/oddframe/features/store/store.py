"""Feature files, and the store that finds them by what was looked at and how.

A feature file is one safetensors: the tensor ``features`` (C, T, D), ``pts`` where the video has no
constant frame rate, and a JSON header with the spec, the timebase and a checksum. The store keeps
one a video and spec at ``<root>/<hh>/<content>-<spec>.safetensors``: moved or renamed videos are
found again, changed ones are not.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from oddframe._utils.files import exists, file_sha256, is_dir, is_file, remove_stale_parts
from oddframe.errors import InputError, OddframeError
from oddframe.features.formats.feature_file import (
    FILE_KIND,
    FILE_SCHEMA,
    METADATA_KEY,
    StoredTensor,
    checksum,
    read_feature_header,
    timebase_to_dict,
    write_tensors,
)
from oddframe.features.formats.npy import is_finite
from oddframe.features.spec import Features, FeatureSpec
from oddframe.features.store.index import Index, IndexEntry


def content_hash(path: Path, heartbeat: Callable[[], None] = lambda: None) -> str:
    """sha256 (hex) of a file, or of the names and contents of a folder of frames.

    Args:
        path: File or folder.
        heartbeat: Called now and then, for who waits for it.

    Raises:
        InputError: it cannot be read.
    """
    if not is_dir(path):
        return file_sha256(path, heartbeat)
    digest = hashlib.sha256()
    try:
        for child in sorted(p for p in path.iterdir() if is_file(p) and p.name[0] != "."):
            line = f"\0{file_sha256(child, heartbeat)}\n"
            digest.update(os.fsencode(child.name) + line.encode())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    return digest.hexdigest()


def path_in_store(content_sha256: str, spec: FeatureSpec) -> str:
    """Where the features of that content and spec are, from the root of the store."""
    return f"{content_sha256[:2]}/{content_sha256}-{spec.hash()}.safetensors"


def tensors_of(features: Features) -> dict[str, StoredTensor]:
    """What a feature file holds, and its checksum is of."""
    tensors: dict[str, StoredTensor] = {"features": features.array}
    if (pts := features.timebase.pts) is not None:
        tensors["pts"] = np.ascontiguousarray(pts, dtype=np.float64)
    return tensors


def write_features(path: Path, features: Features) -> None:
    """Write a feature file, atomically; float16 stays float16.

    Raises:
        OddframeError: it cannot be written.
        InputError: a value is not finite.
    """
    array = features.array
    if not all(is_finite(crop) for crop in array):
        raise InputError(f"{path}: not written, the features hold values that are not finite")
    tensors, time = tensors_of(features), features.timebase
    header = {
        "kind": FILE_KIND,
        "schema": FILE_SCHEMA,
        "spec": features.spec.to_dict(),
        "timebase": timebase_to_dict(time),
        "checksum": checksum(tensors),
    }
    write_tensors(path, tensors, {METADATA_KEY: json.dumps(header, sort_keys=True)})


def read_features(path: Path) -> Features:
    """Read a feature file.

    Raises:
        InputError: no such file, not a feature file, a newer one, or a damaged one.
    """
    stored = read_feature_header(path)
    try:
        with safe_open(path, framework="np") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: truncated or no feature file ({error})") from None
    try:
        if checksum(tensors) != stored.checksum:
            raise InputError("its contents do not match its checksum")
        features = Features(tensors["features"], stored.spec, stored.timebase)
        if not all(is_finite(crop) for crop in tensors["features"]):
            raise InputError("it holds values that are not finite")
    except (InputError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: a damaged feature file ({error}); extract it again") from None
    return features


class FeatureStore:
    """Features on disk under ``root``, by the video's content and the spec."""

    def __init__(self, root: Path):
        self.root = root

    def path(self, content_sha256: str, spec: FeatureSpec) -> Path:
        """Where the features of that content and spec are, or would be."""
        return self.root / path_in_store(content_sha256, spec)

    def get(self, content_sha256: str, spec: FeatureSpec) -> Features | None:
        """What is kept, or None; also None of a damaged file, which ``put`` replaces.

        It is not removed here: another process may have replaced it since it was read.
        """
        path = self.path(content_sha256, spec)
        if not exists(path):
            return None
        try:
            features = read_features(path)
        except InputError:
            return None
        return features if features.spec == spec else None

    def sweep(self) -> None:
        """Remove the temporary files that killed processes left anywhere in the store.

        Those of living processes stay. What cannot be read or removed is passed over.
        """
        for folder, _, names in os.walk(self.root):
            if any(name.endswith(".part") for name in names):
                with suppress(OSError):
                    remove_stale_parts(Path(folder))

    def put(self, content_sha256: str, features: Features) -> Path:
        """Keep ``features`` of that content, and note it in the index.

        Raises:
            OddframeError: they cannot be written.
        """
        path = self.path(content_sha256, features.spec)
        write_features(path, features)
        snippets, size = features.timebase.n_snippets, path.stat().st_size
        entry = IndexEntry(content_sha256, features.spec.hash(), snippets, size)
        with suppress(OddframeError):  # The folders are the truth; the index is read from them.
            Index(self.root).add([entry], features.spec)
        return path
