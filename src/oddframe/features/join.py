"""Features of one video side by side: of the picture and of its sound, or of several backbones.

Which numbers of a feature are of the sound, by the names of the backbones that made them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from oddframe.backbones.registry import known_backbones
from oddframe.errors import InputError
from oddframe.features.spec import IMPORTED, Features


def join_features(parts: Sequence[Features]) -> Features:
    """Features of the same snippets, one backbone's after the other's, in one array (C, T, D).

    Features of sound have one crop, which is repeated for every crop of the picture.

    Args:
        parts: At least one; those of the picture first.

    Raises:
        InputError: they are not of the same snippets, or not of the same crops.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    crops = len(first.spec.crops)
    arrays = []
    for part in parts:
        if part.spec.has_picture and part.spec.preprocessing != first.spec.preprocessing:
            raise InputError("features of pictures that were cut in two ways do not go together")
        if part.spec.has_picture and part.spec.mask != first.spec.mask:
            raise InputError("features of pictures with two masks do not go together")
        if part.timebase != first.timebase:
            raise InputError(
                f"features of {part.timebase.n_snippets} snippets do not go together with those of "
                f"{first.timebase.n_snippets} others"
            )
        array = np.asarray(part.array, dtype=np.float32)
        arrays.append(np.repeat(array, crops, axis=0) if len(array) < crops else array)
    spec = replace(
        first.spec,
        backbone="+".join(part.spec.backbone for part in parts),
        weights_sha256="+".join(part.spec.weights_sha256 for part in parts),
        dim=sum(part.spec.dim for part in parts),
    )
    return Features(np.concatenate(arrays, axis=2), spec, first.timebase)


def count_audio_dims(backbones: str) -> int:
    """How many numbers at the end of a feature are of the sound; 0: none.

    Args:
        backbones: As in a ``FeatureSpec``: ``i3d+aisfx``, ``imported:i3d+vggish``. Published
            features of unknown sound are ``imported:i3d+dim64``.
    """
    listening = {kind.name: kind.dim for kind in known_backbones() if kind.is_audio}
    names = backbones.removeprefix(IMPORTED).split("+")
    found = sum(listening.get(name, 0) for name in names)
    unknown = names[-1].removeprefix("dim")
    if not found and len(names) > 1 and backbones.startswith(IMPORTED) and unknown.isdecimal():
        return int(unknown)
    return found
