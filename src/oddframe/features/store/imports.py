"""Imported features in the store, found by data set and name because there is no video to hash.

The features of a video lie where the store would keep those of a file whose sha256 is that of the
text ``oddframe import <data set>/<name>``. For each kind of feature that was imported, the file
``<root>/imported/<data set>/<kind>.json`` holds the spec. So an interrupted import can go on, and
features are found by the published name of a video on any machine that has the store.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from oddframe._utils.files import read_bytes, write_text
from oddframe._utils.parsing import parse_json
from oddframe.errors import InputError, UsageError
from oddframe.features.formats.feature_file import (
    FeatureFileHeader,
    checksum,
    read_feature_header,
    tensors_of,
)
from oddframe.features.lazy_array import CropArray, CropFeatures
from oddframe.features.spec import IMPORTED, Features, FeatureSpec
from oddframe.features.store.store import FeatureStore

_MAX_BYTES = 2**20


def import_key(data: str, name: str) -> str:
    """Compute the key of imported features, which stands for the sha256 of a video.

    Args:
        data: Name of the data set.
        name: Published name of the video.
    """
    return hashlib.sha256(f"oddframe import {data}/{name}".encode()).hexdigest()


@dataclass(frozen=True)
class StoredFeatures:
    """A feature file of the store, whose features are read from disk on access."""

    path: Path

    def open(self) -> Features:
        """Open the features without verifying the checksum; crops are read on access.

        Raises:
            InputError: the file is missing, cut off or no feature file.
        """
        return self._open(read_feature_header(self.path))

    def digest(self) -> str:
        """Read the checksum of the features from the file's header.

        Raises:
            InputError: as ``open``.
        """
        return read_feature_header(self.path).checksum

    def open_checked(self) -> Features:
        """Open the features as ``open`` does, after reading the whole file to verify its checksum.

        Raises:
            InputError: as ``open``, or the checksum does not match.
        """
        header = read_feature_header(self.path)
        features = self._open(header)
        if checksum(tensors_of(features)) != header.checksum:
            raise InputError(
                f"{self.path}: a damaged feature file (its contents do not match its checksum); "
                "extract it again"
            )
        return features

    def _open(self, header: FeatureFileHeader) -> Features:
        read = partial(_map_crop, self.path, header)
        array = CropArray(header.shape, header.dtype, read, [self.path])
        return Features(array, header.spec, header.timebase, header.boxes)


def _map_crop(path: Path, header: FeatureFileHeader, crop: int) -> CropFeatures:
    try:
        crops = np.memmap(path, header.dtype, "r", header.offset, header.shape)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be mapped into memory ({error})") from None
    rows: CropFeatures = np.asarray(crops)[crop]
    return rows


def imported_specs(store: FeatureStore, data: str) -> dict[str, FeatureSpec]:
    """Read which kinds of features were imported: specs by name, ``i3d``, ``i3d+vggish``.

    Args:
        store: The store.
        data: Name of the data set.
    """
    found = {}
    for path in sorted(_folder(store, data).glob("*.json"), key=lambda path: path.stem):
        try:
            found[path.stem] = FeatureSpec.from_dict(parse_json(read_bytes(path, _MAX_BYTES)))
        except (OSError, ValueError, TypeError, AttributeError, InputError):
            continue  # Written by another version; the next import overwrites it.
    return found


def record_import(store: FeatureStore, data: str, spec: FeatureSpec) -> None:
    """Record that features of ``spec`` are imported of the data set ``data``.

    Raises:
        UsageError: other features were imported under the same name.
        OddframeError: the record cannot be written.
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
