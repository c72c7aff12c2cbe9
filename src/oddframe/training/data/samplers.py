"""Bag samplers: they draw the batches of bags that training steps see.

``VideoBagSampler`` follows the published loaders and their segment rule (Sultani et al. 2018;
UR-DMU section 4.2). ``JoinedBagSampler`` joins short clips into longer bags, for data sets of
clips. ``UnlabelledBagSampler`` reads no labels. Each draws from one random generator, whose state
is part of a checkpoint.
"""

from __future__ import annotations

import io
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from oddframe._utils.files import write_bytes
from oddframe._utils.progress import ProgressCallback
from oddframe.errors import InputError
from oddframe.features.formats.npy import map_npy, read_npy_header
from oddframe.features.lazy_array import (
    AnyFeatures,
    CropArray,
    CropFeatures,
    CropViews,
    FeatureArray,
)
from oddframe.features.spec import Features
from oddframe.methods.base import Recipe
from oddframe.training.config import BagSection
from oddframe.training.data.snippet_labels import (
    BagLabels,
    SnippetLabels,
    label_bags,
    segment_bounds,
)


@dataclass(frozen=True)
class TrainingVideo:
    """Features of one video and its label.

    Attributes:
        views: One (T, D) array a crop, T at least 1; each is a bag. With tiles (tiles * T, D), one
            tile after the other: all tiles of a picture are instances of the same bag.
        bags: The views averaged over the recipe's segments, each (S, D), where ``with_cut_bags``
            has done so.
        labels: What is known of the snippets of each view (of all tiles alike); empty: nothing.
    """

    views: Sequence[CropFeatures]
    abnormal: bool
    tiles: int = 1
    bags: Sequence[CropFeatures] | None = None
    labels: Sequence[SnippetLabels] = ()


class Batch(NamedTuple):
    """The bags of a step, (n_normal + n_abnormal, S, D), normal ones first.

    ``labels`` are those of their segments; None where no training video has any.
    """

    features: NDArray[np.float32]
    labels: BagLabels | None


View = tuple[TrainingVideo, int]
"""A video and the number of one of its views."""


def feature_dim(videos: Sequence[TrainingVideo]) -> int:
    """The length D of the videos' features; InputError if they differ in length."""
    dims: set[int] = {view.shape[1] for video in videos for view in video.views}
    if len(dims) > 1:
        raise InputError(f"features of different lengths cannot be trained on: {sorted(dims)}")
    (dim,) = dims
    return dim


def views_of(array: AnyFeatures, *, tiled: bool) -> Sequence[FeatureArray]:
    """(C, T, D) -> the views that bags are made of: each crop alone, or all tiles in a row."""
    if tiled:
        return (np.asarray(array).reshape(-1, array.shape[2]),)
    return CropViews([array]) if isinstance(array, CropArray) else tuple(array)


def mean_segments(features: CropFeatures, n: int, tiles: int = 1) -> NDArray[np.float32]:
    """(T, D) -> (n, D): means over n segments, whose bounds are ``int(linspace(0, T))``.

    An empty segment (T < n) takes the snippet at its start. With tiles, each tile is averaged
    alone: (tiles * T, D) -> (tiles * n, D). The rule of Sultani et al. (CVPR 2018).
    """
    if tiles > 1:
        return np.concatenate(
            [mean_segments(tile, n) for tile in features.reshape(tiles, -1, features.shape[1])]
        )
    bounds = segment_bounds(len(features), n)
    # For an empty interval reduceat returns the row at its start, as the rule asks.
    sums = np.add.reduceat(features, bounds[:-1], axis=0, dtype=np.float32)
    lengths = np.maximum(np.diff(bounds), 1)
    return np.asarray(sums / lengths[:, None], dtype=np.float32)


class IndexSampler:
    """Draws the indices 0 ... n - 1 in shuffled order, ``batch`` at a time.

    As in the published loaders, the remainder that fills no batch is dropped and the indices are
    shuffled again. Where n is less than ``batch``, indices are drawn with replacement.
    """

    def __init__(self, n: int, batch: int, rng: np.random.Generator):
        self.n, self.batch, self.rng = n, batch, rng
        self.order: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.position = 0

    def draw(self) -> NDArray[np.int64]:
        """The next (batch,) indices."""
        if self.n < self.batch:
            return self.rng.integers(self.n, size=self.batch)
        if self.position + self.batch > len(self.order):
            self.order, self.position = self.rng.permutation(self.n), 0
        drawn = self.order[self.position : self.position + self.batch]
        self.position += self.batch
        return drawn

    def state(self) -> dict[str, Any]:
        """Order and position, as JSON types."""
        return {"order": self.order.tolist(), "position": self.position}

    def restore(self, state: dict[str, Any]) -> None:
        """Set what ``state()`` returned."""
        self.order = np.array(state["order"], dtype=np.int64)
        self.position = int(state["position"])


class BagSampler(ABC):
    """Draws batches without end; its state can be saved and restored."""

    def __init__(self, videos: Sequence[TrainingVideo], recipe: Recipe, rng: np.random.Generator):
        self.videos, self.recipe, self.rng = videos, recipe, rng
        self.labelled = any(video.labels for video in videos)

    def draw(self) -> Batch:
        """The next batch."""
        bags = self.choose()
        n, labels = self.recipe.segments, None
        if self.labelled:
            labels = label_bags([SnippetLabels.join([*map(_view_labels, bag)]) for bag in bags], n)
        return Batch(np.stack([_read(bag, n) for bag in bags]), labels)

    @abstractmethod
    def choose(self) -> list[Sequence[View]]:
        """The views of each bag of the next batch; several are joined in time."""

    def state(self) -> dict[str, Any]:
        """All that the next batches depend on, as JSON types."""
        return {"rng": self.rng.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        """Set what ``state()`` returned."""
        self.rng.bit_generator.state = state["rng"]


def _read(bag: Sequence[View], n: int) -> CropFeatures:
    """The views of a bag, joined in time and averaged over n segments."""
    video, view = bag[0]
    if len(bag) == 1 and video.bags is not None:
        return video.bags[view]
    views = [each.views[number] for each, number in bag]
    joined = views[0] if len(views) == 1 else concatenate_in_time(views, video.tiles)
    return mean_segments(joined, n, video.tiles)


def _view_labels(view: View) -> SnippetLabels:
    video, number = view
    if not video.labels:
        return SnippetLabels.unknown(len(video.views[number]) // video.tiles)
    return video.labels[number]


def make_bag_sampler(
    videos: Sequence[TrainingVideo],
    section: BagSection,
    recipe: Recipe,
    seed: int,
    *,
    labelled: bool = True,
) -> BagSampler:
    """The sampler for ``section.mode``; without ``labelled`` one that reads no labels.

    InputError if it reads labels and one class has no videos.
    """
    rng = np.random.default_rng(seed)
    if not labelled:
        return UnlabelledBagSampler(videos, section, recipe, rng)
    for abnormal, name in ((False, "normal"), (True, "abnormal")):
        if not any(video.abnormal == abnormal for video in videos):
            raise InputError(f"no {name} videos to train on; it takes both classes")
    if section.mode == "joined":
        return JoinedBagSampler(videos, section, recipe, rng)
    return VideoBagSampler(videos, recipe, rng)


def concatenate_in_time(views: Sequence[CropFeatures], tiles: int) -> CropFeatures:
    """Join views (tiles * T, D) in time into one view."""
    joined = np.concatenate([v.reshape(tiles, -1, v.shape[1]) for v in views], axis=1)
    return joined.reshape(-1, joined.shape[2])


def _all_bags(videos: Iterable[TrainingVideo]) -> list[View]:
    # (video, crop), not features: memory-mapped ones are read when they are drawn.
    return [(video, crop) for video in videos for crop in range(len(video.views))]


class VideoBagSampler(BagSampler):
    """Draws normal and abnormal bags, each one crop of one video."""

    def __init__(self, videos: Sequence[TrainingVideo], recipe: Recipe, rng: np.random.Generator):
        super().__init__(videos, recipe, rng)
        self.normal = _all_bags(video for video in videos if not video.abnormal)
        self.abnormal = _all_bags(video for video in videos if video.abnormal)
        self.index_samplers = (
            IndexSampler(len(self.normal), recipe.normal_bags, rng),
            IndexSampler(len(self.abnormal), recipe.abnormal_bags, rng),
        )

    def choose(self) -> list[Sequence[View]]:
        normal, abnormal = (sampler.draw() for sampler in self.index_samplers)
        return [[self.normal[i]] for i in normal] + [[self.abnormal[i]] for i in abnormal]

    def state(self) -> dict[str, Any]:
        return {**super().state(), "decks": [sampler.state() for sampler in self.index_samplers]}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        for sampler, saved in zip(self.index_samplers, state["decks"], strict=True):
            sampler.restore(saved)


class ClipJoiner:
    """Draws which of the videos, with labels (N,), are joined into a longer one."""

    def __init__(self, abnormal: NDArray[np.bool_], section: BagSection, rng: np.random.Generator):
        self.normal, self.abnormal = np.flatnonzero(~abnormal), np.flatnonzero(abnormal)
        self.section, self.rng = section, rng

    def draw(self, *, abnormal: bool) -> NDArray[np.int64]:
        """(n,) indices of videos in order: all normal, or with a few abnormal ones among them."""
        n = int(self.rng.integers(*self.section.clips, endpoint=True))
        indices = self._pick(self.normal, n)
        if abnormal:
            k = int(self.rng.integers(*self.section.abnormal, endpoint=True))
            positions = self.rng.choice(n, k, replace=False)
            indices[positions] = self._pick(self.abnormal, k)
        return indices

    def draw_views(self, videos: Sequence[TrainingVideo], *, abnormal: bool) -> list[View]:
        """The views of drawn videos that are joined, all of one number where videos have it."""
        drawn = [videos[i] for i in self.draw(abnormal=abnormal)]
        view = int(self.rng.integers(max(len(video.views) for video in drawn)))
        return [(video, view % len(video.views)) for video in drawn]

    def _pick(self, videos: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        return self.rng.choice(videos, n, replace=len(videos) < n)


class JoinedBagSampler(BagSampler):
    """Draws bags that each join several short videos, all in the same view, as in a real video."""

    def __init__(
        self,
        videos: Sequence[TrainingVideo],
        section: BagSection,
        recipe: Recipe,
        rng: np.random.Generator,
    ):
        super().__init__(videos, recipe, rng)
        self.joiner = ClipJoiner(np.array([video.abnormal for video in videos]), section, rng)

    def choose(self) -> list[Sequence[View]]:
        abnormal = [False] * self.recipe.normal_bags + [True] * self.recipe.abnormal_bags
        return [self.joiner.draw_views(self.videos, abnormal=each) for each in abnormal]


class UnlabelledBagSampler(BagSampler):
    """Draws bags of any videos, as many as the recipe's normal and abnormal ones together."""

    def __init__(
        self,
        videos: Sequence[TrainingVideo],
        section: BagSection,
        recipe: Recipe,
        rng: np.random.Generator,
    ):
        super().__init__(videos, recipe, rng)
        self.labelled = False
        self.bags = _all_bags(videos)
        n = recipe.normal_bags + recipe.abnormal_bags
        self.index_sampler = IndexSampler(len(self.bags), n, rng)
        self.joiner = None
        if section.mode == "joined":
            self.joiner = ClipJoiner(np.zeros(len(videos), dtype=bool), section, rng)

    def choose(self) -> list[Sequence[View]]:
        if self.joiner is None:
            return [[self.bags[i]] for i in self.index_sampler.draw()]
        joiner, n = self.joiner, self.index_sampler.batch
        return [joiner.draw_views(self.videos, abnormal=False) for _ in range(n)]

    def state(self) -> dict[str, Any]:
        return {**super().state(), "deck": self.index_sampler.state()}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.index_sampler.restore(state["deck"])


_FREE_BYTES = 2 << 30  # Cut bags leave this much of the disk free.


def with_cut_bags(
    videos: Sequence[TrainingVideo],
    seen: Sequence[Sequence[Features]],
    digests: Sequence[str],
    n: int,
    root: Path,
    progress: ProgressCallback,
) -> list[TrainingVideo]:
    """The videos, with their bags where their features are memory-mapped files.

    The views of large published data sets are averaged over their segments once, instead of at
    every step: a step of UR-DMU's recipe then maps 100 MB, of the 33 GB of UCF-Crime. The bags are
    the same to the last bit. They are kept in the store ``root``, each (C, S, D) float32 in
    ``segments/<hh>/<digest>-<spec>-<segments>.npy``. Where the disk has no room for them, the
    videos are returned as they are. ``seen``, ``digests``: each video's features, and their digest.
    """
    # Of each video, the features on disk, and the file of their bags.
    on_disk: list[list[tuple[CropArray, Path]]] = [
        [
            (each.array, root / "segments" / digest[:2] / f"{digest}-{each.spec.hash()}-{n}.npy")
            for each in features
            if isinstance(each.array, CropArray) and each.spec.tiles is None
        ]
        for features, digest in zip(seen, digests, strict=True)
    ]
    pairs = list(chain.from_iterable(on_disk))
    missing_bytes = sum(
        4 * len(array) * n * array.shape[2]
        for array, path in pairs
        if not _is_current(path, array, n)
    )
    folder = next(path for path in (root, *root.absolute().parents) if path.exists())
    full = missing_bytes and missing_bytes + _FREE_BYTES >= shutil.disk_usage(folder).free
    if full or not pairs:
        return list(videos)
    with_bags = []
    for done, (video, features, files) in enumerate(zip(videos, seen, on_disk, strict=True), 1):
        bags = [_load_or_cut(array, path, n) for array, path in files]
        whole = len(bags) == len(features)
        with_bags.append(replace(video, bags=CropViews(bags)) if whole else video)
        progress(done, len(videos), f"{n} segments")
    return with_bags


def _is_current(path: Path, array: CropArray, n: int) -> bool:
    """Whether the file has bags of this shape and is newer than the features' files."""
    try:
        times = [file.stat().st_mtime_ns for file in array.files if file.exists()]
        fresh = path.stat().st_mtime_ns >= max(times, default=0)
        return fresh and read_npy_header(path).shape == (len(array), n, array.shape[2])
    except (InputError, OSError):
        return False


def _load_or_cut(array: CropArray, path: Path, n: int) -> CropArray:
    """(C, S, D) means over segments, memory-mapped; computed and stored first if need be."""
    if not _is_current(path, array, n):
        views = (view.astype(np.float32, copy=False) for view in array)
        file = io.BytesIO()
        np.save(file, np.stack([mean_segments(view, n) for view in views]))
        write_bytes(path, file.getvalue())
    shape = (len(array), n, array.shape[2])
    return CropArray(shape, np.dtype(np.float32), partial(_map_bag, path), [path])


def _map_bag(path: Path, crop: int) -> CropFeatures:
    bag: CropFeatures = map_npy(path)[crop]
    return bag
