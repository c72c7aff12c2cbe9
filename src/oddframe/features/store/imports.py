"""Imported features in the store, found by data set and name, for there is no video to look at.

A video's features lie where the store would keep those of a file whose sha256 is that of the line
``oddframe import <data set>/<name>``. What was imported of a data set stands beside, one small JSON
file a kind: ``<root>/imported/<data set>/<kind>.json`` holds the spec. So an import of the same
data set is taken up wherever it was stopped, and whoever asks for a video by its published name
finds it, on any machine that has the store.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from oddframe._utils.files import read_bytes, write_text
from oddframe._utils.headers import parse_json
from oddframe.errors import InputError, UsageError
from oddframe.features.formats.feature_file import FeatureFileHeader, checksum, read_feature_header
from oddframe.features.lazy_array import CropArray, CropFeatures
from oddframe.features.spec import IMPORTED, Features, FeatureSpec
from oddframe.features.store.store import FeatureStore, tensors_of

_MOST_BYTES = 2**20


def import_key(data: str, name: str) -> str:
    """What takes the place of a video's sha256: of its data set and published name."""
    return hashlib.sha256(f"oddframe import {data}/{name}".encode()).hexdigest()


@dataclass(frozen=True)
class StoredFeatures:
    """A feature file of the store, whose checksum was true when it was written."""

    path: Path

    def open(self) -> Features:
        """The features, read where they are looked at.

        Raises:
            InputError: no such file, not a feature file, or it is cut off.
        """
        return self._under(read_feature_header(self.path))

    def digest(self) -> str:
        """sha256 (hex) of the features, as the file's header has it.

        Raises:
            InputError: as ``open``.
        """
        return read_feature_header(self.path).checksum

    def open_checked(self) -> Features:
        """The features as ``open`` gives them, after all that is in the file was read and is whole.

        Raises:
            InputError: as ``open``, or it is not what was written.
        """
        header = read_feature_header(self.path)
        features = self._under(header)
        if checksum(tensors_of(features)) != header.checksum:
            raise InputError(
                f"{self.path}: a damaged feature file (its contents do not match its checksum); "
                "extract it again"
            )
        return features

    def _under(self, header: FeatureFileHeader) -> Features:
        read = partial(_rows, self.path, header)
        array = CropArray(header.shape, header.dtype, read, [self.path])
        return Features(array, header.spec, header.timebase)


def _rows(path: Path, header: FeatureFileHeader, crop: int) -> CropFeatures:
    try:
        stack = np.memmap(path, header.dtype, "r", header.offset, header.shape)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be mapped into memory ({error})") from None
    rows: CropFeatures = np.asarray(stack)[crop]
    return rows


def imported_specs(store: FeatureStore, data: str) -> dict[str, FeatureSpec]:
    """What was imported of a data set: spec by name, ``i3d``, ``i3d+vggish``."""
    found = {}
    for path in sorted(_folder(store, data).glob("*.json"), key=lambda path: path.stem):
        try:
            found[path.stem] = FeatureSpec.from_dict(parse_json(read_bytes(path, _MOST_BYTES)))
        except (OSError, ValueError, TypeError, AttributeError, InputError):
            continue  # Written by another version: an import writes it anew.
    return found


def record_import(store: FeatureStore, data: str, spec: FeatureSpec) -> None:
    """Remember that features of ``spec`` are imported of a data set.

    Raises:
        UsageError: others were imported under the same name.
        OddframeError: it cannot be written.
    """
    kind = spec.backbone.removeprefix(IMPORTED)
    known = imported_specs(store, data).get(kind)
    if known == spec:
        return
    if known is not None:
        raise UsageError(
            f"{store.root} holds other features of {data} as {kind}: "
            f"{'; '.join(known.differences(spec, sampling=True))}; take another --store"
        )
    write_text(_folder(store, data) / f"{kind}.json", json.dumps(spec.to_dict(), indent=1) + "\n")


def imported_file(store: FeatureStore, data: str, name: str, spec: FeatureSpec) -> StoredFeatures:
    """Where the imported features of a video are, or would be."""
    return StoredFeatures(store.path(import_key(data, name), spec))


def _folder(store: FeatureStore, data: str) -> Path:
    return store.root / "imported" / data
