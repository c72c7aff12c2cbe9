"""How features of the same videos differ that were made by two people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oddframe.errors import InputError
from oddframe.features.collection import Collection
from oddframe.features.lazy import AnyFeatures

Numbers = NDArray[np.float64]

_ROWS = 4096


@dataclass(frozen=True)
class Difference:
    """How two features of one video differ.

    Attributes:
        name: Of the video.
        crops: That were compared.
        rows: That were compared, a crop.
        cosine: Mean over all rows of the cosine between the two.
        least_cosine: Of the row that differs most.
        largest: Largest difference between two numbers.
        note: What could not be compared; "": everything was.
    """

    name: str
    crops: int
    rows: int
    cosine: float
    least_cosine: float
    largest: float
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """Which videos two collections share.

    Attributes:
        common: Names of those that both have.
        only_a: Of those that the second lacks.
        only_b: Of those that the first lacks.
        by_content: Whether they were told by what is in them, not by name.
    """

    common: tuple[str, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    by_content: bool


def shared(a: Collection, b: Collection) -> Comparison:
    """Which videos both have: by content where both know it, else by name."""
    by_content = bool(a.by_content.keys() & b.by_content.keys())
    ours, theirs = (a.by_content, b.by_content) if by_content else (a.by_name, b.by_name)
    return Comparison(
        tuple(sorted(ours.keys() & theirs.keys())),
        tuple(sorted(ours.keys() - theirs.keys())),
        tuple(sorted(theirs.keys() - ours.keys())),
        by_content,
    )


def is_comparable(a: Collection, b: Collection, found: Comparison) -> bool:
    """Whether there is a video that both have, and the first such one has features of one length.

    Raises:
        InputError: they cannot be read.
    """
    ours, theirs = (c.by_content if found.by_content else c.by_name for c in (a, b))
    return any(ours[key]().shape[2] == theirs[key]().shape[2] for key in found.common[:1])


def differences(
    a: Collection, b: Collection, found: Comparison
) -> Iterator[Difference | InputError]:
    """How they differ, video by video; of one that cannot be compared, why."""
    ours, theirs = (c.by_content if found.by_content else c.by_name for c in (a, b))
    names = {}
    if found.by_content:
        names = {id(reader): name for name, reader in a.by_name.items()}
    for key in found.common:
        try:
            yield difference(names.get(id(ours[key]), key), ours[key](), theirs[key]())
        except InputError as error:
            yield error


def difference(name: str, a: AnyFeatures, b: AnyFeatures) -> Difference:
    """How two features (C, T, D) differ; where one has more rows or crops, the rest is left out.

    Raises:
        InputError: they are of different length D.
    """
    if a.shape[2] != b.shape[2]:
        raise InputError(f"{name}: features of length {a.shape[2]} and of {b.shape[2]}")
    crops, rows = min(a.shape[0], b.shape[0]), min(a.shape[1], b.shape[1])
    notes = [
        f"{ours} and {theirs} {what}"
        for ours, theirs, what in zip(a.shape, b.shape, ("crops", "rows"), strict=False)
        if ours != theirs
    ]
    total, least, largest = 0.0, 1.0, 0.0
    for number in range(crops):
        ours, theirs = a[number], b[number]
        for start in range(0, rows, _ROWS):
            x, y = (
                np.asarray(v[start : min(rows, start + _ROWS)], np.float64) for v in (ours, theirs)
            )
            cosines = _cosines(x, y)
            total += float(cosines.sum())
            least = min(least, float(cosines.min()))
            largest = max(largest, float(np.abs(x - y).max()))
    cosine = total / (crops * rows)
    return Difference(name, crops, rows, cosine, least, largest, ", ".join(notes))


def _cosines(x: Numbers, y: Numbers) -> Numbers:
    """(T,) cosines of the rows of (T, D); 1 between two rows of zeros."""
    scale = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    same = (x == y).all(axis=1)
    apart: Numbers = (x * y).sum(axis=1) / np.where(scale > 0, scale, 1.0)
    return np.where(same, 1.0, apart)
