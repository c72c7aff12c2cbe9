"""Feature files: one safetensors file for the features of one video.

Tensors: ``features`` (C, T, D), ``pts`` with the time of each frame if the frame rate is not
constant, and ``boxes`` (T, 4) or (T, K, 4) if there are motion squares. The key ``oddframe`` has a
JSON header: spec, timebase and checksum. The bytes are those that the safetensors library would
write, but written in parts, so that features on disk are never in memory as a whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oddframe._utils.files import (
    atomic_write,
    exists,
    file_sha256,
    is_dir,
    make_folder,
    open_regular_file,
    translate_os_errors,
)
from oddframe._utils.parsing import (
    TensorEntry,
    format_validation_error,
    parse_json,
    read_tensor_header,
)
from oddframe.errors import InputError
from oddframe.features.formats.npy import is_finite, map_array, read_array_features
from oddframe.features.lazy_array import AnyFeatures, CropArray, CropFeatures
from oddframe.features.spec import Features, FeatureSpec
from oddframe.timeline import FloatArray, Timebase
from oddframe.video.snippets.preprocessing import SamplingRate, SnippetFrames, Stride, boxes_shape

FILE_SCHEMA = 1
FILE_KIND = "oddframe features"
# The whole header under one key: safetensors orders several keys differently from run to run.
METADATA_KEY = "oddframe"

_SUFFIXES = frozenset({".npy", ".safetensors"})
_MAX_HEADER = 2**20  # Bytes; the names of a grid of 99x99 crops take 300 KB.
_ROWS = 4096  # Rows in memory at once.
_DTYPE_NAMES = {"<f8": "F64", "<f4": "F32", "<f2": "F16"}

StoredTensor = AnyFeatures | NDArray[np.float64]


def is_feature_file(path: Path) -> bool:
    """Whether a file's suffix says that it holds features, not a video."""
    return path.suffix.lower() in _SUFFIXES and not is_dir(path)


def read_any_features(path: Path, frames: int | None = None, fps: float | None = None) -> Features:
    """Read a feature file, or features from a ``.npy`` array.

    For an array: ``frames`` of the video, by default 16 a row, and its frame rate, by default 25.
    """
    if path.suffix.lower() == ".npy":
        return read_array_features(path, frames=frames, fps=fps)
    return read_features(path)


def read_features(path: Path) -> Features:
    """Read a feature file into memory and verify its checksum.

    Raises:
        InputError: the file is missing, damaged, no feature file, or of a newer schema.
    """
    features = open_features(path, verify=True)
    if not all(is_finite(crop) for crop in features.array):
        raise _damaged(path, "it holds values that are not finite")
    return replace(features, array=np.asarray(features.array))


def open_features(path: Path, *, verify: bool = False) -> Features:
    """Open a feature file, whose crops are read from disk on access.

    ``verify``: read the whole file first, and compare it with its checksum.
    """
    header = read_feature_header(path)
    array = CropArray(header.shape, header.dtype, partial(_map_crop, path, header), [path])
    try:
        features = Features(array, header.spec, header.timebase, header.boxes)
    except InputError as error:
        raise _damaged(path, error) from None
    if verify and checksum(tensors_of(features)) != header.checksum:
        raise _damaged(path, "its contents do not match its checksum")
    return features


def _map_crop(path: Path, header: FeatureFileHeader, crop: int) -> CropFeatures:
    rows: CropFeatures = map_array(path, header.dtype, header.offset, header.shape)[crop]
    return rows


def _damaged(path: Path, reason: object) -> InputError:
    return InputError(f"{path}: a damaged feature file ({reason}); extract it again")


@dataclass(frozen=True)
class StoredFeatures:
    """The features in a feature file, as a ``FeatureSource``."""

    path: Path

    def open(self) -> Features:
        return open_features(self.path)

    def digest(self) -> str:
        return read_feature_header(self.path).checksum


def write_features(path: Path, features: Features) -> None:
    """Write a feature file, atomically; InputError if a value is not finite."""
    if not all(is_finite(crop) for crop in features.array):
        raise InputError(f"{path}: not written, the features hold values that are not finite")
    tensors = tensors_of(features)
    header = {
        "kind": FILE_KIND,
        "schema": FILE_SCHEMA,
        "spec": features.spec.to_dict(),
        "timebase": timebase_to_dict(features.timebase),
        "checksum": checksum(tensors),
    }
    write_tensors(path, tensors, {METADATA_KEY: json.dumps(header, sort_keys=True)})


def tensors_of(features: Features) -> dict[str, StoredTensor]:
    """Get the tensors of a feature file by name; the file's checksum covers these."""
    tensors: dict[str, StoredTensor] = {"features": features.array}
    if (pts := features.timebase.pts) is not None:
        tensors["pts"] = np.ascontiguousarray(pts, dtype=np.float64)
    if features.boxes is not None:
        tensors["boxes"] = np.ascontiguousarray(features.boxes, dtype=np.float64)
    return tensors


@dataclass(frozen=True)
class FeatureFileHeader:
    """The header of a feature file."""

    spec: FeatureSpec
    timebase: Timebase
    shape: tuple[int, int, int]  # (C, T, D) of the features.
    dtype: np.dtype[Any]  # float32 or float16.
    offset: int  # Bytes before the first number of the features.
    checksum: str  # See ``checksum``.
    boxes: FloatArray | None = None  # See ``Features``.


def read_feature_header(path: Path) -> FeatureFileHeader:
    """Read the header of a feature file, and none of its features."""
    if not exists(path):
        raise InputError(f"{path}: no such feature file")
    with open_regular_file(path) as file:
        try:
            return read_open_header(file, os.fstat(file.fileno()).st_size, str(path))
        except OSError as error:
            raise InputError(f"{path}: truncated or no feature file ({error})") from None


def read_open_header(file: BinaryIO, size: int, name: str) -> FeatureFileHeader:
    """Read the header of a seekable file of ``size`` bytes that is open at its start.

    InputError also if the header claims more than a file of this size can hold.
    """
    try:
        tensors, metadata = read_tensor_header(file, size, _MAX_HEADER)
        claim = tensors["features"]
        dtype = np.dtype({"F16": np.float16, "F32": np.float32}[claim.dtype])
        crops, snippets, dim = claim.shape
    except (ValueError, KeyError) as error:
        raise InputError(f"{name}: truncated or no feature file ({error})") from None
    header = _parse_metadata(name, metadata)
    try:
        pts = _read_floats(file, tensors.get("pts"), "times")
        boxes = _read_floats(file, tensors.get("boxes"), "boxes")
        spec = _parse_spec(json.dumps(header["spec"]))
        if boxes is not None:
            boxes = boxes.reshape(boxes_shape(spec.crops, snippets))
            if not ((boxes >= 0) & (boxes <= 1)).all():
                raise ValueError("a box is not inside the picture")
        timebase = _timebase_from_dict(header["timebase"], pts)
        timebase.check_claims(snippets, size)
        sha256 = str(header["checksum"])
    except (InputError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{name}: a damaged feature file ({error})") from None
    shape = crops, snippets, dim
    return FeatureFileHeader(spec, timebase, shape, dtype, claim.start, sha256, boxes)


def _read_floats(file: BinaryIO, entry: TensorEntry | None, what: str) -> FloatArray | None:
    """Read all numbers of a float64 tensor, flat; None: there is no such tensor."""
    if entry is None:
        return None
    if entry.dtype != "F64":
        raise ValueError(f"its {what} are not float64")
    file.seek(entry.start)
    return np.frombuffer(file.read(entry.end - entry.start), "<f8")


def _parse_metadata(name: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        header = parse_json(metadata[METADATA_KEY])
        kind, schema = header["kind"], header["schema"]
    except (KeyError, TypeError, ValueError):
        kind, schema, header = None, 0, {}
    if kind != FILE_KIND:
        raise InputError(f"{name}: a safetensors file, but no feature file of oddframe")
    if not isinstance(schema, int) or schema > FILE_SCHEMA:
        raise InputError(
            f"{name}: a feature file of schema {schema!r:.20}; this oddframe reads up to "
            f"{FILE_SCHEMA}: upgrade it, or extract the features again"
        )
    return dict(header)


@lru_cache(maxsize=64)  # A million files share a few specs.
def _parse_spec(text: str) -> FeatureSpec:
    return FeatureSpec.from_dict(json.loads(text))


class _TimebaseFields(BaseModel):
    """The fields of ``Timebase`` in a header, with their limits."""

    model_config = ConfigDict(extra="forbid", strict=True)

    fps: float = Field(ge=1e-6, le=1e6, allow_inf_nan=False)
    n_frames: int = Field(ge=1, le=2**40)
    snippet_frames: SnippetFrames
    stride: Stride
    rate: SamplingRate | None
    start_s: float = Field(default=0.0, allow_inf_nan=False)
    gaps: list[int] = []


def timebase_to_dict(timebase: Timebase) -> dict[str, Any]:
    """Convert a timebase for the header; the times of the frames are the tensor ``pts``."""
    names = ("fps", "n_frames", "snippet_frames", "stride", "rate")
    fields: dict[str, Any] = {name: getattr(timebase, name) for name in names}
    # Left out where they say nothing, because older versions refuse unknown fields.
    if timebase.pts is None and timebase.start_s:
        fields["start_s"] = timebase.start_s
    if timebase.gaps:
        fields["gaps"] = list(timebase.gaps)
    return fields


def _timebase_from_dict(fields: Mapping[str, Any], pts: NDArray[np.float64] | None) -> Timebase:
    try:
        _TimebaseFields.model_validate(fields)
    except ValidationError as error:
        message = format_validation_error(error, _TimebaseFields, ("timebase",), "header")
        raise InputError(message) from None
    return Timebase(**{**fields, "gaps": tuple(fields.get("gaps", ())), "pts": pts})


def checksum(tensors: Mapping[str, StoredTensor]) -> str:
    """Compute sha256 (hex) over the names, types, shapes and bytes of tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        shape = tensor.shape or (1,)  # A scalar counts as an array of length 1.
        digest.update(f"{name} {tensor.dtype.str} {shape}\n".encode())
        for part in _parts(tensor):
            digest.update(part.data)
    return digest.hexdigest()


def content_digest(array: AnyFeatures) -> str:
    """Compute sha256 (hex) of features, or of the files that features on disk are read from."""
    if not isinstance(array, CropArray) or not array.files:
        return checksum({"features": array})
    lines = [f"{array.shape} {array.dtype.str} from {array.start}", *map(file_sha256, array.files)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def write_tensors(
    path: Path, tensors: Mapping[str, StoredTensor], metadata: Mapping[str, str]
) -> None:
    """Write a safetensors file, atomically; missing parent folders are created."""
    # The order of the safetensors library: wide types first, then by name.
    names = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in names:
        tensor = tensors[name]
        start, end = end, end + int(np.prod(tensor.shape)) * tensor.dtype.itemsize
        shape, dtype = list(tensor.shape), _DTYPE_NAMES[tensor.dtype.str]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    head = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    head += b" " * (-len(head) % 8)
    make_folder(path.parent)
    with atomic_write(path) as part, translate_os_errors(path), part.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for name in names:
            for rows in _parts(tensors[name]):
                file.write(rows.data)


def _parts(tensor: StoredTensor) -> Iterator[NDArray[Any]]:
    """Split a tensor, in order, into contiguous arrays of at most ``_ROWS`` rows."""
    outer = tensor if isinstance(tensor, CropArray) or tensor.ndim > 2 else (np.atleast_1d(tensor),)
    for array in outer:
        for start in range(0, len(array), _ROWS):
            yield np.ascontiguousarray(array[start : start + _ROWS])
