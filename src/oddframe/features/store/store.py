"""The feature store: one feature file for each video and spec, found by the video's content.

The path of a feature file is ``<root>/<hh>/<content>-<spec>.safetensors``: the sha256 of the video
and the hash of the spec. So the features of a video that was moved or renamed are found again, and
those of a video that changed are not.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from oddframe._utils.files import (
    describe_read_error,
    exists,
    file_sha256,
    is_dir,
    is_file,
    remove_stale_parts,
)
from oddframe.errors import InputError, OddframeError
from oddframe.features.formats.feature_file import read_features, write_features
from oddframe.features.spec import Features, FeatureSpec
from oddframe.features.store.index import Index, IndexEntry


def content_hash(path: Path, heartbeat: Callable[[], None] = lambda: None) -> str:
    """Compute sha256 (hex) of a file, or of the names and contents of a folder of frames.

    Args:
        path: File or folder.
        heartbeat: Called now and then while the files are read.

    Raises:
        InputError: a file cannot be read.
    """
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
        path = self.path(content_sha256, spec)
        if not exists(path):
            return None
        try:
            features = read_features(path)
        except InputError:
            return None
        return features if features.spec == spec else None

    def put(self, content_sha256: str, features: Features) -> Path:
        """Write the features of a video and add them to the index; returns the path of the file.

        Raises:
            OddframeError: the file cannot be written.
        """
        path = self.path(content_sha256, features.spec)
        write_features(path, features)
        snippets, size = features.timebase.n_snippets, path.stat().st_size
        entry = IndexEntry(content_sha256, features.spec.hash(), snippets, size)
        with suppress(OddframeError):  # The index can always be rebuilt from the files.
            Index(self.root).add([entry], features.spec)
        return path

    def sweep(self) -> None:
        """Remove the temporary files that killed processes left anywhere in the store.

        Temporary files of running processes stay. Folders that cannot be read are skipped.
        """
        for folder, _, names in os.walk(self.root):
            if any(name.endswith(".part") for name in names):
                with suppress(OSError):
                    remove_stale_parts(Path(folder))
