"""Features that others made and published as ``.npy`` files: what they are and how they lie.

A video is one file a crop, ``NAME__0.npy`` (T, D), or one file with all of them, (T, C, D) or
(C, T, D). Features of the sound, (T', 128), lie in a file of their own and go beside those of every
crop, as the loader of XD-Violence's authors does it: T' is T, or T - 1, and then the last row of
the picture is dropped. Such a file does not show the weights or the preprocessing, so the
spec says that it was imported, and a model takes imported features or its own, never both.

A folder of published feature files, searched once: files by name, wherever in it they lie.
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
    """Where the features of one video lie; may be asked again and again, and reads no data."""

    def open(self) -> Features:
        """The features, read where they are looked at.

        Raises:
            InputError: a file is missing or wrong.
        """
        ...

    def digest(self) -> str:
        """sha256 (hex) that tells these features from others.

        Raises:
            InputError: a file cannot be read.
        """
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
    """What is wrong with a feature file."""

    kind: FaultKind
    path: Path
    about: str

    def __str__(self) -> str:
        return f"{self.path}: {self.about}"


@dataclass(frozen=True)
class NpyInspection:
    """What the headers of a video's files say.

    Attributes:
        faults: All that is wrong; only if there is nothing the rest holds.
        shape: (C, T, D) of the picture.
        sound: (T', D') of the sound; None: it is left out.
        dtype: What the features are handed out in.
    """

    faults: tuple[Fault, ...]
    shape: tuple[int, int, int]
    sound: tuple[int, ...] | None
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class NpyFiles:
    """Features of one video as they were published.

    Attributes:
        files: One a crop, in order, or one that holds all crops.
        layout: Of the data set.
        sound: Features of its sound; None: they are left out.
        dim: The length that is asked for; None: any.
    """

    files: tuple[Path, ...]
    layout: PublishedLayout
    sound: Path | None = None
    dim: int | None = None

    def open(self) -> Features:
        """The features, read where they are looked at.

        Raises:
            InputError: a file is missing or wrong.
        """
        seen = self.inspect()
        if seen.faults:
            raise InputError(str(seen.faults[0]))
        crops, snippets, dim = seen.shape
        rows, sound_dim = (snippets, 0) if seen.sound is None else seen.sound
        spec = imported_spec(dim, self.layout.crops, sound_dim)
        read = partial(_rows, self.files, self.sound, rows, seen.shape)
        n_frames = SNIPPET_FRAMES * rows
        time = Timebase(self.layout.fps, n_frames, SNIPPET_FRAMES, SNIPPET_FRAMES)
        files = (*self.files, *([self.sound] if self.sound else []))
        array = CropArray((crops, rows, spec.dim), seen.dtype, read, files)
        return Features(array, spec, time)

    def digest(self) -> str:
        """sha256 (hex) over the files' sizes and their first and last bytes.

        All of 33 GB would take minutes at every start, and no two videos agree in these.

        Raises:
            InputError: a file cannot be read.
        """
        return digest_of_ends([*self.files, *([self.sound] if self.sound else [])])

    def inspect(self) -> NpyInspection:
        """Read the headers of all files, and nothing else of them."""
        faults: list[Fault] = []
        headers = {path: _header(path, faults) for path in self.files}
        known = {path: header for path, header in headers.items() if header is not None}
        shapes = {path: self._shape(path, header, faults) for path, header in known.items()}
        # What most crops have is right, and what differs from it wrong.
        whole = Counter(shape for shape in shapes.values() if shape is not None)
        _, snippets, dim = max(whole, key=lambda s: whole[s], default=(0, 0, 0))
        shape = self.layout.crops, snippets, dim
        for path, other in shapes.items():
            if other is not None and other[2] != (self.dim or shape[2]):
                faults.append(Fault("dimension", path, _other_length(other[2], self.dim)))
            if other is not None and other[1] != shape[1]:
                faults.append(Fault("length", path, f"{other[1]} rows, other crops {shape[1]}"))
        half = bool(known) and all(header.dtype == np.float16 for header in known.values())
        dtype = np.dtype(np.float16 if half and self.sound is None else np.float32)
        sound = None if self.sound is None else _header(self.sound, faults)
        if self.sound is not None and sound is not None and whole:
            faults += _sound_faults(self.sound, sound, shape[1], self.layout.audio_dim)
        return NpyInspection(tuple(faults), shape, None if sound is None else sound.shape, dtype)

    def _shape(
        self, path: Path, header: NpyHeader, faults: list[Fault]
    ) -> tuple[int, int, int] | None:
        """(C, T, D) of what a file holds; None, and a fault, if it is nothing of the kind."""
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
    """Takes the place of features that cannot be used; ``open`` raises the reason."""

    reason: str

    def open(self) -> Features:
        """Nothing.

        Raises:
            InputError: always, with the reason.
        """
        raise InputError(self.reason)

    def digest(self) -> str:
        """Nothing.

        Raises:
            InputError: always, with the reason.
        """
        raise InputError(self.reason)


def _header(path: Path, faults: list[Fault]) -> NpyHeader | None:
    try:
        return read_npy_header(path)
    except InputError as error:
        about = str(error).removeprefix(f"{path}: ")
        faults.append(Fault("unreadable" if path.exists() else "missing", path, about))
        return None


def _other_length(dim: int, wanted: int | None) -> str:
    if wanted is None:
        return f"features of length {dim}, other crops are of another"
    names = [
        f"{d} ({describe_published(d)})" if describe_published(d) else str(d) for d in (dim, wanted)
    ]
    return f"features of length {names[0]}, not {names[1]}"


def _sound_faults(path: Path, sound: NpyHeader, rows: int, dim: int) -> list[Fault]:
    if len(sound.shape) != 2 or sound.shape[1] != dim:
        about = f"features of the sound are (T, {dim}), this is {sound}"
        return [Fault("sound", path, about)]
    if sound.shape[0] not in (rows, rows - 1):
        about = f"{sound.shape[0]} rows of sound, {rows} of the picture; as many or one fewer fit"
        return [Fault("sound", path, about)]
    return []


def _rows(
    files: tuple[Path, ...], sound: Path | None, rows: int, shape: tuple[int, int, int], crop: int
) -> CropFeatures:
    """(T, D) of a crop; mapped, but for what must be joined or converted."""
    if len(files) > 1:
        view = map_npy(files[crop])
    else:
        stack = map_npy(files[0])
        view = stack[:, crop] if stack.shape[1] == shape[0] else stack[crop]
    if view.shape != shape[1:]:
        raise InputError(f"{files[crop % len(files)]}: has changed while it was used; start again")
    view = to_float(view[:rows])
    if sound is None:
        return view
    joined: NDArray[np.float32] = np.concatenate([view, map_npy(sound)], axis=1, dtype=np.float32)
    return joined


# What stands behind a video's name in published files of all its crops, and of its sound.
_STACK_SUFFIXES = ("", "_i3d")
_SOUND_SUFFIXES = ("__vggish", "")


@dataclass(frozen=True)
class FeatureFolder:
    """A folder of ``.npy`` files.

    Attributes:
        root: The folder.
        files: Paths by file name; two where two folders below have a file of that name.
    """

    root: Path
    files: Mapping[str, tuple[Path, ...]]

    @classmethod
    def scan(cls, root: Path) -> FeatureFolder:
        """Look through ``root`` and all folders below it.

        Raises:
            InputError: there is no such folder, or it cannot be listed.
        """
        if not is_dir(root):
            raise InputError(f"{root}: no such folder of features")
        found: dict[str, tuple[Path, ...]] = {}

        def broken(error: OSError) -> None:
            raise InputError(f"{error.filename}: cannot be listed ({error.strerror})") from None

        for folder, folders, files in os.walk(root, onerror=broken, followlinks=True):
            folders.sort()
            for file in sorted(files):
                if file.endswith(".npy"):
                    found[file] = (*found.get(file, ()), Path(folder, file))
        return cls(root, found)

    def of(
        self,
        name: str,
        layout: PublishedLayout,
        *,
        sound: FeatureFolder | None = None,
        dim: int | None = None,
    ) -> tuple[NpyFiles | None, list[Fault]]:
        """The files of a video's features, and what is not as it should be among their names.

        Where a crop or the sound is missing or lies in two folders there are no features, but
        faults; where nothing of the video lies here, one fault, of its name without an ending.

        Args:
            name: As the lists of the data set have it.
            layout: Of the data set.
            sound: Where features of the sound lie; None: they are not wanted.
            dim: The length that is asked for; None: any.
        """
        wanted = [f"{name}__{crop}.npy" for crop in range(layout.crops)]
        stacks = [f"{name}{ending}.npy" for ending in _STACK_SUFFIXES]
        if not any(file in self.files for file in wanted):
            stack = next((file for file in stacks if file in self.files), None)
            if stack is None:
                about = "no features of this video: neither of each crop nor of all in one file"
                return None, [Fault("absent", self.root / name, about)]
            wanted = [stack]
        faults: list[Fault] = []
        files = [self._one(file, faults) for file in wanted]
        heard = None
        if sound is not None:
            ending = next(
                (e for e in _SOUND_SUFFIXES if f"{name}{e}.npy" in sound.files), _SOUND_SUFFIXES[0]
            )
            heard = sound._one(f"{name}{ending}.npy", faults)
        there = NpyFiles(tuple(path for path in files if path is not None), layout, heard, dim)
        if not faults:
            return there, []
        # One crop of ten must not pass for a file of all crops.
        return None, [*faults, *(there.inspect().faults if len(there.files) > 1 else ())]

    def unlisted(self, names: Iterable[str], layout: PublishedLayout) -> int:
        """How many of these files are none of the videos ``names``: of no crop, all, or sound."""
        endings = [f"__{crop}" for crop in range(layout.crops)] + [
            *_STACK_SUFFIXES,
            *_SOUND_SUFFIXES,
        ]
        listed = {f"{name}{ending}.npy" for name in names for ending in endings}
        return sum(file not in listed for file in self.files)

    def _one(self, file: str, faults: list[Fault]) -> Path | None:
        paths = self.files.get(file, ())
        if not paths:
            faults.append(Fault("missing", self.root / file, "no such feature file"))
        elif len(paths) > 1:
            also = f"lies in {paths[1].parent} as well; leave one of them"
            faults.append(Fault("twice", paths[0], also))
        return paths[0] if len(paths) == 1 else None
