"""What a feature file says of itself before its numbers are read.

Tensors into a safetensors file a part at a time: what lies on disk is never in memory whole.

The bytes are those that the safetensors library writes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oddframe._utils.files import (
    atomic_write,
    exists,
    file_sha256,
    make_folder,
    open_regular_file,
    translate_os_errors,
)
from oddframe._utils.headers import parse_json, read_tensor_header
from oddframe._utils.yaml_files import format_validation_error
from oddframe.errors import InputError
from oddframe.features.lazy_array import AnyFeatures, CropArray
from oddframe.features.spec import FeatureSpec
from oddframe.timeline import Timebase
from oddframe.video.snippets.transforms import SamplingRate, SnippetFrames, Stride

FILE_SCHEMA = 1
FILE_KIND = "oddframe features"
# The whole header under one key: safetensors orders several keys differently from run to run.
METADATA_KEY = "oddframe"
# Bytes: a grid of 99x99 crops has 300 KB of names.
_MAX_HEADER = 2**20


@dataclass(frozen=True)
class FeatureFileHeader:
    """What a feature file says of itself before its numbers are read.

    Attributes:
        spec: How the features were made.
        timebase: Of the video.
        shape: (C, T, D).
        dtype: float32 or float16.
        offset: Bytes before the first number.
        checksum: sha256 (hex) of the features, and of the frames' times.
    """

    spec: FeatureSpec
    timebase: Timebase
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    checksum: str


def read_feature_header(path: Path) -> FeatureFileHeader:
    """The header of a feature file; its features stay unread.

    Raises:
        InputError: no such file, not a feature file, a newer one, or one that is cut off.
    """
    if not exists(path):
        raise InputError(f"{path}: no such feature file")
    with open_regular_file(path) as file:
        try:
            return read_open_header(file, os.fstat(file.fileno()).st_size, str(path))
        except OSError as error:
            raise InputError(f"{path}: truncated or no feature file ({error})") from None


def read_open_header(file: BinaryIO, size: int, name: str) -> FeatureFileHeader:
    """The header of a feature file of ``size`` bytes that is open at its start.

    Raises:
        InputError: not a feature file, a newer one, or one that is cut off or claims too much.
        OSError: it cannot be read.
    """
    try:
        tensors, metadata = read_tensor_header(file, size, _MAX_HEADER)
        claim = tensors["features"]
        dtype = np.dtype({"F16": np.float16, "F32": np.float32}[claim.dtype])
        crops, snippets, dim = claim.shape
    except (ValueError, KeyError) as error:
        raise InputError(f"{name}: truncated or no feature file ({error})") from None
    header = parse_metadata(name, metadata)
    try:
        pts = None
        if (times := tensors.get("pts")) is not None:
            if times.dtype != "F64":
                raise ValueError("its times are not float64")
            file.seek(times.start)
            pts = np.frombuffer(file.read(times.end - times.start), "<f8")
        spec, time = _spec(json.dumps(header["spec"])), timebase_from_dict(header["timebase"], pts)
        time.check_claims(snippets, size)
        sha256 = str(header["checksum"])
    except (InputError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{name}: a damaged feature file ({error})") from None
    return FeatureFileHeader(spec, time, (crops, snippets, dim), dtype, claim.start, sha256)


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


@lru_cache(maxsize=64)  # A million files have a few specs.
def _spec(text: str) -> FeatureSpec:
    return FeatureSpec.from_dict(json.loads(text))


def timebase_to_dict(time: Timebase) -> dict[str, Any]:
    """A timebase as a feature file's header has it; the frames' times are a tensor of the file."""
    fields: dict[str, Any] = {
        "fps": time.fps,
        "n_frames": time.n_frames,
        "snippet_frames": time.snippet_frames,
        "stride": time.stride,
        "rate": time.rate,
    }
    # Most videos have neither, and older versions read only what they know.
    if time.pts is None and time.start_s:
        fields["start_s"] = time.start_s
    if time.gaps:
        fields["gaps"] = list(time.gaps)
    return fields


def timebase_from_dict(fields: Mapping[str, Any], pts: NDArray[np.float64] | None) -> Timebase:
    """The timebase of a feature file, as ``timebase_to_dict`` wrote it.

    Raises:
        InputError: it is impossible, or a field is unknown, missing, of the wrong type or beyond
            its limits.
    """
    try:
        _TimebaseFields.model_validate(fields)
    except ValidationError as error:
        raise InputError(
            format_validation_error(error, _TimebaseFields, ("timebase",), "header")
        ) from None
    return Timebase(**{**fields, "gaps": tuple(fields.get("gaps", ())), "pts": pts})


def parse_metadata(name: Path | str, metadata: Mapping[str, str]) -> dict[str, Any]:
    """What oddframe wrote into a feature file beside the tensors.

    Raises:
        InputError: it is no feature file, or a newer one.
    """
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
            f"{FILE_SCHEMA}: "
            "upgrade it, or extract the features again"
        )
    return dict(header)


StoredTensor = AnyFeatures | NDArray[np.float64]

_NAMES = {"<f8": "F64", "<f4": "F32", "<f2": "F16"}
# Rows that are in memory at once.
_ROWS = 4096


def checksum(tensors: Mapping[str, StoredTensor]) -> str:
    """sha256 (hex) over names, types, shapes and bytes: finds flipped bits and swapped tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        shape = tensor.shape or (1,)  # A single number counts as a row of one.
        digest.update(f"{name} {tensor.dtype.str} {shape}\n".encode())
        for part in _parts(tensor):
            digest.update(part.data)
    return digest.hexdigest()


def content_digest(array: AnyFeatures) -> str:
    """sha256 (hex) of all that an array holds; of one on disk, of the files that it is read from.

    What lies on disk is read a part at a time, and once as long as its files stay as they are.

    Raises:
        InputError: a file cannot be read.
    """
    if not isinstance(array, CropArray) or not array.files:
        return checksum({"features": array})
    lines = [f"{array.shape} {array.dtype.str} from {array.start}", *map(file_sha256, array.files)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def write_tensors(
    path: Path, tensors: Mapping[str, StoredTensor], metadata: Mapping[str, str]
) -> None:
    """Write a safetensors file, atomically; folders on the way are made.

    Raises:
        OddframeError: it cannot be written.
    """
    # The library's order: wide types first, then by name.
    names = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    about: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in names:
        tensor = tensors[name]
        start, end = end, end + int(np.prod(tensor.shape)) * tensor.dtype.itemsize
        shape, dtype = list(tensor.shape), _NAMES[tensor.dtype.str]
        about[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    head = json.dumps(about, separators=(",", ":"), ensure_ascii=False).encode()
    head += b" " * (-len(head) % 8)
    make_folder(path.parent)
    with atomic_write(path) as part, translate_os_errors(path), part.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for name in names:
            for piece in _parts(tensors[name]):
                file.write(piece.data)


def _parts(tensor: StoredTensor) -> Iterator[NDArray[Any]]:
    """All of it in order, in pieces whose bytes lie in a row."""
    outer = tensor if isinstance(tensor, CropArray) or tensor.ndim > 2 else (np.atleast_1d(tensor),)
    for array in outer:
        for start in range(0, len(array), _ROWS):
            yield np.ascontiguousarray(array[start : start + _ROWS])
