"""Join the features of several backbones; find which numbers of a feature describe the sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from oddframe.backbones.registry import known_backbones
from oddframe.errors import InputError
from oddframe.features.spec import IMPORTED, Features


def join_features(parts: Sequence[Features]) -> Features:
    """Concatenate features of the same snippets along D, to one array (C, T, D) float32.

    Features of the sound have one crop, which is repeated for every crop of the picture.

    Args:
        parts: Features of one backbone each, at least one; visual features first.

    Raises:
        InputError: the snippets, crops or masks differ.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    crops = len(first.spec.crops)
    arrays = []
    for part in parts:
        if part.spec.has_picture and part.spec.preprocessing != first.spec.preprocessing:
            raise InputError("features with different preprocessing cannot be joined")
        if part.spec.has_picture and part.spec.mask != first.spec.mask:
            raise InputError("features with different masks cannot be joined")
        if part.timebase != first.timebase:
            raise InputError(
                f"features of {first.timebase.n_snippets} snippets cannot be joined with features "
                f"of {part.timebase.n_snippets} other snippets"
            )
        array = np.asarray(part.array, dtype=np.float32)
        arrays.append(np.repeat(array, crops, axis=0) if len(array) < crops else array)
    spec = replace(
        first.spec,
        backbone="+".join(part.spec.backbone for part in parts),
        weights_sha256="+".join(part.spec.weights_sha256 for part in parts),
        dim=sum(part.spec.dim for part in parts),
    )
    return Features(np.concatenate(arrays, axis=2), spec, first.timebase, first.boxes)


def count_audio_dims(backbones: str) -> int:
    """Count the numbers at the end of a feature that describe the sound.

    Args:
        backbones: As in a ``FeatureSpec``: ``i3d+aisfx``, ``imported:i3d+vggish``. Published
            features of the sound by an unknown backbone are ``imported:i3d+dim64``.
    """
    audio_dims = {spec.name: spec.dim for spec in known_backbones() if spec.is_audio}
    names = backbones.removeprefix(IMPORTED).split("+")
    count = sum(audio_dims.get(name, 0) for name in names)
    unknown = names[-1].removeprefix("dim")
    if not count and len(names) > 1 and backbones.startswith(IMPORTED) and unknown.isdecimal():
        return int(unknown)
    return count
