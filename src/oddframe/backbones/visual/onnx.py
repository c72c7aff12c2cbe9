"""The user's own network as a backbone: an ONNX file, and a YAML file that describes its input.

docs/features.md has an example. OpenVINO reads the ONNX file, so no other software is needed, and
no code of the user is run.
"""

from __future__ import annotations

import glob
import hashlib
import json
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PureWindowsPath
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oddframe._utils.files import file_sha256, is_file
from oddframe._utils.parsing import format_validation_error, read_yaml
from oddframe.backbones.base import FULL_FRAME, BackboneSpec, VisualEncoder, thread_safe
from oddframe.backbones.engines import OnnxRunner, Runtime, load_onnx
from oddframe.errors import InputError, UsageError
from oddframe.video.frame import ResamplingFilter
from oddframe.video.snippets.preprocessing import (
    MAX_FEATURE_DIM,
    MAX_SNIPPET_FRAMES,
    CropNames,
    JpegQuality,
    Preprocessing,
    SamplingRate,
    Size,
    SnippetFrames,
    Stride,
)

# Where the axes (N, T, H, W, C) of snippets go in the network's input.
_TRANSPOSE = {"NCTHW": (0, 4, 1, 2, 3), "NTCHW": (0, 1, 4, 2, 3), "NTHWC": (0, 1, 2, 3, 4)}

_Positive = Annotated[float, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputSection(_Section):
    """The input of the network, as docs/features.md describes it."""

    axes: Literal["NCHW", "NCTHW", "NTCHW", "NTHWC"]
    frames: int = Field(default=1, gt=0, le=MAX_SNIPPET_FRAMES)
    channels: Literal["rgb", "bgr"] = "rgb"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[_Positive, _Positive, _Positive] = (1.0, 1.0, 1.0)
    output: str | None = None  # By name; None: the first one.


class PreprocessingSection(_Section):
    """The default preprocessing of the network; see ``Preprocessing``."""

    resize: Size = FULL_FRAME.resize
    filter: ResamplingFilter = FULL_FRAME.filter
    jpeg_quality: JpegQuality = 0
    crop_size: Size = FULL_FRAME.crop_size
    crops: CropNames = FULL_FRAME.crops
    snippet_frames: SnippetFrames = FULL_FRAME.snippet_frames
    stride: Stride = FULL_FRAME.stride
    rate: SamplingRate | None = None


class OnnxSettings(_Section):
    """The YAML file; the path ``model`` is relative to it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)
    model: str
    dim: int = Field(gt=0, le=MAX_FEATURE_DIM)
    input: InputSection
    preprocessing: PreprocessingSection = PreprocessingSection()


class OnnxSpec(BackboneSpec):
    """A network that a YAML file describes; UsageError if the file is wrong."""

    title = "an ONNX file"

    def __init__(self, path: Path) -> None:
        self.settings = _read_settings(path)
        self.name, self.dim = self.settings.name, self.settings.dim
        self.preprocessing = replace(FULL_FRAME, **self.settings.preprocessing.model_dump())
        self._path = path

    @property
    def window_frames(self) -> int:
        return self.settings.input.frames

    def find_weights(self) -> Path:
        path = self._path.parent / self.settings.model
        if not is_file(path):
            raise InputError(f"{self._path}: its model {path} is not there")
        return path

    def hash_weights(self, weights: Path | None = None) -> str:
        """Hash the ONNX file, the files of its weights, and the YAML's description of its input.

        Files in the same folder whose names begin with the ONNX file's name count, too, because
        hashes that are stored in models and features include them.
        """
        weights = weights or self.find_weights()
        folder, digest = weights.parent, hashlib.sha256()
        same_name = folder.glob(f"{glob.escape(weights.name)}*")
        files = {weights, *onnx_data_files(weights), *filter(Path.is_file, same_name)}
        for name, file in sorted((file.relative_to(folder).as_posix(), file) for file in files):
            digest.update(f"{name} {file_sha256(file)}\n".encode())
        description = self.settings.model_dump(mode="json", include={"dim", "input"})
        digest.update(json.dumps(description, sort_keys=True).encode())
        return digest.hexdigest()

    def load(self, weights: Path, preprocessing: Preprocessing, runtime: Runtime) -> VisualEncoder:
        settings = self.settings.input
        if preprocessing.snippet_frames < settings.frames:
            raise UsageError(
                f"{self.name} encodes {settings.frames} frames, but snippets have "
                f"{preprocessing.snippet_frames}"
            )
        width, height = preprocessing.crop_size
        sizes = {"N": 1, "C": 3, "T": settings.frames, "H": height, "W": width}
        shape = tuple(sizes[axis] for axis in settings.axes)
        model = load_onnx(weights, shape, settings.output, runtime)

        def encode(snippets: NDArray[np.uint8]) -> NDArray[np.float32]:
            # One by one, because many exported networks have a fixed batch size of 1.
            features = [
                _run_one(model, x[None], self.dim, self.name)
                for x in _to_inputs(snippets, settings)
            ]
            per_input = np.stack(features).reshape(len(snippets), -1, self.dim)
            return np.asarray(per_input.mean(axis=1))

        return VisualEncoder(thread_safe(encode))


def _read_settings(path: Path) -> OnnxSettings:
    data, node = read_yaml(path, "a backbone's YAML")
    try:
        return OnnxSettings.model_validate(data)
    except ValidationError as error:
        message = format_validation_error(error, OnnxSettings, (), str(path), node)
        raise UsageError(message) from None


def _to_inputs(snippets: NDArray[np.uint8], settings: InputSection) -> NDArray[np.float32]:
    """(N, frames, h, w, 3) -> the network's inputs, along the first axis."""
    total = snippets.shape[1]
    # The middles of ``settings.frames`` equal parts.
    chosen = [(2 * i + 1) * total // (2 * settings.frames) for i in range(settings.frames)]
    x = snippets[:, chosen].astype(np.float32) / 255
    if settings.channels == "bgr":
        x = x[..., ::-1]
    x = (x - np.array(settings.mean, np.float32)) / np.array(settings.std, np.float32)
    if settings.axes == "NCHW":
        x = x.reshape(-1, *x.shape[2:]).transpose(0, 3, 1, 2)
    else:
        x = x.transpose(_TRANSPOSE[settings.axes])
    return np.ascontiguousarray(x)


def _run_one(model: OnnxRunner, x: NDArray[Any], dim: int, name: str) -> NDArray[np.float32]:
    """Encode one input as (dim,): the mean over all other axes of the output."""
    out = model(x)
    axes = [axis for axis, size in enumerate(out.shape) if axis > 0 and size == dim]
    if not axes or (len(axes) > 1 and axes[-1] != out.ndim - 1):
        raise UsageError(
            f"{name}: its output is {'x'.join(map(str, out.shape))}, in which no single axis is "
            f"the {dim} of 'dim'; name another output"
        )
    others = tuple(axis for axis in range(out.ndim) if axis != axes[-1])
    return np.asarray(out.mean(axis=others), dtype=np.float32)


# The files with the weights of an ONNX file. An ONNX file is a protocol buffer
# (https://github.com/onnx/onnx, ``onnx/onnx.proto``), and any tensor in it may keep its numbers in
# another file of any name. The code below parses only the fields that lead to these names, and
# skips the numbers, so that gigabytes of them take no time.

# The fields of each message that lead to tensors: number in onnx.proto -> message.
_TENSOR_PATHS: Mapping[str, Mapping[int, str]] = {
    "Model": {7: "Graph", 20: "TrainingInfo", 25: "Function"},
    "TrainingInfo": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {
        5: "Tensor",
        6: "Graph",
        10: "Tensor",
        11: "Graph",
        22: "SparseTensor",
        23: "SparseTensor",
    },
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
}
_EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL = 13, 14, 1  # Fields of a tensor, and a value.
_KEY, _VALUE = 1, 2  # Fields of an entry of a tensor's external data.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # Wire types.
_MAX_VARINT_BYTES = 10


def onnx_data_files(path: Path) -> tuple[Path, ...]:
    """Find the other files with weights that the ONNX file ``path`` names, sorted.

    InputError if one of them is missing or is not in its folder.
    """
    try:
        status = path.stat()
        names = _read_names(path, status.st_size, status.st_mtime_ns)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: OpenVINO cannot use it (not an ONNX file that can be read: {error})"
        ) from None
    return tuple(_find_data_file(path, name) for name in names)


def _find_data_file(path: Path, name: str) -> Path:
    windows, file = PureWindowsPath(name), path.parent / name
    outside = Path(name).is_absolute() or windows.anchor or ".." in windows.parts
    try:
        # ``path`` may be a link: allow its folder and the folder of the file that it links to.
        folders = (path.parent.resolve(), path.resolve().parent)
        inside = not outside and any(file.resolve().is_relative_to(each) for each in folders)
        exists = file.is_file()
    except (OSError, ValueError, RuntimeError):  # Not a valid name, or a loop of links.
        inside = exists = False
    if not inside:
        raise InputError(
            f"{path}: it keeps weights in {name!r}, which is not in its folder: export it again "
            "with its data beside it"
        )
    if not exists:
        raise InputError(f"{path}: the file of its weights is not there: {file}")
    return file


@lru_cache(maxsize=64)
def _read_names(path: Path, size: int, _changed_ns: int) -> tuple[str, ...]:
    """Read the names of data files, sorted; raises ValueError if it is no such protocol buffer."""
    if not size:
        raise ValueError("it is empty")
    names: set[str] = set()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        # No recursion, because the file decides how deeply its graphs are nested.
        pending = [("Model", 0, len(data))]
        while pending:
            message, start, end = pending.pop()
            if message == "Tensor":
                names |= _names_in_tensor(data, start, end)
                continue
            for field, _, first, last in _fields(data, start, end):
                if first >= 0 and (child := _TENSOR_PATHS[message].get(field)) is not None:
                    pending.append((child, first, last))
    return tuple(sorted(names))


def _names_in_tensor(data: mmap.mmap, start: int, end: int) -> set[str]:
    names, external = set(), False
    for field, value, first, last in _fields(data, start, end):
        if field == _DATA_LOCATION:
            external = value == _EXTERNAL
        elif field == _EXTERNAL_DATA and first >= 0:
            texts = {
                number: data[a:b].decode("utf-8", "surrogateescape")
                for number, _, a, b in _fields(data, first, last)
                if a >= 0
            }
            if texts.get(_KEY) == "location":
                names.add(texts.get(_VALUE, ""))
    return names if external else set()


def _fields(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (number, value, start, end) of each field; start and end are -1 unless it is bytes."""
    while at < end:
        tag, at = _varint(data, at, end)
        number, wire_type = tag >> 3, tag & 7
        value, start, stop = 0, -1, -1
        if wire_type == _VARINT:
            value, at = _varint(data, at, end)
        elif wire_type == _BYTES:
            length, start = _varint(data, at, end)
            stop = at = start + length
        elif wire_type in (_FIXED64, _FIXED32):
            at += 8 if wire_type == _FIXED64 else 4
        else:
            raise ValueError(f"a field of type {wire_type} at byte {at}")
        if at > end or not number:
            raise ValueError("it is cut off or damaged")
        yield number, value, start, stop


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """Read an integer of variable length; returns it and the position after it."""
    value = 0
    for offset in range(_MAX_VARINT_BYTES):
        if at + offset >= end:
            break
        byte = data[at + offset]
        value |= (byte & 0x7F) << (7 * offset)
        if byte < 0x80:
            return value, at + offset + 1
    raise ValueError("it is cut off or damaged")
