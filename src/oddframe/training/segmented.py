"""Bags of published data sets, cut into segments once instead of at every step.

A step of UR-DMU's recipe reads 128 bags of 200 segments; the views that they are cut from are 33 GB
for UCF-Crime, many times as long each. So each video's views are brought to their segments once and
kept in the store, ``<root>/segments/<hh>/<digest>-<spec>-<segments>.npy``, (C, S, D) float32: a
step maps 100 MB from them and computes nothing. The numbers are the same to the last bit.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from oddframe.errors import InputError
from oddframe.features.lazy import CropArray, View, Views
from oddframe.features.npy import mapped, read_header
from oddframe.features.spec import Features
from oddframe.files import write_bytes
from oddframe.training.bags import TrainingVideo, segments

# Left free on the disk, in bytes.
_SPARE = 2 << 30

Tell = Callable[[int, int, str], None]


def pre_segmented(
    videos: Sequence[TrainingVideo],
    seen: Sequence[Sequence[Features]],
    digests: Sequence[str],
    n: int,
    root: Path,
    tell: Tell,
) -> list[TrainingVideo]:
    """The videos with their bags, of those whose features lie on disk; what is kept is used again.

    Where there is no room for the bags, videos stay as they are: their bags are cut at every step.

    Args:
        videos: What training sees.
        seen: The features that each video's views are of.
        digests: What tells the videos' features apart.
        n: Segments S.
        root: Of the store.
        tell: Called with (videos done, videos in all, what is done).

    Raises:
        InputError: features cannot be read.
        OddframeError: bags cannot be written.
    """
    places = [
        [_place(root / "segments", digest, features, n) for features in each]
        for each, digest in zip(seen, digests, strict=True)
    ]
    if not any(path for paths in places for path in paths):
        return list(videos)
    if not _room(seen, places, n, root):
        return list(videos)
    found = []
    for done, (video, each, paths) in enumerate(zip(videos, seen, places, strict=True), start=1):
        pairs = zip(each, paths, strict=True)
        bags = [_bags(features, path, n) for features, path in pairs if path is not None]
        found.append(replace(video, bags=Views(bags)) if len(bags) == len(each) else video)
        tell(done, len(videos), f"{n} segments")
    return found


def _room(
    seen: Sequence[Sequence[Features]], places: Sequence[Sequence[Path | None]], n: int, root: Path
) -> bool:
    """Whether what is not there yet fits on the disk."""
    lacking = 0
    for each, paths in zip(seen, places, strict=True):
        for features, path in zip(each, paths, strict=True):
            if path is not None and not _is_there(path, features, n):
                crops, _, dim = features.array.shape
                lacking += 4 * crops * n * dim
    return not lacking or lacking + _SPARE < shutil.disk_usage(_existing(root)).free


def _place(folder: Path, digest: str, features: Features, n: int) -> Path | None:
    if not isinstance(features.array, CropArray) or features.spec.tiles is not None:
        return None
    return folder / digest[:2] / f"{digest}-{features.spec.hash()}-{n}.npy"


def _is_there(path: Path, features: Features, n: int) -> bool:
    """Whether bags of this shape are there, and of the features as they are now."""
    crops, _, dim = features.array.shape
    files = features.array.files if isinstance(features.array, CropArray) else ()
    try:
        changed_ns = max((file.stat().st_mtime_ns for file in files if file.exists()), default=0)
        fresh = path.stat().st_mtime_ns >= changed_ns
        return fresh and read_header(path).shape == (crops, n, dim)
    except (InputError, OSError):
        return False


def _bags(features: Features, path: Path, n: int) -> CropArray:
    """(C, S, D) the features in segments, cut and kept if they are not there yet."""
    crops, _, dim = features.array.shape
    if not _is_there(path, features, n):
        views = (view.astype(np.float32, copy=False) for view in features.array)
        file = io.BytesIO()
        np.save(file, np.stack([segments(view, n) for view in views]))
        write_bytes(path, file.getvalue())
    return CropArray((crops, n, dim), np.dtype(np.float32), partial(_bag, path), [path])


def _bag(path: Path, crop: int) -> View:
    bag: View = mapped(path)[crop]
    return bag


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
