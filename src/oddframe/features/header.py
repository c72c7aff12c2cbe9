"""What a feature file says of itself before its numbers are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from oddframe.errors import InputError
from oddframe.features.spec import FeatureSpec
from oddframe.timeline import Timebase

SCHEMA = 1
KIND = "oddframe features"
# The whole header under one key: safetensors orders several keys differently from run to run.
HEADER = "oddframe"


@dataclass(frozen=True)
class StoredHeader:
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


def read_stored_header(path: Path) -> StoredHeader:
    """The header of a feature file; its features stay unread.

    Raises:
        InputError: no such file, not a feature file, a newer one, or one that is cut off.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such feature file")
    try:
        with path.open("rb") as file:
            return header_in(file, path.stat().st_size, str(path))
    except OSError as error:
        raise InputError(f"{path}: truncated or no feature file ({error})") from None


def header_in(file: BinaryIO, size: int, name: str) -> StoredHeader:
    """The header of a feature file of ``size`` bytes that is open at its start.

    Raises:
        InputError: not a feature file, a newer one, or one that is cut off.
        OSError: it cannot be read.
    """
    try:
        length = int.from_bytes(file.read(8), "little")
        about = json.loads(file.read(min(length, size)))
        metadata, tensor = about.get("__metadata__") or {}, about["features"]
        dtype = np.dtype({"F16": np.float16, "F32": np.float32}[tensor["dtype"]])
        crops, snippets, dim = tensor["shape"]
        start, end = tensor["data_offsets"]
        times = about.get("pts")
        last = end if times is None else max(end, times["data_offsets"][1])
        whole = size >= 8 + length + last
        if not whole or end - start != crops * snippets * dim * dtype.itemsize:
            raise ValueError("it is cut off")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{name}: truncated or no feature file ({error})") from None
    header = header_of(name, metadata)
    try:
        pts = None
        if times is not None:
            first, end = times["data_offsets"]
            file.seek(8 + length + first)
            pts = np.frombuffer(file.read(end - first), "<f8")
        spec, time = _spec(json.dumps(header["spec"])), timebase_from(header["timebase"], pts)
        time.check_claims(snippets, size)
        sha256 = str(header["checksum"])
    except (InputError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{name}: a damaged feature file ({error})") from None
    return StoredHeader(spec, time, (crops, snippets, dim), dtype, 8 + length + start, sha256)


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


def timebase_from(fields: Mapping[str, Any], pts: NDArray[np.float64] | None) -> Timebase:
    """The timebase of a feature file, as ``timebase_to_dict`` wrote it.

    Raises:
        InputError: it is impossible.
        TypeError: it has other fields, or of other types.
    """
    return Timebase(**{**fields, "gaps": tuple(fields.get("gaps", ())), "pts": pts})


def header_of(name: Path | str, metadata: Mapping[str, str]) -> dict[str, Any]:
    """What oddframe wrote into a feature file beside the tensors.

    Raises:
        InputError: it is no feature file, or a newer one.
    """
    try:
        header = json.loads(metadata[HEADER])
        kind, schema = header["kind"], header["schema"]
    except (KeyError, TypeError, ValueError):
        kind, schema, header = None, 0, {}
    if kind != KIND:
        raise InputError(f"{name}: a safetensors file, but no feature file of oddframe")
    if not isinstance(schema, int) or schema > SCHEMA:
        raise InputError(
            f"{name}: a feature file of schema {schema}; this oddframe reads up to {SCHEMA}: "
            "upgrade it, or extract the features again"
        )
    return dict(header)
