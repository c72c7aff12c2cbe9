"""Bags: what one training step sees of the data set.

The published segment rule and the published loaders (Sultani et al. 2018; UR-DMU section 4.2), and
bags that are joined from short clips, for data sets of clips. All chance comes from one generator,
whose state is part of a checkpoint.

Bags for a method without labels: drawn without reading any label.

Bags of published data sets, cut into segments once instead of at every step.

A step of UR-DMU's recipe reads 128 bags of 200 segments; the views that they are cut from are 33 GB
for UCF-Crime, many times as long each. So each video's views are brought to their segments once and
kept in the store, ``<root>/segments/<hh>/<digest>-<spec>-<segments>.npy``, (C, S, D) float32: a
step maps 100 MB from them and computes nothing. The numbers are the same to the last bit.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from oddframe._utils.files import write_bytes
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

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class TrainingVideo:
    """Features of one video and its label.

    Attributes:
        views: Each (T, D), T at least 1, one a crop: each is a bag. With tiles (tiles * T, D), one
            tile after the other: all tiles of a picture are instances of the same bag.
        abnormal: Whether something odd happens somewhere in it.
        tiles: Tiles a view.
        bags: The views in the recipe's segments, each (S, D), where they were cut before.
    """

    views: Sequence[CropFeatures]
    abnormal: bool
    tiles: int = 1
    bags: Sequence[CropFeatures] | None = None


@dataclass(frozen=True)
class Batch:
    """Bags (b_normal + b_abnormal, S, D), the normal half first, and labels (B,), 0 or 1."""

    bags: NDArray[np.float32]
    labels: NDArray[np.float32]


def views_of(array: AnyFeatures, *, tiled: bool) -> Sequence[FeatureArray]:
    """(C, T, D) -> what training sees: each crop alone, or all tiles in a row.

    Crops on disk stay there until they are asked for.
    """
    if tiled:
        return (np.asarray(array).reshape(-1, array.shape[2]),)
    return CropViews([array]) if isinstance(array, CropArray) else tuple(array)


def mean_segments(features: CropFeatures, n: int, tiles: int = 1) -> NDArray[np.float32]:
    """Bring (T, D) to (n, D): the mean inside each of n segments, bounds ``int(linspace(0, T))``.

    Where a segment is empty (T < n), it is the snippet at its start. With tiles, each of them:
    (tiles * T, D) to (tiles * n, D).
    """
    if tiles > 1:
        return np.concatenate(
            [mean_segments(tile, n) for tile in features.reshape(tiles, -1, features.shape[1])]
        )
    bounds = np.linspace(0, len(features), n + 1).astype(np.int64)
    # Over an empty interval reduceat gives the row at its start, which is the rule.
    sums = np.add.reduceat(features, bounds[:-1], axis=0, dtype=np.float32)
    lengths = np.maximum(np.diff(bounds), 1)
    return np.asarray(sums / lengths[:, None], dtype=np.float32)


class IndexSampler:
    """The numbers 0 ... n - 1, dealt ``batch`` at a time.

    As the published loaders: shuffled, what is left over at the end dropped, then shuffled again.
    With fewer than ``batch`` numbers: drawn with replacement.
    """

    def __init__(self, n: int, batch: int, rng: np.random.Generator):
        self.n, self.batch, self.rng = n, batch, rng
        self.order: IntArray = np.zeros(0, dtype=np.int64)
        self.position = 0

    def draw(self) -> IntArray:
        """(batch,) numbers."""
        if self.n < self.batch:
            return self.rng.integers(self.n, size=self.batch)
        if self.position + self.batch > len(self.order):
            self.order, self.position = self.rng.permutation(self.n), 0
        dealt = self.order[self.position : self.position + self.batch]
        self.position += self.batch
        return dealt

    def state(self) -> dict[str, Any]:
        """As JSON types."""
        return {"order": self.order.tolist(), "position": self.position}

    def restore(self, state: dict[str, Any]) -> None:
        """Back to ``state()``."""
        self.order = np.array(state["order"], dtype=np.int64)
        self.position = int(state["position"])


class BagSampler(Protocol):
    """An endless row of batches that can be interrupted."""

    def draw(self) -> Batch:
        """The next batch."""
        ...

    def state(self) -> dict[str, Any]:
        """Where the row stands, as JSON types."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Back to ``state()``."""
        ...


def make_bag_sampler(
    videos: Sequence[TrainingVideo], section: BagSection, recipe: Recipe, seed: int
) -> BagSampler:
    """The bags that ``section`` asks for.

    Raises:
        InputError: one class has no videos.
    """
    for abnormal, name in ((False, "normal"), (True, "abnormal")):
        if not any(video.abnormal == abnormal for video in videos):
            raise InputError(f"no {name} videos to train on; it takes both classes")
    rng = np.random.default_rng(seed)
    if section.mode == "joined":
        return JoinedBagSampler(videos, section, recipe, rng)
    return VideoBagSampler(videos, recipe, rng)


def make_batch(bags: Sequence[CropFeatures], normal: int) -> Batch:
    """Bags (S, D), the first ``normal`` of them normal."""
    labels = np.repeat(np.array([0, 1], dtype=np.float32), [normal, len(bags) - normal])
    return Batch(np.stack(bags), labels)


def read_bag(video: TrainingVideo, crop: int, n: int) -> CropFeatures:
    """One crop of a video in ``n`` segments, (n, D) a tile."""
    if video.bags is not None:
        return video.bags[crop]
    return mean_segments(video.views[crop], n, video.tiles)


def draw_common_view(
    videos: Sequence[Sequence[CropFeatures]], rng: np.random.Generator
) -> list[CropFeatures]:
    """One view of each video, the same of all as far as they have it."""
    view = int(rng.integers(max(len(views) for views in videos)))
    return [views[view % len(views)] for views in videos]


def concatenate_in_time(views: Sequence[CropFeatures], tiles: int) -> CropFeatures:
    """Views (tiles * T, D), one after the other in time, as one view."""
    joined = np.concatenate([v.reshape(tiles, -1, v.shape[1]) for v in views], axis=1)
    return joined.reshape(-1, joined.shape[2])


class VideoBagSampler:
    """A bag is one crop of one video."""

    def __init__(self, videos: Sequence[TrainingVideo], recipe: Recipe, rng: np.random.Generator):
        self.rng, self.segments = rng, recipe.segments
        # Places, not features: those that lie on disk are read when they are drawn.
        places = [(video, crop) for video in videos for crop in range(len(video.views))]
        self.normal = [place for place in places if not place[0].abnormal]
        self.abnormal = [place for place in places if place[0].abnormal]
        self.decks = (
            IndexSampler(len(self.normal), recipe.normal_bags, rng),
            IndexSampler(len(self.abnormal), recipe.abnormal_bags, rng),
        )

    def draw(self) -> Batch:
        """The next batch."""
        normal, abnormal = (deck.draw() for deck in self.decks)
        drawn = [self.normal[i] for i in normal] + [self.abnormal[i] for i in abnormal]
        bags = [read_bag(video, crop, self.segments) for video, crop in drawn]
        return make_batch(bags, len(normal))

    def state(self) -> dict[str, Any]:
        """Where the row stands, as JSON types."""
        return {
            "rng": self.rng.bit_generator.state,
            "decks": [deck.state() for deck in self.decks],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Back to ``state()``."""
        self.rng.bit_generator.state = state["rng"]
        for deck, saved in zip(self.decks, state["decks"], strict=True):
            deck.restore(saved)


class ClipJoiner:
    """Draws which short videos stand in a row in one longer one.

    Args:
        abnormal: (N,) which of the videos are abnormal; both kinds must be there.
        section: How many, and how many abnormal ones among them.
        rng: Where chance comes from.
    """

    def __init__(self, abnormal: NDArray[np.bool_], section: BagSection, rng: np.random.Generator):
        self.normal, self.abnormal = np.flatnonzero(~abnormal), np.flatnonzero(abnormal)
        self.section, self.rng = section, rng

    def draw(self, *, abnormal: bool) -> IntArray:
        """(n,) videos in order: normal ones, with ``abnormal`` a few abnormal ones among them."""
        n = int(self.rng.integers(self.section.clips[0], self.section.clips[1], endpoint=True))
        row = self._pick(self.normal, n)
        if abnormal:
            few, many = self.section.abnormal
            k = int(self.rng.integers(few, many, endpoint=True))
            places = self.rng.choice(n, k, replace=False)
            row[places] = self._pick(self.abnormal, k)
        return row

    def _pick(self, videos: IntArray, n: int) -> IntArray:
        return self.rng.choice(videos, n, replace=len(videos) < n)


class JoinedBagSampler:
    """A bag is several short videos in a row, all in one view, as a real video would be."""

    def __init__(
        self,
        videos: Sequence[TrainingVideo],
        section: BagSection,
        recipe: Recipe,
        rng: np.random.Generator,
    ):
        self.videos, self.recipe, self.rng = videos, recipe, rng
        self.joiner = ClipJoiner(np.array([video.abnormal for video in videos]), section, rng)

    def draw(self) -> Batch:
        """The next batch."""
        normal = [self._drawn(abnormal=False) for _ in range(self.recipe.normal_bags)]
        abnormal = [self._drawn(abnormal=True) for _ in range(self.recipe.abnormal_bags)]
        n, tiles = self.recipe.segments, self.videos[0].tiles
        rows = (concatenate_in_time(row, tiles) for row in normal + abnormal)
        return make_batch([mean_segments(row, n, tiles) for row in rows], len(normal))

    def _drawn(self, *, abnormal: bool) -> list[CropFeatures]:
        row = self.joiner.draw(abnormal=abnormal)
        return draw_common_view([self.videos[i].views for i in row], self.rng)

    def state(self) -> dict[str, Any]:
        """Where the row stands, as JSON types."""
        return {"rng": self.rng.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        """Back to ``state()``."""
        self.rng.bit_generator.state = state["rng"]


class UnlabelledBagSampler:
    """As many bags as a recipe's normal and abnormal ones together, each of any video.

    The labels of a batch say where a bag stands in it, and nothing else.
    """

    def __init__(
        self,
        videos: Sequence[TrainingVideo],
        section: BagSection,
        recipe: Recipe,
        rng: np.random.Generator,
    ):
        self.videos, self.section, self.recipe, self.rng = videos, section, recipe, rng
        self.places = [(video, crop) for video in videos for crop in range(len(video.views))]
        self.deck = IndexSampler(len(self.places), recipe.normal_bags + recipe.abnormal_bags, rng)

    def draw(self) -> Batch:
        """The next batch."""
        rows = self._joined() if self.section.mode == "joined" else self._single()
        bags = [read_bag(video, crop, self.recipe.segments) for video, crop in rows]
        return make_batch(bags, self.recipe.normal_bags)

    def _single(self) -> list[tuple[TrainingVideo, int]]:
        """One crop of one video each."""
        return [self.places[i] for i in self.deck.draw()]

    def _joined(self) -> list[tuple[TrainingVideo, int]]:
        """Several videos in a row each."""
        low, high = self.section.clips
        made = []
        for _ in range(self.deck.batch):
            n = int(self.rng.integers(low, high, endpoint=True))
            chosen = self.rng.choice(len(self.videos), n, replace=len(self.videos) < n)
            views: list[CropFeatures] = draw_common_view(
                [self.videos[i].views for i in chosen], self.rng
            )
            tiles = self.videos[0].tiles
            row = TrainingVideo((concatenate_in_time(views, tiles),), abnormal=False, tiles=tiles)
            made.append((row, 0))  # The label is not used.
        return made

    def state(self) -> dict[str, Any]:
        """Where the row stands, as JSON types."""
        return {"rng": self.rng.bit_generator.state, "deck": self.deck.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Back to ``state()``."""
        self.rng.bit_generator.state = state["rng"]
        self.deck.restore(state["deck"])


# Left free on the disk, in bytes.
_FREE_BYTES = 2 << 30

Tell = Callable[[int, int, str], None]


def with_cut_bags(
    videos: Sequence[TrainingVideo],
    seen: Sequence[Sequence[Features]],
    digests: Sequence[str],
    n: int,
    root: Path,
    progress: Tell,
) -> list[TrainingVideo]:
    """The videos with their bags, of those whose features lie on disk; what is kept is used again.

    Where there is no room for the bags, videos stay as they are: their bags are cut at every step.

    Args:
        videos: What training sees.
        seen: The features that each video's views are of.
        digests: What tells the videos' features apart.
        n: Segments S.
        root: Of the store.
        progress: Called with (videos done, videos in all, what is done).

    Raises:
        InputError: features cannot be read.
        OddframeError: bags cannot be written.
    """
    places = [
        [_bag_file(root / "segments", digest, features, n) for features in each]
        for each, digest in zip(seen, digests, strict=True)
    ]
    if not any(path for paths in places for path in paths):
        return list(videos)
    if not _fits_on_disk(seen, places, n, root):
        return list(videos)
    found = []
    for done, (video, each, paths) in enumerate(zip(videos, seen, places, strict=True), start=1):
        pairs = zip(each, paths, strict=True)
        bags = [_load_or_cut(features, path, n) for features, path in pairs if path is not None]
        found.append(replace(video, bags=CropViews(bags)) if len(bags) == len(each) else video)
        progress(done, len(videos), f"{n} segments")
    return found


def _fits_on_disk(
    seen: Sequence[Sequence[Features]], places: Sequence[Sequence[Path | None]], n: int, root: Path
) -> bool:
    """Whether what is not there yet fits on the disk."""
    lacking = 0
    for each, paths in zip(seen, places, strict=True):
        for features, path in zip(each, paths, strict=True):
            if path is not None and not _is_current(path, features, n):
                crops, _, dim = features.array.shape
                lacking += 4 * crops * n * dim
    return not lacking or lacking + _FREE_BYTES < shutil.disk_usage(_nearest_existing(root)).free


def _bag_file(folder: Path, digest: str, features: Features, n: int) -> Path | None:
    if not isinstance(features.array, CropArray) or features.spec.tiles is not None:
        return None
    return folder / digest[:2] / f"{digest}-{features.spec.hash()}-{n}.npy"


def _is_current(path: Path, features: Features, n: int) -> bool:
    """Whether bags of this shape are there, and of the features as they are now."""
    crops, _, dim = features.array.shape
    files = features.array.files if isinstance(features.array, CropArray) else ()
    try:
        changed_ns = max((file.stat().st_mtime_ns for file in files if file.exists()), default=0)
        fresh = path.stat().st_mtime_ns >= changed_ns
        return fresh and read_npy_header(path).shape == (crops, n, dim)
    except (InputError, OSError):
        return False


def _load_or_cut(features: Features, path: Path, n: int) -> CropArray:
    """(C, S, D) the features in segments, cut and kept if they are not there yet."""
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


def _nearest_existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
