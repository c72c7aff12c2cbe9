"""Bag samplers: they draw the batches of bags that training steps see.

``VideoBagSampler`` follows the published loaders and their segment rule (Sultani et al. 2018;
UR-DMU section 4.2). ``JoinedBagSampler`` joins short clips into longer bags, for data sets of
clips. ``UnlabelledBagSampler`` reads no labels. Each draws from one random generator, whose state
is part of a checkpoint.

``with_cut_bags`` averages the views of large published data sets over their segments once, instead
of at every step. A step of UR-DMU's recipe reads 128 bags of 200 segments; the views that these are
cut from are many times as long, 33 GB for UCF-Crime. The bags are kept in the store as
``<root>/segments/<hh>/<digest>-<spec>-<segments>.npy``, (C, S, D) float32, so that a step only maps
100 MB of them. The numbers are the same to the last bit.
"""

from __future__ import annotations

import io
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class TrainingVideo:
    """Features of one video and its label.

    Attributes:
        views: One (T, D) array a crop, T at least 1; each is a bag. With tiles (tiles * T, D), one
            tile after the other: all tiles of a picture are instances of the same bag.
        abnormal: Whether something odd happens somewhere in the video.
        tiles: Number of tiles of a view.
        bags: The views averaged over the recipe's segments, each (S, D), where ``with_cut_bags``
            has done so; None elsewhere.
    """

    views: Sequence[CropFeatures]
    abnormal: bool
    tiles: int = 1
    bags: Sequence[CropFeatures] | None = None


def feature_dim(videos: Sequence[TrainingVideo]) -> int:
    """The length D of the videos' features.

    Raises:
        InputError: features differ in length.
    """
    dims: set[int] = {view.shape[1] for video in videos for view in video.views}
    if len(dims) > 1:
        raise InputError(f"features of different lengths cannot be trained on: {sorted(dims)}")
    (dim,) = dims
    return dim


@dataclass(frozen=True)
class Batch:
    """Bags (n_normal + n_abnormal, S, D), normal ones first, and their labels (B,), 0 or 1."""

    bags: NDArray[np.float32]
    labels: NDArray[np.float32]


def views_of(array: AnyFeatures, *, tiled: bool) -> Sequence[FeatureArray]:
    """(C, T, D) -> the views that bags are made of: each crop alone, or all tiles in a row.

    Memory-mapped crops are not read here.
    """
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
    bounds = np.linspace(0, len(features), n + 1).astype(np.int64)
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

    def __init__(self, rng: np.random.Generator):
        self.rng = rng

    @abstractmethod
    def draw(self) -> Batch:
        """Draw the next batch."""

    def state(self) -> dict[str, Any]:
        """All that the next batches depend on, as JSON types."""
        return {"rng": self.rng.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        """Set what ``state()`` returned."""
        self.rng.bit_generator.state = state["rng"]


def make_bag_sampler(
    videos: Sequence[TrainingVideo],
    section: BagSection,
    recipe: Recipe,
    seed: int,
    *,
    labelled: bool = True,
) -> BagSampler:
    """The sampler for ``section.mode``; without ``labelled`` one that reads no labels.

    Raises:
        InputError: one class has no videos.
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


def make_batch(bags: Sequence[CropFeatures], normal: int) -> Batch:
    """A batch of bags (S, D), of which the first ``normal`` are normal."""
    labels = np.repeat(np.array([0, 1], dtype=np.float32), [normal, len(bags) - normal])
    return Batch(np.stack(bags), labels)


def read_bag(video: TrainingVideo, crop: int, n: int) -> CropFeatures:
    """One crop of a video as a bag of ``n`` segments, (tiles * n, D)."""
    if video.bags is not None:
        return video.bags[crop]
    return mean_segments(video.views[crop], n, video.tiles)


def draw_common_view(
    videos: Sequence[Sequence[CropFeatures]], rng: np.random.Generator
) -> list[CropFeatures]:
    """Draw a view number and take that view of each video, modulo its number of views."""
    view = int(rng.integers(max(len(views) for views in videos)))
    return [views[view % len(views)] for views in videos]


def concatenate_in_time(views: Sequence[CropFeatures], tiles: int) -> CropFeatures:
    """Join views (tiles * T, D) in time into one view."""
    joined = np.concatenate([v.reshape(tiles, -1, v.shape[1]) for v in views], axis=1)
    return joined.reshape(-1, joined.shape[2])


class VideoBagSampler(BagSampler):
    """Draws normal and abnormal bags, each one crop of one video."""

    def __init__(self, videos: Sequence[TrainingVideo], recipe: Recipe, rng: np.random.Generator):
        super().__init__(rng)
        self.segments = recipe.segments
        # (video, crop), not features: memory-mapped ones are read when they are drawn.
        bags = [(video, crop) for video in videos for crop in range(len(video.views))]
        self.normal = [bag for bag in bags if not bag[0].abnormal]
        self.abnormal = [bag for bag in bags if bag[0].abnormal]
        self.index_samplers = (
            IndexSampler(len(self.normal), recipe.normal_bags, rng),
            IndexSampler(len(self.abnormal), recipe.abnormal_bags, rng),
        )

    def draw(self) -> Batch:
        normal, abnormal = (sampler.draw() for sampler in self.index_samplers)
        drawn = [self.normal[i] for i in normal] + [self.abnormal[i] for i in abnormal]
        bags = [read_bag(video, crop, self.segments) for video, crop in drawn]
        return make_batch(bags, len(normal))

    def state(self) -> dict[str, Any]:
        decks = [sampler.state() for sampler in self.index_samplers]
        return {**super().state(), "decks": decks}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        for sampler, saved in zip(self.index_samplers, state["decks"], strict=True):
            sampler.restore(saved)


class ClipJoiner:
    """Draws which short videos are joined into a longer one.

    Args:
        abnormal: (N,) which of the videos are abnormal; there must be some of both classes.
        section: How many videos are joined, and how many of them are abnormal.
        rng: The random generator.
    """

    def __init__(self, abnormal: NDArray[np.bool_], section: BagSection, rng: np.random.Generator):
        self.normal, self.abnormal = np.flatnonzero(~abnormal), np.flatnonzero(abnormal)
        self.section, self.rng = section, rng

    def draw(self, *, abnormal: bool) -> NDArray[np.int64]:
        """(n,) indices of videos in order: all normal, or with a few abnormal ones among them."""
        n = int(self.rng.integers(self.section.clips[0], self.section.clips[1], endpoint=True))
        indices = self._pick(self.normal, n)
        if abnormal:
            few, many = self.section.abnormal
            k = int(self.rng.integers(few, many, endpoint=True))
            positions = self.rng.choice(n, k, replace=False)
            indices[positions] = self._pick(self.abnormal, k)
        return indices

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
        super().__init__(rng)
        self.videos, self.recipe = videos, recipe
        self.joiner = ClipJoiner(np.array([video.abnormal for video in videos]), section, rng)

    def draw(self) -> Batch:
        normal = [self._draw_views(abnormal=False) for _ in range(self.recipe.normal_bags)]
        abnormal = [self._draw_views(abnormal=True) for _ in range(self.recipe.abnormal_bags)]
        n, tiles = self.recipe.segments, self.videos[0].tiles
        joined = (concatenate_in_time(views, tiles) for views in normal + abnormal)
        return make_batch([mean_segments(view, n, tiles) for view in joined], len(normal))

    def _draw_views(self, *, abnormal: bool) -> list[CropFeatures]:
        indices = self.joiner.draw(abnormal=abnormal)
        return draw_common_view([self.videos[i].views for i in indices], self.rng)


class UnlabelledBagSampler(BagSampler):
    """Draws bags of any videos, as many as the recipe's normal and abnormal ones together.

    The labels of its batches only mark the two halves; they are not the videos' labels.
    """

    def __init__(
        self,
        videos: Sequence[TrainingVideo],
        section: BagSection,
        recipe: Recipe,
        rng: np.random.Generator,
    ):
        super().__init__(rng)
        self.videos, self.section, self.recipe = videos, section, recipe
        self.bags = [(video, crop) for video in videos for crop in range(len(video.views))]
        n = recipe.normal_bags + recipe.abnormal_bags
        self.index_sampler = IndexSampler(len(self.bags), n, rng)

    def draw(self) -> Batch:
        if self.section.mode == "joined":
            drawn = self._draw_joined()
        else:
            drawn = [self.bags[i] for i in self.index_sampler.draw()]
        bags = [read_bag(video, crop, self.recipe.segments) for video, crop in drawn]
        return make_batch(bags, self.recipe.normal_bags)

    def _draw_joined(self) -> list[tuple[TrainingVideo, int]]:
        """Videos that are each joined from several, and the number of their only view."""
        low, high = self.section.clips
        joined = []
        for _ in range(self.index_sampler.batch):
            n = int(self.rng.integers(low, high, endpoint=True))
            chosen = self.rng.choice(len(self.videos), n, replace=len(self.videos) < n)
            views: list[CropFeatures] = draw_common_view(
                [self.videos[i].views for i in chosen], self.rng
            )
            tiles = self.videos[0].tiles
            view = concatenate_in_time(views, tiles)
            joined.append((TrainingVideo((view,), abnormal=False, tiles=tiles), 0))  # Label unused.
        return joined

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

    Bags that the store has already are used again. Where the disk has no room for the bags, the
    videos are returned as they are, and bags are cut at every step.

    Args:
        videos: Training videos.
        seen: The features that each video's views are of.
        digests: A digest of each video's features.
        n: Number of segments S.
        root: Folder of the store.
        progress: Called after each video.

    Raises:
        InputError: features cannot be read.
        OddframeError: bags cannot be written.
    """
    files = [
        [_bag_file(root / "segments", digest, features, n) for features in each]
        for each, digest in zip(seen, digests, strict=True)
    ]
    if not any(path for paths in files for path in paths):
        return list(videos)
    if not _fits_on_disk(seen, files, n, root):
        return list(videos)
    with_bags = []
    for done, (video, each, paths) in enumerate(zip(videos, seen, files, strict=True), start=1):
        pairs = zip(each, paths, strict=True)
        bags = [_load_or_cut(features, path, n) for features, path in pairs if path is not None]
        with_bags.append(replace(video, bags=CropViews(bags)) if len(bags) == len(each) else video)
        progress(done, len(videos), f"{n} segments")
    return with_bags


def _fits_on_disk(
    seen: Sequence[Sequence[Features]], files: Sequence[Sequence[Path | None]], n: int, root: Path
) -> bool:
    """Whether the bags that are not stored yet fit on the disk."""
    missing_bytes = 0
    for each, paths in zip(seen, files, strict=True):
        for features, path in zip(each, paths, strict=True):
            if path is not None and not _is_current(path, features, n):
                crops, _, dim = features.array.shape
                missing_bytes += 4 * crops * n * dim
    if not missing_bytes:
        return True
    folder = next(path for path in (root, *root.absolute().parents) if path.exists())
    return missing_bytes + _FREE_BYTES < shutil.disk_usage(folder).free


def _bag_file(folder: Path, digest: str, features: Features, n: int) -> Path | None:
    """The file of a video's bags; None for features that are in memory or have tiles."""
    if not isinstance(features.array, CropArray) or features.spec.tiles is not None:
        return None
    return folder / digest[:2] / f"{digest}-{features.spec.hash()}-{n}.npy"


def _is_current(path: Path, features: Features, n: int) -> bool:
    """Whether the file has bags of this shape and is newer than the features' files."""
    crops, _, dim = features.array.shape
    files = features.array.files if isinstance(features.array, CropArray) else ()
    try:
        changed_ns = max((file.stat().st_mtime_ns for file in files if file.exists()), default=0)
        fresh = path.stat().st_mtime_ns >= changed_ns
        return fresh and read_npy_header(path).shape == (crops, n, dim)
    except (InputError, OSError):
        return False


def _load_or_cut(features: Features, path: Path, n: int) -> CropArray:
    """(C, S, D) means over segments, memory-mapped; computed and stored first if need be."""
    crops, _, dim = features.array.shape
    if not _is_current(path, features, n):
        views = (view.astype(np.float32, copy=False) for view in features.array)
        file = io.BytesIO()
        np.save(file, np.stack([mean_segments(view, n) for view in views]))
        write_bytes(path, file.getvalue())
    return CropArray((crops, n, dim), np.dtype(np.float32), partial(_map_bag, path), [path])


def _map_bag(path: Path, crop: int) -> CropFeatures:
    bag: CropFeatures = map_npy(path)[crop]
    return bag
