"""Feature files by the name of their video, as they are published: ``NAME__0.npy`` and so on.

Feature files of one video that lie side by side, one a backbone, for models that read several.

``oddframe extract`` keeps each backbone's features apart: in a store under the content of the
video, in a folder of files by name as ``NAME__i3d.safetensors`` and ``NAME__aisfx.safetensors``.
Naming one of them names the video.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from filecmp import cmp
from pathlib import Path
from typing import Literal

import numpy as np

from oddframe._utils.files import atomic_write, make_folder, scratch_folder, translate_os_errors
from oddframe.errors import InputError
from oddframe.features.formats.feature_file import read_feature_header
from oddframe.features.spec import Features, FeatureSpec
from oddframe.features.store.manifest import ManifestEntry
from oddframe.features.store.store import write_features

FeatureFileFormat = Literal["npy", "safetensors"]
_ROWS = 4096


@dataclass(frozen=True)
class PreviousOutputs:
    """What earlier runs wrote under the name of a video.

    Attributes:
        entries: The last line of their manifest about each first file of a video.
    """

    entries: tuple[ManifestEntry, ...] = ()

    def is_of(self, file: str, sha256: str, spec: str) -> bool:
        """Whether ``file`` was made of this content, with the spec of this hash."""
        return any((e.file, e.sha256, e.spec) == (file, sha256, spec) for e in self.entries)

    def knows(self, file: str) -> bool:
        """Whether any of them wrote ``file``."""
        return any(e.file == file for e in self.entries)

    def owner(self, file: str, sha256: str) -> str | None:
        """The other video that ``file`` was made of; None: it was of this content, or of none."""
        others = (e.video for e in self.entries if e.file == file and e.sha256 != sha256)
        return next(others, None)


NO_OUTPUTS = PreviousOutputs()


def previous_outputs(
    entries: Iterable[ManifestEntry], stems: Sequence[str]
) -> dict[str, PreviousOutputs]:
    """What the manifest of a folder of files by name says of each of these names."""
    latest = {entry.file: entry for entry in entries if entry.file}
    found: dict[str, list[ManifestEntry]] = {stem: [] for stem in stems}
    for file, entry in latest.items():
        stem = Path(file).stem
        while stem not in found and "__" in stem:
            stem = stem.rpartition("__")[0]
        if stem in found:
            found[stem].append(entry)
    return {stem: PreviousOutputs(tuple(each)) for stem, each in found.items()}


def name_taken_error(video: str, file: str, folder: str, owner: str) -> InputError:
    """Why a video gets no files by its name: those of the video ``owner`` are there."""
    what = f"an earlier {owner}" if owner == video else f"another video, {owner}"
    return InputError(
        f"{folder}: {file} there was made of {what}: choose another --out, or remove that file"
    )


def unknown_file_error(file: str, folder: str) -> InputError:
    """The error for a file of that name that is not in the manifest."""
    return InputError(
        f"{folder}: {file} is there and was made of something else: choose another --out, or "
        "remove that file"
    )


def refuse_unknown_files(out: Path, names: Sequence[str], write: Callable[[Path], object]) -> None:
    """Refuse to replace files of unknown origin; those that are there as ``write`` writes them may.

    Raises:
        InputError: one of ``names`` is in ``out`` and is another.
    """
    if not any((out / name).exists() for name in names):
        return
    with scratch_folder() as folder:
        write(folder)
        for name in names:
            if (out / name).exists() and not cmp(out / name, folder / name, shallow=False):
                raise unknown_file_error(name, str(out))


def can_omit_backbone(specs: Sequence[FeatureSpec], format: FeatureFileFormat) -> bool:
    """Whether files by name need not say which backbone they are of."""
    if format == "safetensors":
        return len(specs) == 1
    return sum(spec.has_picture for spec in specs) < 2


def output_names(
    spec: FeatureSpec, stem: str, format: FeatureFileFormat, *, alone: bool
) -> list[str]:
    """Names of the files that ``write_feature_files`` writes.

    In the published layout the picture is one file a crop, ``NAME__0.npy``, and the sound another,
    ``NAME__vggish.npy``. Several backbones that look are told apart by their names.
    """
    longer = stem if alone else f"{stem}__{spec.backbone}"
    if format == "safetensors":
        return [f"{longer}.safetensors"]
    if not spec.has_picture:
        return [f"{stem}__{spec.backbone}.npy"]
    return [f"{longer}__{crop}.npy" for crop in range(len(spec.crops))]


def write_feature_files(
    features: Features, folder: Path, stem: str, format: FeatureFileFormat, *, alone: bool = True
) -> list[str]:
    """Write a video's features under its name, and give the files' names.

    Args:
        features: (C, T, D), also those that lie on disk.
        folder: Is made if need be.
        stem: Name of the video.
        format: ``npy``: (T, D) a crop, as published.
        alone: Whether no other backbone's picture features go under the same name.

    Raises:
        OddframeError: a file cannot be written.
    """
    names = output_names(features.spec, stem, format, alone=alone)
    make_folder(folder)
    if format == "safetensors":
        write_features(folder / names[0], features)
        return names
    for name, crop in zip(names, features.array, strict=True):
        path = folder / name
        with atomic_write(path) as part, translate_os_errors(path), part.open("wb") as file:
            about = {
                "descr": np.lib.format.dtype_to_descr(crop.dtype),
                "fortran_order": False,
                "shape": crop.shape,
            }
            np.lib.format.write_array_header_1_0(file, about)
            for start in range(0, len(crop), _ROWS):
                file.write(np.ascontiguousarray(crop[start : start + _ROWS]).data)
    return names


def all_readable(folder: Path, names: list[str]) -> bool:
    """Whether all these files are in a folder."""
    return all(os.access(folder / name, os.R_OK) for name in names)


_STORED = re.compile(r"([0-9a-f]{64})-[0-9a-f]{16}")


def common_path(path: Path, wanted: FeatureSpec) -> Path:
    """What the files of all backbones of ``wanted`` have in common; else the file itself.

    Args:
        path: A feature file, if it is one.
        wanted: What a model reads.
    """
    names = wanted.backbone.split("+")
    if path.suffix != ".safetensors" or len(names) == 1:
        return path
    spec = _spec(path)
    if spec is None or spec.backbone not in names:
        return path
    stored = _STORED.fullmatch(path.stem)
    name = stored[1] if stored else path.stem.removesuffix(f"__{spec.backbone}")
    return path.with_name(name)


def sibling_files(path: Path, wanted: FeatureSpec) -> tuple[Path, ...]:
    """The files that features as ``wanted`` are joined from, in the order of its backbones.

    One file where it holds all of them, or none that are wanted.

    Raises:
        InputError: features of a backbone are not there.
    """
    names, video, given = wanted.backbone.split("+"), common_path(path, wanted), _spec(path)
    if video == path or given is None:
        return (path,)
    there = {
        file: _spec(file)
        for file in sorted(path.parent.glob("*.safetensors"))
        if common_path(file, wanted) == video
    }
    specs = {file: spec for file, spec in there.items() if spec is not None} | {path: given}
    # Sound says nothing of the picture that it goes with: of several, what the model is used to.
    likest = sorted(specs, key=lambda file: len(wanted.differences(specs[file], sampling=True)))
    first = given
    if wanted.has_picture and not given.has_picture:
        pictures = (specs[file] for file in likest if specs[file].has_picture)
        first = next(
            (p for p in pictures if p.preprocessing.without_picture() == given.preprocessing), given
        )
    cuts = (first.preprocessing, first.preprocessing.without_picture())
    weights = wanted.weights_sha256.split("+")
    files = []
    for name, sha256 in zip(names, weights, strict=True):
        fitting = (
            file
            for file in likest
            if specs[file].backbone == name
            and specs[file].preprocessing in cuts
            and specs[file].weights_sha256 == sha256
            and specs[file].mask == (first.mask if specs[file].has_picture else "")
        )
        found = path if name == given.backbone else next(fitting, None)
        if found is None:
            raise InputError(
                f"{path}: features of {given.backbone} alone, and beside them are none of {name} "
                "that go with them; make them with oddframe extract --model"
            )
        files.append(found)
    return tuple(files)


def _spec(file: Path) -> FeatureSpec | None:
    try:
        return read_feature_header(file).spec
    except InputError:  # Damaged: as if it were not there.
        return None
