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
    specs: Sequence[FeatureSpec], stem: str, format: FeatureFileFormat
) -> list[list[str]]:
    """The names of a video's files with the features of each spec.

    In the published layout (``npy``) each crop of the picture is a file, ``NAME__0.npy``, and the
    sound another, ``NAME__vggish.npy``. The backbone is part of the name if names would not differ
    without it.
    """
    if format == "safetensors":
        longer = [f"{stem}__{spec.backbone}" if len(specs) > 1 else stem for spec in specs]
        return [[f"{name}.safetensors"] for name in longer]
    alone = sum(spec.has_picture for spec in specs) < 2
    found = []
    for spec in specs:
        name = stem if alone and spec.has_picture else f"{stem}__{spec.backbone}"
        numbers = [f"__{crop}" for crop in range(len(spec.crops))] if spec.has_picture else [""]
        found.append([f"{name}{number}.npy" for number in numbers])
    return found


def write_feature_files(features: Features, names: Sequence[str], folder: Path) -> None:
    """Write features into files: one with all, or as published one ``.npy`` (T, D) a crop."""
    make_folder(folder)
    if names[0].endswith(".safetensors"):
        write_features(folder / names[0], features)
        return
    for name, crop in zip(names, features.array, strict=True):
        path = folder / name
        with atomic_write(path) as part, translate_os_errors(path), part.open("wb") as file:
            header = {**np.lib.format.header_data_from_array_1_0(crop), "fortran_order": False}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(crop), _ROWS):
                file.write(np.ascontiguousarray(crop[start : start + _ROWS]).data)


def all_readable(folder: Path, names: Sequence[str]) -> bool:
    """Whether all these files are in a folder."""
    return all(os.access(folder / name, os.R_OK) for name in names)


@dataclass(frozen=True)
class PreviousOutputs:
    """The files that earlier runs wrote under the name of a video.

    For each, the last line about it in the manifest; of files with a crop each, the first one.
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
    """Raise InputError if a file exists in ``out`` with other contents than ``write`` would write.

    The very same bytes are accepted: a run may have been killed before it recorded the file.
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

    Paths that are no feature files of the model's backbones are returned as they are.
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

    ``path`` alone if it has features of all backbones, or of none of the model's. InputError if
    there are none of one of the backbones.
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
        sound = given.preprocessing
        first = next((s for s in visual if s.preprocessing.without_picture() == sound), given)
    preprocessings = (first.preprocessing, first.preprocessing.without_picture())
    files = []
    for name, sha256 in zip(names, model_spec.weights_sha256.split("+"), strict=True):
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
