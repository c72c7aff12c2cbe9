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
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oddframe.backbones.base import WHOLE, Eye, Kind, in_turns
from oddframe.backbones.engines import Choice, Compiled, onnx_model
from oddframe.backbones.onnx_data import data_files
from oddframe.errors import InputError, UsageError
from oddframe.explain import explained, read_yaml
from oddframe.files import file_sha256, is_file
from oddframe.video.preprocessing import (
    MOST_DIM,
    MOST_SNIPPET_FRAMES,
    CropNames,
    Filter,
    JpegQuality,
    Preprocessing,
    Rate,
    Size,
    SnippetFrames,
    Stride,
)

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
    frames: int = Field(default=1, gt=0, le=MOST_SNIPPET_FRAMES)
    channels: Literal["rgb", "bgr"] = "rgb"
    mean: Three = (0.0, 0.0, 0.0)
    std: tuple[
        Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]
    ] = (1.0, 1.0, 1.0)
    output: str | None = None


class CutSection(_Section):
    """How videos are cut for it where nothing else is said; see ``Preprocessing``."""

    resize: Size = WHOLE.resize
    filter: Filter = WHOLE.filter
    jpeg_quality: JpegQuality = 0
    crop_size: Size = WHOLE.crop_size
    crops: CropNames = WHOLE.crops
    snippet_frames: SnippetFrames = WHOLE.snippet_frames
    stride: Stride = WHOLE.stride
    rate: Rate | None = None


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
    dim: int = Field(gt=0, le=MOST_DIM)
    input: InputSection
    preprocessing: CutSection = CutSection()


class OnnxKind(Kind):
    """A network that a YAML describes.

    Raises:
        UsageError: the YAML cannot be read, has an unknown key or a wrong value.
    """

    title = "an ONNX file"

    def __init__(self, path: Path) -> None:
        self.settings = _read(path)
        self.name, self.dim = self.settings.name, self.settings.dim
        self.how = replace(WHOLE, **self.settings.preprocessing.model_dump())
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
        files = {weights, *data_files(weights), *(file for file in beside if file.is_file())}
        for name, file in sorted((file.relative_to(folder).as_posix(), file) for file in files):
            digest.update(f"{name} {file_sha256(file)}\n".encode())
        about = self.settings.model_dump(mode="json", include={"dim", "input"})
        digest.update(json.dumps(about, sort_keys=True).encode())
        return digest.hexdigest()

    def load(self, weights: Path, how: Preprocessing, choice: Choice) -> Eye:
        """See ``Kind.load``."""
        given, name = self.settings.input, self.name
        if how.snippet_frames < given.frames:
            raise UsageError(
                f"{name} looks at {given.frames} frames, but snippets have {how.snippet_frames}"
            )
        width, height = how.crop_size
        shape = _input_shape(given, height, width)
        model = onnx_model(weights, shape, given.output, choice)

        def see(snippets: NDArray[np.uint8]) -> NDArray[np.float32]:
            x = _given(snippets, given)
            # One by one: exported networks often have a batch of one built in.
            made = [_feature(model, each[None], self.dim, name) for each in x]
            frames = np.stack(made).reshape(len(snippets), -1, self.dim)
            return np.asarray(frames.mean(axis=1))

        return Eye(in_turns(see))


def _read(path: Path) -> OnnxSettings:
    data, node = read_yaml(path, "a backbone's YAML")
    try:
        return OnnxSettings.model_validate(data)
    except ValidationError as error:
        raise UsageError(explained(error, OnnxSettings, (), str(path), node)) from None


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _input_shape(given: InputSection, height: int, width: int) -> tuple[int, ...]:
    sizes = {"N": 1, "C": 3, "T": given.frames, "H": height, "W": width}
    return tuple(sizes[axis] for axis in given.axes)


def _given(snippets: NDArray[np.uint8], given: InputSection) -> NDArray[np.float32]:
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


def _feature(model: Compiled, x: NDArray[Any], dim: int, name: str) -> NDArray[np.float32]:
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
