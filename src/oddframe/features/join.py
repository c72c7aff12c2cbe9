"""Features of one video side by side: of the picture and of its sound, or of several backbones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from oddframe.errors import InputError
from oddframe.features.spec import Features


@dataclass(frozen=True)
class Joined:
    """Features side by side, and what a reader should know about it, if anything."""

    features: Features
    note: str | None = None


def join(parts: Sequence[Features]) -> Joined:
    """Features of the same snippets, one backbone's after the other's, in one array (C, T, D).

    Features of sound have one crop and are repeated for every crop of the picture. Published sets
    have videos with one row of sound fewer than of picture: there the last row of the picture is
    dropped, as their authors do. Of no other difference is it known which rows belong together.

    Args:
        parts: At least one; those of the picture first.

    Raises:
        InputError: they are not of the same snippets, or not of the same crops.
    """
    first, note = parts[0], None
    if len(parts) == 1:
        return Joined(first)
    rows = [part.timebase.n_snippets for part in parts]
    if len(set(rows)) > 1:
        if set(rows[1:]) != {rows[0] - 1}:
            raise InputError(
                f"features of {rows[0]} snippets beside others of {rows[1:]}: only one row fewer "
                "of sound can be put right"
            )
        first = _without_last(first)
        note = "one row of sound fewer than of picture: the last row of the picture is dropped"
    how = first.spec.how
    for part in parts[1:]:
        if part.spec.has_picture and part.spec.how != how:
            raise InputError("features of pictures that were cut in two ways do not go together")
        same = (part.spec.snippet_frames, part.spec.stride, part.spec.rate)
        if same != (how.snippet_frames, how.stride, how.rate):
            raise InputError("features of snippets of other lengths or strides do not go together")
    crops = len(first.spec.crops)
    arrays = [first.array.astype(np.float32, copy=False)]
    for part in parts[1:]:
        array = part.array.astype(np.float32, copy=False)
        arrays.append(np.repeat(array, crops, axis=0) if len(array) < crops else array)
    spec = replace(
        first.spec,
        backbone="+".join(part.spec.backbone for part in parts),
        weights_sha256="+".join(part.spec.weights_sha256 for part in parts),
        dim=sum(part.spec.dim for part in parts),
    )
    return Joined(Features(np.concatenate(arrays, axis=2), spec, first.timebase), note)


def _without_last(features: Features) -> Features:
    """The same without its last snippet and the frames that only this one looks at."""
    time = features.timebase
    snippets = time.n_snippets - 1
    ticks = (snippets - 1) * time.stride + max(time.snippet_frames, time.stride)
    frames = int((time.frame_ticks < ticks).sum())
    pts = None if time.pts is None else time.pts[:frames]
    shorter = replace(time, n_frames=frames, pts=pts)
    return Features(features.array[:, :snippets], features.spec, shorter)
