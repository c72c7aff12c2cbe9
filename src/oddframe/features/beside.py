"""Feature files of one video that lie side by side, one a backbone, for models that read several.

``oddframe extract`` keeps each backbone's features apart: in a store under the content of the
video, in a folder of files by name as ``NAME__i3d.safetensors`` and ``NAME__aisfx.safetensors``.
Naming one of them names the video.
"""

from __future__ import annotations

import re
from pathlib import Path

from oddframe.errors import InputError
from oddframe.features.header import read_stored_header
from oddframe.features.spec import FeatureSpec

_STORED = re.compile(r"([0-9a-f]{64})-[0-9a-f]{16}")


def video_of(path: Path, wanted: FeatureSpec) -> Path:
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


def files_beside(path: Path, wanted: FeatureSpec) -> tuple[Path, ...]:
    """The files that features as ``wanted`` are joined from, in the order of its backbones.

    One file where it holds all of them, or none that are wanted.

    Raises:
        InputError: features of a backbone are not there.
    """
    names, video, given = wanted.backbone.split("+"), video_of(path, wanted), _spec(path)
    if video == path or given is None:
        return (path,)
    there = {
        file: _spec(file)
        for file in sorted(path.parent.glob("*.safetensors"))
        if video_of(file, wanted) == video
    }
    specs = {file: spec for file, spec in there.items() if spec is not None} | {path: given}
    # Sound says nothing of the picture that it goes with: of several, what the model is used to.
    likest = sorted(specs, key=lambda file: len(wanted.differences(specs[file], sampling=True)))
    first = given
    if wanted.has_picture and not given.has_picture:
        pictures = (specs[file] for file in likest if specs[file].has_picture)
        first = next((p for p in pictures if p.how.without_picture() == given.how), given)
    cuts = (first.how, first.how.without_picture())
    weights = wanted.weights_sha256.split("+")
    files = []
    for name, sha256 in zip(names, weights, strict=True):
        fitting = (
            file
            for file in likest
            if specs[file].backbone == name
            and specs[file].how in cuts
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
        return read_stored_header(file).spec
    except InputError:  # Damaged: as if it were not there.
        return None
