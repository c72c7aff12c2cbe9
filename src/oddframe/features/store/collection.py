"""Features of many videos, wherever they come from: a store, or a folder of files by name.

How features of the same videos differ that were made by two people.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oddframe._utils.files import is_dir
from oddframe.errors import InputError, UsageError
from oddframe.features.formats.arrays import crops_first
from oddframe.features.formats.npy import map_npy, to_float
from oddframe.features.lazy_array import AnyFeatures, CropArray, CropFeatures
from oddframe.features.store.imports import StoredFeatures
from oddframe.features.store.index import SpecSummary, is_store, open_index
from oddframe.features.store.manifest import read_video_names

# Gives (C, T, D), read where it is looked at.
Reader = Callable[[], AnyFeatures]
# Names of files, all different, for the paths of videos.
Naming = Callable[[Sequence[Path]], Sequence[str]]

_CROP = re.compile(r"(.+)__(\d+)")


@dataclass(frozen=True)
class Collection:
    """Features of many videos.

    Attributes:
        root: Where they lie.
        by_name: Readers by the name of the video.
        by_content: Readers by the sha256 of the video, where that is known.
    """

    root: Path
    by_name: Mapping[str, Reader]
    by_content: Mapping[str, Reader] = field(default_factory=dict)


def open_collection(root: Path, spec: str | None, naming: Naming) -> Collection:
    """What lies at ``root``: a store, or a folder of feature files.

    In a folder, ``NAME__0.npy`` and so on are the crops of a video, and ``NAME.npy`` or
    ``NAME.safetensors`` all of them.

    Args:
        root: The folder.
        spec: Start of the hash of the spec that is meant; None: the only one. Of stores.
        naming: Makes names of files from paths of videos.

    Raises:
        InputError: there is nothing of the kind.
        UsageError: several specs are there and none was chosen.
    """
    return open_store_collection(root, spec, naming) if is_store(root) else _open_folder(root)


def choose_spec(root: Path, specs: Sequence[SpecSummary], start: str | None) -> SpecSummary:
    """The spec whose hash starts so; without a start the only one.

    Raises:
        InputError: the store is empty.
        UsageError: none or several are meant.
    """
    if not specs:
        raise InputError(f"{root}: no features in this store")
    found = [each for each in specs if each.hash.startswith(start or "")]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{each.hash} ({each.spec.backbone})" for each in specs)
    said = "several kinds of features" if start is None else f"--spec {start} is not one of them"
    raise UsageError(f"{root}: {said}; choose one with --spec: {known}")


def specs_to_compare(a: Path, b: Path, start: str | None) -> list[tuple[str | None, str | None]]:
    """Which kinds of features of two stores or folders are compared, as starts of hashes.

    Args:
        a: A store, or a folder of feature files.
        b: Another one.
        start: ``A:B``, the start of a hash in each; ``A``: in every store that has such a kind, and
            in one that has a single kind that one; None: the only kind of each, or else each kind
            that both stores have, or each kind of the store where the other is a folder.
    """
    if start is not None and ":" in start:
        first, second = start.split(":", 1)
        return [(first or None, second or None)]
    ours, theirs = (
        [each.hash for each in open_index(root).specs()] if is_store(root) else []
        for root in (a, b)
    )
    if start is None:
        same = [kind for kind in ours if kind in theirs]
        several = len(ours) > 1 or len(theirs) > 1
        if several and not is_store(a):
            return [(None, kind) for kind in theirs]
        if several and not is_store(b):
            return [(kind, None) for kind in ours]
        return [(kind, kind) for kind in same] if several and same else [(None, None)]
    has = [any(kind.startswith(start) for kind in kinds) for kinds in (ours, theirs)]
    meant = [
        None if any(has) and not there and len(kinds) == 1 else start
        for there, kinds in zip(has, (ours, theirs), strict=True)
    ]
    return [(meant[0], meant[1])]


def _kinds(root: Path) -> list[str]:
    """The hashes of the kinds in a store; none of what is no store."""
    return [each.hash for each in open_index(root).specs()] if is_store(root) else []


def open_store_collection(root: Path, spec: str | None, naming: Naming) -> Collection:
    """Features of one spec in a store, named as the manifest names their videos.

    Raises:
        InputError: there is no store, or nothing in it.
        UsageError: several specs are there and none was chosen.
    """
    index = open_index(root)
    wanted = choose_spec(root, index.specs(), spec)
    by_content = {
        entry.content: partial(_stored, root / entry.file) for entry in index.all(wanted.hash)
    }
    paths = {sha: path for sha, path in read_video_names(root).items() if sha in by_content}
    names = dict(zip(paths, naming(list(paths.values())), strict=True))
    by_name = {names.get(sha, sha): reader for sha, reader in by_content.items()}
    return Collection(root, by_name, by_content)


def _open_folder(root: Path) -> Collection:
    if not is_dir(root):
        raise InputError(f"{root}: no such folder of features")
    crops: defaultdict[str, dict[int, Path]] = defaultdict(dict)
    readers: dict[str, Reader] = {}
    for path in sorted(root.rglob("*.npy")):
        if found := _CROP.fullmatch(path.stem):
            crops[found[1]][int(found[2])] = path
        else:
            readers[path.stem] = partial(_stack, path)
    for path in sorted(root.rglob("*.safetensors")):
        readers[path.stem] = partial(_stored, path)
    for name, files in crops.items():
        readers[name] = partial(_crops, tuple(files[number] for number in sorted(files)))
    if not readers:
        raise InputError(f"{root}: neither a store nor a folder of feature files (.npy)")
    return Collection(root, readers)


def _stored(path: Path) -> AnyFeatures:
    return StoredFeatures(path).open_checked().array


def _stack(path: Path) -> AnyFeatures:
    return to_float(crops_first(path, map_npy(path)))


def _crops(files: tuple[Path, ...]) -> AnyFeatures:
    first = _crop(files, 0)
    return CropArray((len(files), *first.shape), first.dtype, partial(_crop, files), files)


def _crop(files: tuple[Path, ...], number: int) -> CropFeatures:
    view = map_npy(files[number])
    if view.ndim != 2:
        raise InputError(f"{files[number]}: a crop is (T, D), this has {view.ndim} axes")
    return to_float(view)


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
        min_cosine: Of the row that differs most.
        max_difference: Largest difference between two numbers.
        note: What could not be compared; "": everything was.
    """

    name: str
    crops: int
    rows: int
    cosine: float
    min_cosine: float
    max_difference: float
    note: str = ""


@dataclass(frozen=True)
class SharedVideos:
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


def find_shared(a: Collection, b: Collection) -> SharedVideos:
    """Which videos both have: by content where both know it, else by name."""
    by_content = bool(a.by_content.keys() & b.by_content.keys())
    ours, theirs = (a.by_content, b.by_content) if by_content else (a.by_name, b.by_name)
    return SharedVideos(
        tuple(sorted(ours.keys() & theirs.keys())),
        tuple(sorted(ours.keys() - theirs.keys())),
        tuple(sorted(theirs.keys() - ours.keys())),
        by_content,
    )


def is_comparable(a: Collection, b: Collection, found: SharedVideos) -> bool:
    """Whether there is a video that both have, and the first such one has features of one length.

    Raises:
        InputError: they cannot be read.
    """
    ours, theirs = (c.by_content if found.by_content else c.by_name for c in (a, b))
    return any(ours[key]().shape[2] == theirs[key]().shape[2] for key in found.common[:1])


def compare_shared(
    a: Collection, b: Collection, found: SharedVideos
) -> Iterator[Difference | InputError]:
    """How they differ, video by video; of one that cannot be compared, why."""
    ours, theirs = (c.by_content if found.by_content else c.by_name for c in (a, b))
    names = {}
    if found.by_content:
        names = {id(reader): name for name, reader in a.by_name.items()}
    for key in found.common:
        try:
            yield compare_features(names.get(id(ours[key]), key), ours[key](), theirs[key]())
        except InputError as error:
            yield error


def compare_features(name: str, a: AnyFeatures, b: AnyFeatures) -> Difference:
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
