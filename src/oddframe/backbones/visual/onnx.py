"""A user's own network as a backbone: an ONNX file, and a small YAML that says how it is fed.

    name: clip_b32
    model: clip_b32.onnx          # beside this file
    dim: 512
    input:
      axes: NCHW                  # or NCTHW, NTCHW; N snippets, T frames
      frames: 1                   # of a snippet, evenly spaced
      mean: [0.481, 0.458, 0.408] # of pixels in 0..1
      std: [0.269, 0.261, 0.276]
    preprocessing:
      resize: [224, 224]
      crop_size: [224, 224]

OpenVINO reads the ONNX file as it is, so nothing else needs to be installed, and no code is run
that comes with it.

The files beside an ONNX file that hold its weights, as the file itself names them.

An ONNX file is a protocol buffer (https://github.com/onnx/onnx, ``onnx/onnx.proto``). Any tensor in
it may keep its numbers in another file, whatever its name. Only what leads to these names is read
here; numbers are skipped, so that gigabytes of them take no time.
"""

from __future__ import annotations

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
from oddframe._utils.yaml_files import format_validation_error, read_yaml
from oddframe.backbones.base import FULL_FRAME, BackboneSpec, VisualEncoder, thread_safe
from oddframe.backbones.engines import OnnxRunner, Runtime, load_onnx
from oddframe.errors import InputError, UsageError
from oddframe.video.snippets.transforms import (
    MAX_FEATURE_DIM,
    MAX_SNIPPET_FRAMES,
    CropNames,
    JpegQuality,
    Preprocessing,
    ResamplingFilter,
    SamplingRate,
    Size,
    SnippetFrames,
    Stride,
)

# Of each kind of message the fields that lead to tensors, by their numbers in onnx.proto.
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
_EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL = 13, 14, 1  # Of a tensor.
_KEY, _VALUE = 1, 2  # Of an entry of a tensor's external data.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


def onnx_data_files(path: Path) -> tuple[Path, ...]:
    """The files that hold weights of the ONNX file ``path``, sorted, without ``path``.

    Raises:
        InputError: it is no ONNX file, or it names a file that is not there or does not lie in its
            folder.
    """
    try:
        about = path.stat()
        names = _names(path, about.st_size, about.st_mtime_ns)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: OpenVINO cannot use it (not an ONNX file that can be read: {error})"
        ) from None
    return tuple(_file(path, name) for name in names)


def _file(path: Path, name: str) -> Path:
    """The file that ``path`` names."""
    windows, file = PureWindowsPath(name), path.parent / name
    outside = Path(name).is_absolute() or windows.anchor or ".." in windows.parts
    try:
        # In the folder of a link to the ONNX file, or of the ONNX file itself.
        folders = (path.parent.resolve(), path.resolve().parent)
        inside = not outside and any(file.resolve().is_relative_to(each) for each in folders)
        there = file.is_file()
    except (OSError, ValueError, RuntimeError):  # No name of a file, or links in a circle.
        inside = there = False
    if not inside:
        raise InputError(
            f"{path}: it keeps weights in {name!r}, which is not in its folder: export it again "
            "with its data beside it"
        )
    if not there:
        raise InputError(f"{path}: the file of its weights is not there: {file}")
    return file


@lru_cache(maxsize=64)
def _names(path: Path, size: int, _changed_ns: int) -> tuple[str, ...]:
    """The names, sorted; ValueError: it is no protocol buffer of this kind."""
    if not size:
        raise ValueError("it is empty")
    names: set[str] = set()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        # Not by recursion: the file decides how deep its graphs are nested.
        waiting = [("Model", 0, len(data))]
        while waiting:
            kind, start, end = waiting.pop()
            if kind == "Tensor":
                names |= _of_tensor(data, start, end)
                continue
            for field, _, first, last in _fields(data, start, end):
                if first >= 0 and (child := _TENSOR_PATHS[kind].get(field)) is not None:
                    waiting.append((child, first, last))
    return tuple(sorted(names))


def _of_tensor(data: mmap.mmap, start: int, end: int) -> set[str]:
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
    """(number, value, start, end) of each field; of what is no bytes start and end are -1."""
    while at < end:
        tag, at = _varint(data, at, end)
        number, wire = tag >> 3, tag & 7
        value, start, stop = 0, -1, -1
        if wire == _VARINT:
            value, at = _varint(data, at, end)
        elif wire == _BYTES:
            length, start = _varint(data, at, end)
            stop = at = start + length
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"a field of type {wire} at byte {at}")
        if at > end or not number:
            raise ValueError("it is cut off or damaged")
        yield number, value, start, stop


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """A number, and where it ends."""
    value = 0
    for place in range(_LONGEST_VARINT):
        if at + place >= end:
            break
        byte = data[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError("it is cut off or damaged")


Three = tuple[float, float, float]

# Where our axes (N, T, H, W, C) go.
_ORDERS = {"NCTHW": (0, 4, 1, 2, 3), "NTCHW": (0, 1, 4, 2, 3), "NTHWC": (0, 1, 2, 3, 4)}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputSection(_Section):
    """What the network is given.

    Attributes:
        axes: Order of the input's axes: N snippets, T frames, C channels, height, width. Of
            ``NCHW`` each frame is an input of its own, and a snippet's feature the mean over them.
        frames: Frames of a snippet that it sees, in the middle of as many equal parts.
        channels: Their order.
        mean: Taken from each channel of pixels in 0..1.
        std: What each channel is divided by then.
        output: Name of the output that is the feature; none: the first.
    """

    axes: Literal["NCHW", "NCTHW", "NTCHW", "NTHWC"]
    frames: int = Field(default=1, gt=0, le=MAX_SNIPPET_FRAMES)
    channels: Literal["rgb", "bgr"] = "rgb"
    mean: Three = (0.0, 0.0, 0.0)
    std: tuple[
        Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]
    ] = (1.0, 1.0, 1.0)
    output: str | None = None


class PreprocessingSection(_Section):
    """How videos are cut for it where nothing else is said; see ``Preprocessing``."""

    resize: Size = FULL_FRAME.resize
    filter: ResamplingFilter = FULL_FRAME.filter
    jpeg_quality: JpegQuality = 0
    crop_size: Size = FULL_FRAME.crop_size
    crops: CropNames = FULL_FRAME.crops
    snippet_frames: SnippetFrames = FULL_FRAME.snippet_frames
    stride: Stride = FULL_FRAME.stride
    rate: SamplingRate | None = None


class OnnxSettings(_Section):
    """The whole YAML.

    Attributes:
        name: What features of it are called.
        model: The ONNX file, relative to the YAML.
        dim: Length D of a feature.
        input: What the network is given.
        preprocessing: How videos are cut for it.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)
    model: str
    dim: int = Field(gt=0, le=MAX_FEATURE_DIM)
    input: InputSection
    preprocessing: PreprocessingSection = PreprocessingSection()


class OnnxSpec(BackboneSpec):
    """A network that a YAML describes.

    Raises:
        UsageError: the YAML cannot be read, has an unknown key or a wrong value.
    """

    title = "an ONNX file"

    def __init__(self, path: Path) -> None:
        self.settings = _read(path)
        self.name, self.dim = self.settings.name, self.settings.dim
        self.preprocessing = replace(FULL_FRAME, **self.settings.preprocessing.model_dump())
        self._path = path

    def weights(self) -> Path:
        """The ONNX file that the YAML names."""
        path = self._path.parent / self.settings.model
        if not is_file(path):
            raise InputError(f"{self._path}: its model {path} is not there")
        return path

    def sha256(self, weights: Path) -> str:
        """Hash the ONNX file, the files of its weights, and the YAML's description of its input.

        Files beside it whose names begin with its name count, too, for models are known by that.

        Raises:
            InputError: it is no ONNX file, or keeps weights in a file that is not in its folder.
        """
        folder, digest = weights.parent, hashlib.sha256()
        beside = folder.glob(f"{_escaped(weights.name)}*")
        files = {weights, *onnx_data_files(weights), *(file for file in beside if file.is_file())}
        for name, file in sorted((file.relative_to(folder).as_posix(), file) for file in files):
            digest.update(f"{name} {file_sha256(file)}\n".encode())
        about = self.settings.model_dump(mode="json", include={"dim", "input"})
        digest.update(json.dumps(about, sort_keys=True).encode())
        return digest.hexdigest()

    def load(self, weights: Path, preprocessing: Preprocessing, runtime: Runtime) -> VisualEncoder:
        """See ``Kind.load``."""
        given, name = self.settings.input, self.name
        if preprocessing.snippet_frames < given.frames:
            raise UsageError(
                f"{name} looks at {given.frames} frames, but snippets have "
                f"{preprocessing.snippet_frames}"
            )
        width, height = preprocessing.crop_size
        shape = _input_shape(given, height, width)
        model = load_onnx(weights, shape, given.output, runtime)

        def see(snippets: NDArray[np.uint8]) -> NDArray[np.float32]:
            x = _to_inputs(snippets, given)
            # One by one: exported networks often have a batch of one built in.
            made = [_run_one(model, each[None], self.dim, name) for each in x]
            frames = np.stack(made).reshape(len(snippets), -1, self.dim)
            return np.asarray(frames.mean(axis=1))

        return VisualEncoder(thread_safe(see))


def _read(path: Path) -> OnnxSettings:
    data, node = read_yaml(path, "a backbone's YAML")
    try:
        return OnnxSettings.model_validate(data)
    except ValidationError as error:
        raise UsageError(
            format_validation_error(error, OnnxSettings, (), str(path), node)
        ) from None


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _input_shape(given: InputSection, height: int, width: int) -> tuple[int, ...]:
    sizes = {"N": 1, "C": 3, "T": given.frames, "H": height, "W": width}
    return tuple(sizes[axis] for axis in given.axes)


def _to_inputs(snippets: NDArray[np.uint8], given: InputSection) -> NDArray[np.float32]:
    """(N, frames, h, w, 3) -> the network's inputs, one behind the other."""
    total = snippets.shape[1]
    # The middles of ``frames`` equal parts.
    at = [(2 * i + 1) * total // (2 * given.frames) for i in range(given.frames)]
    x = snippets[:, at].astype(np.float32) / 255
    if given.channels == "bgr":
        x = x[..., ::-1]
    x = (x - np.array(given.mean, np.float32)) / np.array(given.std, np.float32)
    if given.axes == "NCHW":
        x = x.reshape(-1, *x.shape[2:]).transpose(0, 3, 1, 2)
    else:
        x = x.transpose(_ORDERS[given.axes])
    return np.ascontiguousarray(x)


def _run_one(model: OnnxRunner, x: NDArray[Any], dim: int, name: str) -> NDArray[np.float32]:
    """One input -> (dim,): the mean over all axes of the output but the one of that length."""
    out = model(x)
    axes = [axis for axis, size in enumerate(out.shape) if axis > 0 and size == dim]
    if not axes or (len(axes) > 1 and axes[-1] != out.ndim - 1):
        raise UsageError(
            f"{name}: its output is {'x'.join(map(str, out.shape))}, in which no single axis is "
            f"the {dim} of 'dim'; name another output"
        )
    others = tuple(axis for axis in range(out.ndim) if axis != axes[-1])
    return np.asarray(out.mean(axis=others), dtype=np.float32)
