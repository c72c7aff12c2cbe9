"""Published features: the ``.npy`` files of a video, and a folder of such files.

A video has one file for each crop, ``NAME__0.npy`` (T, D), or one with all crops, (T, C, D) or
(C, T, D). Features of the sound are a file (T', 128), joined to those of every crop as by the
loader of XD-Violence's authors: T' is T or T - 1, and then the last visual row is dropped. By which
weights and preprocessing they were made is not known.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from oddframe._utils.files import is_dir
from oddframe.errors import InputError
from oddframe.features.formats.npy import (
    NpyHeader,
    digest_of_ends,
    map_npy,
    read_npy_header,
    to_float,
)
from oddframe.features.lazy_array import CropArray, CropFeatures
from oddframe.features.presets import (
    SNIPPET_FRAMES,
    PublishedLayout,
    describe_published,
    imported_spec,
)
from oddframe.features.spec import Features
from oddframe.timeline import Timebase


class FeatureSource(Protocol):
    """The stored features of one video, which can be opened any number of times.

    Both methods raise InputError if a file is missing or wrong.
    """

    def open(self) -> Features:
        """Open the features; their crops are read on access."""
        ...

    def digest(self) -> str:
        """Compute a sha256 (hex) that identifies these features."""
        ...


FaultKind = Literal[
    "absent",
    "missing",
    "twice",
    "unreadable",
    "shape",
    "crops",
    "dimension",
    "length",
    "sound",
    "labels",
    "not finite",
]


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a feature file."""

    kind: FaultKind
    path: Path
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True)
class NpyInspection:
    """What the headers of a video's files say; shapes are valid only without faults."""

    faults: tuple[Fault, ...]
    shape: tuple[int, int, int]  # (C, T, D) of the visual features.
    sound: tuple[int, ...] | None  # (T', D') of the sound; None: not used.
    dtype: np.dtype[Any]  # Of the opened features.


@dataclass(frozen=True)
class NpyFiles:
    """Published features of one video."""

    files: tuple[Path, ...]  # One for each crop, in order, or one with all crops.
    layout: PublishedLayout
    sound: Path | None = None  # File with the features of the sound; None: they are not used.
    dim: int | None = None  # Expected length of a visual feature; None: any.

    def open(self) -> Features:
        inspection = self.inspect()
        if inspection.faults:
            raise InputError(str(inspection.faults[0]))
        crops, snippets, dim = inspection.shape
        rows, sound_dim = (snippets, 0) if inspection.sound is None else inspection.sound
        spec = imported_spec(dim, self.layout.crops, sound_dim)
        read = partial(_read_crop, self.files, self.sound, rows, inspection.shape)
        n_frames = SNIPPET_FRAMES * rows
        time = Timebase(self.layout.fps, n_frames, SNIPPET_FRAMES, SNIPPET_FRAMES)
        array = CropArray((crops, rows, spec.dim), inspection.dtype, read, self._all_files)
        return Features(array, spec, time)

    @property
    def _all_files(self) -> list[Path]:
        return [*self.files, *([self.sound] if self.sound else [])]

    def digest(self) -> str:
        """Compute sha256 (hex) over the files' sizes and their first and last bytes.

        To hash all 33 GB of UCF-Crime would take minutes at every start, and these bytes already
        differ between any two videos.
        """
        return digest_of_ends(self._all_files)

    def inspect(self) -> NpyInspection:
        """Read and check the headers of all files, and none of their data."""
        faults: list[Fault] = []
        headers = {path: _header(path, faults) for path in self.files}
        known = {path: header for path, header in headers.items() if header is not None}
        shapes = {path: self._shape(path, header, faults) for path, header in known.items()}
        # The shape of most crops is taken for the right one.
        counts = Counter(shape for shape in shapes.values() if shape is not None)
        _, snippets, dim = max(counts, key=lambda s: counts[s], default=(0, 0, 0))
        shape = self.layout.crops, snippets, dim
        for path, other in shapes.items():
            if other is not None and other[2] != (self.dim or shape[2]):
                faults.append(Fault("dimension", path, _other_length(other[2], self.dim)))
            if other is not None and other[1] != shape[1]:
                faults.append(Fault("length", path, f"{other[1]} rows, other crops {shape[1]}"))
        half = bool(known) and all(header.dtype == np.float16 for header in known.values())
        dtype = np.dtype(np.float16 if half and self.sound is None else np.float32)
        sound = None if self.sound is None else _header(self.sound, faults)
        if self.sound is not None and sound is not None and counts:
            faults += _sound_faults(self.sound, sound, shape[1], self.layout.audio_dim)
        return NpyInspection(tuple(faults), shape, None if sound is None else sound.shape, dtype)

    def _shape(
        self, path: Path, header: NpyHeader, faults: list[Fault]
    ) -> tuple[int, int, int] | None:
        """Get (C, T, D) of a file; adds a fault and returns None if it has another shape."""
        crops, shape = self.layout.crops, header.shape
        if 0 in shape or len(shape) not in (2, 3):
            faults.append(Fault("shape", path, f"an array of {header}, not (T, D) or (T, C, D)"))
        elif len(self.files) > 1:
            if len(shape) == 2:
                return 1, shape[0], shape[1]
            faults.append(Fault("shape", path, f"an array of {header}; a crop is (T, D)"))
        elif len(shape) == 2:
            faults.append(Fault("crops", path, f"one crop ({header}), not {crops}"))
        elif crops in shape[:2]:
            return crops, shape[0 if shape[1] == crops else 1], shape[2]
        else:
            faults.append(Fault("crops", path, f"an array of {header}: {crops} crops are needed"))
        return None


@dataclass(frozen=True)
class UnusableFeatures:
    """A ``FeatureSource`` for features that cannot be used: its methods raise InputError."""

    reason: str

    def open(self) -> Features:
        raise InputError(self.reason)

    def digest(self) -> str:
        raise InputError(self.reason)


def _header(path: Path, faults: list[Fault]) -> NpyHeader | None:
    try:
        return read_npy_header(path)
    except InputError as error:
        message = str(error).removeprefix(f"{path}: ")
        faults.append(Fault("unreadable" if path.exists() else "missing", path, message))
        return None


def _other_length(dim: int, wanted: int | None) -> str:
    if wanted is None:
        return f"features of length {dim}, other crops have another length"
    return f"features of length {describe_published(dim)}, not {describe_published(wanted)}"


def _sound_faults(path: Path, sound: NpyHeader, rows: int, dim: int) -> list[Fault]:
    if len(sound.shape) != 2 or sound.shape[1] != dim:
        return [Fault("sound", path, f"features of the sound are (T, {dim}), this is {sound}")]
    if sound.shape[0] not in (rows, rows - 1):
        message = f"{sound.shape[0]} rows of sound, {rows} of the picture; as many or one fewer fit"
        return [Fault("sound", path, message)]
    return []


def _read_crop(
    files: tuple[Path, ...], sound: Path | None, rows: int, shape: tuple[int, int, int], crop: int
) -> CropFeatures:
    """Get the rows (T, D) of a crop; mapped, unless they have to be joined or converted."""
    if len(files) > 1:
        view = map_npy(files[crop])
    else:
        stack = map_npy(files[0])
        view = stack[:, crop] if stack.shape[1] == shape[0] else stack[crop]
    if view.shape != shape[1:]:
        raise InputError(f"{files[crop % len(files)]}: changed while it was used; start again")
    view = to_float(view[:rows])
    if sound is None:
        return view
    joined: NDArray[np.float32] = np.concatenate([view, map_npy(sound)], axis=1, dtype=np.float32)
    return joined


# Follow a video's name in the names of files with all crops, and of files of the sound.
_STACK_SUFFIXES = ("", "_i3d")
_SOUND_SUFFIXES = ("__vggish", "")


@dataclass(frozen=True)
class FeatureFolder:
    """A folder of published ``.npy`` files, at any depth: paths by file name.

    A name has several paths if it occurs in several folders.
    """

    root: Path
    files: Mapping[str, tuple[Path, ...]]

    @classmethod
    def scan(cls, root: Path) -> FeatureFolder:
        """List the ``.npy`` files in ``root`` and all folders below it."""
        if not is_dir(root):
            raise InputError(f"{root}: no such folder of features")
        found: dict[str, tuple[Path, ...]] = {}

        def fail(error: OSError) -> None:
            raise InputError(f"{error.filename}: cannot be listed ({error.strerror})") from None

        for folder, folders, files in os.walk(root, onerror=fail, followlinks=True):
            folders.sort()
            for file in sorted(files):
                if file.endswith(".npy"):
                    found[file] = (*found.get(file, ()), Path(folder, file))
        return cls(root, found)

    def find(
        self,
        name: str,
        layout: PublishedLayout,
        *,
        sound: FeatureFolder | None = None,
        dim: int | None = None,
    ) -> tuple[NpyFiles | None, list[Fault]]:
        """Find the files of a video's features by name, or faults; their contents are not read.

        ``sound``: folder with the features of the sound; ``dim``: expected length of a visual
        feature. If the folder has no file of the video, the only fault is of the kind ``absent``
        and its path is the video's name.
        """
        wanted = [f"{name}__{crop}.npy" for crop in range(layout.crops)]
        if not any(file in self.files for file in wanted):
            stacks = [f"{name}{suffix}.npy" for suffix in _STACK_SUFFIXES]
            stack = next((file for file in stacks if file in self.files), None)
            if stack is None:
                message = "no features of this video: neither of each crop nor of all in one file"
                return None, [Fault("absent", self.root / name, message)]
            wanted = [stack]
        faults: list[Fault] = []
        files = [self._find_one(file, faults) for file in wanted]
        sound_file = None
        if sound is not None:
            names = [f"{name}{suffix}.npy" for suffix in _SOUND_SUFFIXES]
            existing = next((file for file in names if file in sound.files), names[0])
            sound_file = sound._find_one(existing, faults)
        paths = tuple(path for path in files if path is not None)
        found = NpyFiles(paths, layout, sound_file, dim)
        if not faults:
            return found, []
        # A single file is not inspected: it may be one crop, and would be taken for all crops.
        return None, [*faults, *(found.inspect().faults if len(found.files) > 1 else ())]

    def count_unlisted(self, names: Iterable[str], layout: PublishedLayout) -> int:
        """Count the files that belong to none of the videos ``names``."""
        crops = [f"__{crop}" for crop in range(layout.crops)]
        suffixes = [*crops, *_STACK_SUFFIXES, *_SOUND_SUFFIXES]
        listed = {f"{name}{suffix}.npy" for name in names for suffix in suffixes}
        return sum(file not in listed for file in self.files)

    def _find_one(self, file: str, faults: list[Fault]) -> Path | None:
        paths = self.files.get(file, ())
        if not paths:
            faults.append(Fault("missing", self.root / file, "no such feature file"))
        elif len(paths) > 1:
            message = f"lies in {paths[1].parent} as well; leave one of them"
            faults.append(Fault("twice", paths[0], message))
        return paths[0] if len(paths) == 1 else None
