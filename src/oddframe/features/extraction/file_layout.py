"""Feature files named after their video, as published data sets have them: ``NAME__0.npy``.

Features of several backbones go into separate files: in the ``safetensors`` format
``NAME__i3d.safetensors`` and ``NAME__aisfx.safetensors``. ``sibling_files`` finds them all from one
of them, for models that read several. Files of another video are never replaced.
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
from oddframe.features.formats.feature_file import read_feature_header, write_features
from oddframe.features.spec import Features, FeatureSpec
from oddframe.features.store.manifest import ManifestEntry

FeatureFileFormat = Literal["npy", "safetensors"]
_ROWS = 4096  # Rows written at a time: features may lie on disk.
_STORED_NAME = re.compile(r"([0-9a-f]{64})-[0-9a-f]{16}")


def output_names(
    spec: FeatureSpec, stem: str, format: FeatureFileFormat, *, alone: bool
) -> list[str]:
    """Names of the files that ``write_feature_files`` writes.

    In the published layout (``npy``) each crop of the picture is a file, ``NAME__0.npy``, and the
    sound another, ``NAME__vggish.npy``. The backbone is part of the name unless ``alone``.
    """
    longer = stem if alone else f"{stem}__{spec.backbone}"
    if format == "safetensors":
        return [f"{longer}.safetensors"]
    if not spec.has_picture:
        return [f"{stem}__{spec.backbone}.npy"]
    return [f"{longer}__{crop}.npy" for crop in range(len(spec.crops))]


def can_omit_backbone(specs: Sequence[FeatureSpec], format: FeatureFileFormat) -> bool:
    """Whether names of files differ without the backbone in them."""
    if format == "safetensors":
        return len(specs) == 1
    return sum(spec.has_picture for spec in specs) < 2


def write_feature_files(
    features: Features, folder: Path, stem: str, format: FeatureFileFormat, *, alone: bool = True
) -> list[str]:
    """Write the features of a video under its name and return the names of the files.

    Args:
        features: (C, T, D), in memory or on disk.
        folder: Created if needed.
        stem: Name of the video.
        format: ``npy``: one (T, D) array a crop, as published.
        alone: Leave the backbone out of the name.

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
            header = {
                "descr": np.lib.format.dtype_to_descr(crop.dtype),
                "fortran_order": False,
                "shape": crop.shape,
            }
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(crop), _ROWS):
                file.write(np.ascontiguousarray(crop[start : start + _ROWS]).data)
    return names


def all_readable(folder: Path, names: Sequence[str]) -> bool:
    """Whether all these files are in a folder."""
    return all(os.access(folder / name, os.R_OK) for name in names)


@dataclass(frozen=True)
class PreviousOutputs:
    """The files that earlier runs wrote under the name of a video.

    Attributes:
        entries: For each such file, the last line about it in the manifest of the folder; of files
            with a crop each, the first one.
    """

    entries: tuple[ManifestEntry, ...] = ()

    def matches(self, file: str, sha256: str, spec: str) -> bool:
        """Whether ``file`` has the features of this content, with the spec of this hash."""
        return any((e.file, e.sha256, e.spec) == (file, sha256, spec) for e in self.entries)

    def wrote(self, file: str) -> bool:
        """Whether an earlier run wrote ``file``."""
        return any(e.file == file for e in self.entries)

    def owner(self, file: str, sha256: str) -> str | None:
        """The other video whose features ``file`` has; None: this content's, or unknown."""
        others = (e.video for e in self.entries if e.file == file and e.sha256 != sha256)
        return next(others, None)


NO_OUTPUTS = PreviousOutputs()


def previous_outputs(
    entries: Iterable[ManifestEntry], stems: Sequence[str]
) -> dict[str, PreviousOutputs]:
    """What the manifest of an output folder says about each of these names."""
    latest = {entry.file: entry for entry in entries if entry.file}
    found: dict[str, list[ManifestEntry]] = {stem: [] for stem in stems}
    for file, entry in latest.items():
        stem = Path(file).stem
        while stem not in found and "__" in stem:
            stem = stem.rpartition("__")[0]
        if stem in found:
            found[stem].append(entry)
    return {stem: PreviousOutputs(tuple(lines)) for stem, lines in found.items()}


def name_taken_error(video: str, file: str, folder: str, owner: str) -> InputError:
    """The error for a video whose file name is in use by the video ``owner``."""
    what = f"an earlier {owner}" if owner == video else f"another video, {owner}"
    return InputError(
        f"{folder}: {file} belongs to {what}: choose another --out, or remove that file"
    )


def unknown_file_error(file: str, folder: str) -> InputError:
    """The error for a file that exists and is not in the manifest."""
    return InputError(
        f"{folder}: {file} exists and has other contents: choose another --out, or remove that file"
    )


def refuse_unknown_files(out: Path, names: Sequence[str], write: Callable[[Path], object]) -> None:
    """Refuse to replace files of unknown origin.

    A file with the very bytes that ``write`` would write is accepted: a run may have been killed
    before it recorded the file.

    Args:
        out: The output folder.
        names: Files to be written into it.
        write: Writes them into a given folder.

    Raises:
        InputError: one of the files exists in ``out`` with other contents.
    """
    if not any((out / name).exists() for name in names):
        return
    with scratch_folder() as folder:
        write(folder)
        for name in names:
            if (out / name).exists() and not cmp(out / name, folder / name, shallow=False):
                raise unknown_file_error(name, str(out))


def common_path(path: Path, model_spec: FeatureSpec) -> Path:
    """A path that is the same for the feature files of one video, whatever their backbone.

    Args:
        path: A feature file; any other path is returned as it is.
        model_spec: The features that a model reads.
    """
    names = model_spec.backbone.split("+")
    if path.suffix != ".safetensors" or len(names) == 1:
        return path
    spec = _read_spec(path)
    if spec is None or spec.backbone not in names:
        return path
    stored = _STORED_NAME.fullmatch(path.stem)
    name = stored[1] if stored else path.stem.removesuffix(f"__{spec.backbone}")
    return path.with_name(name)


def sibling_files(path: Path, model_spec: FeatureSpec) -> tuple[Path, ...]:
    """The files to join into the features that a model reads, in the order of its backbones.

    Args:
        path: One of the files.
        model_spec: The features that the model reads.

    Returns:
        ``path`` alone if it has features of all backbones, or of none of the model's.

    Raises:
        InputError: no file with features of one of the backbones belongs to ``path``.
    """
    names, given = model_spec.backbone.split("+"), _read_spec(path)
    common = common_path(path, model_spec)
    if common == path or given is None:
        return (path,)
    candidates = {
        file: _read_spec(file)
        for file in sorted(path.parent.glob("*.safetensors"))
        if common_path(file, model_spec) == common
    }
    specs = {file: spec for file, spec in candidates.items() if spec is not None} | {path: given}
    # Audio features do not tell which visual ones they belong to: prefer those that the model was
    # trained on.
    ranked = sorted(specs, key=lambda file: len(model_spec.differences(specs[file], sampling=True)))
    first = given
    if model_spec.has_picture and not given.has_picture:
        visual = (specs[file] for file in ranked if specs[file].has_picture)
        first = next(
            (
                spec
                for spec in visual
                if spec.preprocessing.without_picture() == given.preprocessing
            ),
            given,
        )
    preprocessings = (first.preprocessing, first.preprocessing.without_picture())
    weights = model_spec.weights_sha256.split("+")
    files = []
    for name, sha256 in zip(names, weights, strict=True):
        fitting = (
            file
            for file in ranked
            if specs[file].backbone == name
            and specs[file].preprocessing in preprocessings
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


def _read_spec(file: Path) -> FeatureSpec | None:
    """The spec of a feature file; None: there is none, or it is damaged."""
    try:
        return read_feature_header(file).spec
    except InputError:
        return None
