"""Compare the features of the same videos in two stores or folders of feature files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oddframe._utils.files import is_dir, unique_stems
from oddframe.errors import InputError
from oddframe.features.formats.feature_file import open_features
from oddframe.features.formats.npy import crops_first, map_npy, to_float
from oddframe.features.lazy_array import AnyFeatures, CropArray, CropFeatures
from oddframe.features.store.index import choose_spec, is_store, open_index
from oddframe.features.store.manifest import read_video_names

# Opens features (C, T, D), whose crops may be read on access.
_Reader = Callable[[], AnyFeatures]
_Readers = Mapping[str, _Reader]

_CROP = re.compile(r"(.+)__(\d+)")
_ROWS = 4096  # Rows in memory at once.


@dataclass(frozen=True)
class Difference:
    """How two features of one video differ; the names of the fields are the command line's JSON."""

    name: str
    crops: int  # Compared.
    rows: int  # Of each crop, compared.
    cosine: float  # Mean over corresponding rows.
    least_cosine: float
    largest: float  # Absolute difference between corresponding numbers.
    note: str = ""  # What could not be compared.


@dataclass(frozen=True)
class Comparison:
    """Two collections of features of one kind."""

    spec: str | None  # Start of its hash; None: only one kind is compared.
    only_a: Sequence[str]  # Names, or hashes of the content, of videos that the other lacks.
    only_b: Sequence[str]
    differences: Iterator[Difference | InputError]  # Read as this is iterated over.


def compare_features_in(a: Path, b: Path, spec: str | None = None) -> Iterator[Comparison]:
    """Compare the features of the same videos, one kind of features after the other.

    Two stores are compared by the contents of videos; if one is a folder of files, by name. Of
    stores with several kinds of features, each kind that both have is compared. ``spec``: start of
    the hash of a spec, or ``START:START`` for A and B. InputError if they have no video, or no
    features of one dimension, in common.
    """
    pairs, compared = _specs_to_compare(a, b, spec), 0
    for first, second in pairs:
        videos, only_a, only_b = _match_videos(
            _open_collection(a, first), _open_collection(b, second)
        )
        if len(pairs) > 1 and not any(
            ours().shape[2] == theirs().shape[2] for _, ours, theirs in videos[:1]
        ):
            continue
        compared += 1
        if not videos:
            raise InputError(
                f"{a} and {b} have no video in common: {len(only_a)} and {len(only_b)} others, "
                f"such as {next(iter(only_a), 'none')} and {next(iter(only_b), 'none')}"
            )
        name = first or second if len(pairs) > 1 else None
        yield Comparison(name, only_a, only_b, _compare_all(videos))
    if not compared:
        raise InputError(f"{a} and {b} have no video in common with features of one length")


def _specs_to_compare(a: Path, b: Path, start: str | None) -> list[tuple[str | None, str | None]]:
    """Choose which specs of two stores or folders are compared, as pairs of starts of hashes.

    ``A:B``: the start of a hash in each. ``A``: in each store that has such a spec; a store with a
    single other spec takes part with that. None: the only spec of each; if there are several, every
    spec that both stores have, or every spec of the store if the other is a folder.
    """
    if start is not None and ":" in start:
        first, second = start.split(":", 1)
        return [(first or None, second or None)]
    ours, theirs = (
        [each.hash for each in open_index(root).specs()] if is_store(root) else []
        for root in (a, b)
    )
    if start is None:
        common = [spec for spec in ours if spec in theirs]
        several = len(ours) > 1 or len(theirs) > 1
        if several and not is_store(a):
            return [(None, spec) for spec in theirs]
        if several and not is_store(b):
            return [(spec, None) for spec in ours]
        return [(spec, spec) for spec in common] if several and common else [(None, None)]
    matches = [any(spec.startswith(start) for spec in specs) for specs in (ours, theirs)]
    chosen = [
        None if any(matches) and not match and len(specs) == 1 else start
        for match, specs in zip(matches, (ours, theirs), strict=True)
    ]
    return [(chosen[0], chosen[1])]


def _match_videos(
    a: tuple[_Readers, _Readers], b: tuple[_Readers, _Readers]
) -> tuple[list[tuple[str, _Reader, _Reader]], list[str], list[str]]:
    """Match videos by content if the collections share a hash, else by name.

    Returns the name and readers of each video of both, and the videos of A and of B alone.
    """
    (ours, our_contents), (theirs, their_contents) = a, b
    names = {id(reader): name for name, reader in ours.items()}
    if our_contents.keys() & their_contents.keys():
        ours, theirs = our_contents, their_contents
    common = sorted(ours.keys() & theirs.keys())
    videos = [(names.get(id(ours[key]), key), ours[key], theirs[key]) for key in common]
    return videos, sorted(ours.keys() - theirs.keys()), sorted(theirs.keys() - ours.keys())


def _compare_all(
    videos: Sequence[tuple[str, _Reader, _Reader]],
) -> Iterator[Difference | InputError]:
    for name, ours, theirs in videos:
        try:
            yield _compare_features(name, ours(), theirs())
        except InputError as error:
            yield error


def _compare_features(name: str, a: AnyFeatures, b: AnyFeatures) -> Difference:
    """Compare two features (C, T, D) of a video; surplus crops and rows of either are ignored."""
    if a.shape[2] != b.shape[2]:
        raise InputError(f"{name}: features of length {a.shape[2]} and of {b.shape[2]}")
    crops, rows = min(a.shape[0], b.shape[0]), min(a.shape[1], b.shape[1])
    notes = [
        f"{ours} and {theirs} {axis}"
        for ours, theirs, axis in zip(a.shape, b.shape, ("crops", "rows"), strict=False)
        if ours != theirs
    ]
    total, smallest, largest = 0.0, 1.0, 0.0
    for number in range(crops):
        ours, theirs = a[number], b[number]
        for start in range(0, rows, _ROWS):
            stop = min(rows, start + _ROWS)
            x, y = (np.asarray(crop[start:stop], np.float64) for crop in (ours, theirs))
            cosines = _cosines(x, y)
            total += float(cosines.sum())
            smallest = min(smallest, float(cosines.min()))
            largest = max(largest, float(np.abs(x - y).max()))
    mean = total / (crops * rows)
    return Difference(name, crops, rows, mean, smallest, largest, ", ".join(notes))


def _cosines(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosines (T,) between the rows of (T, D); 1 between equal rows, also of zeros."""
    scale = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    cosines: NDArray[np.float64] = (x * y).sum(axis=1) / np.where(scale > 0, scale, 1.0)
    return np.where((x == y).all(axis=1), 1.0, cosines)


def _open_collection(root: Path, spec: str | None) -> tuple[_Readers, _Readers]:
    """The readers of many videos: by name, and by the sha256 of the video if that is known."""
    if not is_store(root):
        return _open_folder(root), {}
    index = open_index(root)
    chosen = choose_spec(root, index.specs(), spec)
    by_content = {
        entry.content: partial(_open_file, root / entry.file) for entry in index.all(chosen.hash)
    }
    paths = {sha: path for sha, path in read_video_names(root).items() if sha in by_content}
    names = dict(zip(paths, unique_stems(list(paths.values())), strict=True))
    return {names.get(sha, sha): reader for sha, reader in by_content.items()}, by_content


def _open_folder(root: Path) -> _Readers:
    """Open a folder of feature files.

    ``NAME__0.npy``, ``NAME__1.npy`` ... are the crops of a video; ``NAME.npy`` or
    ``NAME.safetensors`` is a file with all crops.
    """
    if not is_dir(root):
        raise InputError(f"{root}: no such folder of features")
    crops: defaultdict[str, dict[int, Path]] = defaultdict(dict)
    readers: dict[str, _Reader] = {}
    for path in sorted(root.rglob("*.npy")):
        if match := _CROP.fullmatch(path.stem):
            crops[match[1]][int(match[2])] = path
        else:
            readers[path.stem] = partial(_open_npy, path)
    for path in sorted(root.rglob("*.safetensors")):
        readers[path.stem] = partial(_open_file, path)
    for name, files in crops.items():
        readers[name] = partial(_open_crops, tuple(files[number] for number in sorted(files)))
    if not readers:
        raise InputError(f"{root}: neither a store nor a folder of feature files (.npy)")
    return readers


def _open_file(path: Path) -> AnyFeatures:
    return open_features(path, verify=True).array


def _open_npy(path: Path) -> AnyFeatures:
    return to_float(crops_first(path, map_npy(path)))


def _open_crops(files: tuple[Path, ...]) -> AnyFeatures:
    first = _map_crop(files, 0)
    return CropArray((len(files), *first.shape), first.dtype, partial(_map_crop, files), files)


def _map_crop(files: tuple[Path, ...], number: int) -> CropFeatures:
    crop = map_npy(files[number])
    if crop.ndim != 2:
        raise InputError(f"{files[number]}: a crop is (T, D), this has {crop.ndim} axes")
    return to_float(crop)
