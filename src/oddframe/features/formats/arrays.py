"""Features that a data set comes with: arrays in ``.npy`` files, made elsewhere.

Their backbone is unknown, so the spec names it ``array`` and says the length of a
feature; a model that was trained on such features takes others of that length.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from oddframe._utils.files import is_dir, open_regular_file
from oddframe.errors import InputError
from oddframe.features.formats.npy import read_npy_header, to_float
from oddframe.features.lazy_array import FeatureArray
from oddframe.features.spec import Features, FeatureSpec
from oddframe.features.store.store import read_features
from oddframe.timeline import Timebase
from oddframe.video.frame import DEFAULT_FPS
from oddframe.video.snippets.crops import crop_names

ARRAY_BACKBONE = "array"
FEATURE_SUFFIXES = frozenset({".npy", ".safetensors"})

_SNIPPET_FRAMES = 16  # What published features stand for, one after another without overlap.


def is_feature_file(path: Path) -> bool:
    """Whether a file's name says that it holds features, not a video."""
    return path.suffix.lower() in FEATURE_SUFFIXES and not is_dir(path)


def read_any_features(path: Path, frames: int | None = None, fps: float | None = None) -> Features:
    """Features from a file that holds them already: an array, or a feature file of oddframe.

    Args:
        path: ``.npy`` or ``.safetensors``.
        frames: Frames of the video that an array is of, where the data set says so.
        fps: Frame rate of that video, frames a second.

    Raises:
        InputError: the file cannot be used; the line says why.
    """
    if path.suffix.lower() == ".npy":
        return read_array_features(path, frames=frames, fps=fps)
    return read_features(path)


def read_array_features(
    path: Path, *, frames: int | None = None, fps: float | None = None
) -> Features:
    """Features (C, T, D) from a ``.npy`` file of shape (T, D), (T, C, D) or (C, T, D).

    A row stands for 16 frames, one row after another. Of three axes, the crops are the one of
    length 1, 5 or 10; where the first two both are, the file is taken as (T, C, D), which is how
    features are published. float16 and float32 stay as they are, everything else becomes float32.

    Args:
        path: The file.
        frames: Frames of the video; without it 16 a row. The last row may stand for fewer.
        fps: Frame rate of the video, frames a second; without it 25.

    Raises:
        InputError: no such file, no array of numbers in it, another shape, a value that is not
            finite, or a number of rows that does not fit ``frames``.
    """
    array = crops_first(path, _load(path))
    crops, snippets, dim = array.shape
    if not np.isfinite(array).all():
        broken = int((~np.isfinite(array).all(axis=(0, 2))).sum())
        raise InputError(
            f"{path}: {broken} of {snippets} rows hold values that are not finite (NaN or "
            "infinite); make these features again or leave the file out"
        )
    spec = FeatureSpec(
        backbone=ARRAY_BACKBONE,
        weights_sha256="",
        dim=dim,
        crops=crop_names(crops),
        snippet_frames=_SNIPPET_FRAMES,
        stride=_SNIPPET_FRAMES,
    )
    n_frames = _SNIPPET_FRAMES * snippets if frames is None else frames
    time = Timebase(fps or DEFAULT_FPS, n_frames, _SNIPPET_FRAMES, _SNIPPET_FRAMES)
    if time.n_snippets != snippets:
        raise InputError(
            f"{path}: {snippets} rows, but a video of {n_frames} frames has {time.n_snippets} "
            f"snippets of {_SNIPPET_FRAMES}"
        )
    return Features(array, spec, time)


def _load(path: Path) -> FeatureArray:
    read_npy_header(path)
    try:
        with open_regular_file(path) as file:
            array = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    return to_float(array)


def crops_first(path: Path, array: FeatureArray) -> FeatureArray:
    """(C, T, D) of what a file holds, (T, D), (T, C, D) or (C, T, D).

    Raises:
        InputError: it is none of these.
    """
    shape = "x".join(map(str, array.shape))
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise InputError(
            f"{path}: an array of {shape or 'no'} values; it takes (T, D) or (T, C, D)"
        )
    if array.ndim == 2:
        return array[None]
    if array.shape[1] in (1, 5, 10):
        return np.moveaxis(array, 1, 0).copy()
    if array.shape[0] in (1, 5, 10):
        return array
    raise InputError(
        f"{path}: an array of {shape}: neither of its first two axes is 1, 5 or 10 crops"
    )
