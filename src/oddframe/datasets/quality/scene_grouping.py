"""Which videos show the same place, by the likeness of their backgrounds.

Clips of one recording look alike. Parted between training and test they make a figure better than
it is, so places are found where no groups are given.

Measured on Surveillance Fight, the limit set on every other one of its 37 recordings: of the pairs
of clips that are from one of the other 18, 43 % end up in one place (most recordings are joined
from several cameras), and no pair of two recordings does: precision 1.00, recall 0.43.

The background of a video as a vector, to distinguish places.

Histograms of gradients (Dalal and Triggs, CVPR 2005) of the median of a few pictures: where edges
are and which side of them is brighter, but not how bright, so that it survives changes of light and
people who pass by.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from oddframe._utils.files import write_bytes
from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.datasets.precomputed import has_precomputed_features
from oddframe.errors import InputError, OddframeError
from oddframe.features.store.store import FeatureStore, content_hash
from oddframe.video.decoding.sample import sample_pictures

Background = NDArray[np.float32]

_READ, _SIZE = (192, 144), (96, 72)  # Width and height, in pixels.
_CELL, _DIRECTIONS = 8, 8
BACKGROUND_DIM = (_SIZE[0] // _CELL) * (_SIZE[1] // _CELL) * _DIRECTIONS
# Grey levels: up to the first, bars beside the picture are black; edges well below the second count
# for little.
_BLACK, _FAINT = 24, 5.0
_VERSION = 1  # Of what is kept: another number for every other way of making it.


def compute_background(path: Path) -> Background:
    """(LENGTH,) the background of a video: zero mean, unit length; all 0 where nothing is seen.

    Black bars are cut off: videos with the same bars would look alike.

    Raises:
        InputError: no picture of the video can be read.
    """
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in sample_pictures(path, _READ)]
    still = _without_bars(np.median(grey, axis=0).astype(np.uint8))
    small = cv2.resize(still, _SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)
    x, y = cv2.Sobel(small, cv2.CV_32F, 1, 0), cv2.Sobel(small, cv2.CV_32F, 0, 1)
    turn = np.arctan2(y, x) / (2 * np.pi) + 1
    direction = (turn * _DIRECTIONS).astype(int) % _DIRECTIONS
    cells = (_SIZE[0] // _CELL, _SIZE[1] // _CELL)
    seen = np.stack(
        [
            cv2.resize(np.hypot(x, y) * (direction == i), cells, interpolation=cv2.INTER_AREA)
            for i in range(_DIRECTIONS)
        ]
    )
    flat = (seen / (np.sqrt((seen**2).sum(axis=0)) + _FAINT)).ravel()
    flat -= flat.mean()
    return np.asarray(flat / max(float(np.linalg.norm(flat)), 1e-6), dtype=np.float32)


def cached_background(path: Path, sha256: str, store: FeatureStore) -> Background:
    """As ``compute_background``, but a video that was looked at before is not decoded again.

    Args:
        path: The video.
        sha256: Of its content.
        store: In its folder it is kept, one small file a video.

    Raises:
        InputError: no picture of the video can be read.
    """
    file = store.root / sha256[:2] / f"{sha256}-background{_VERSION}.npy"
    with suppress(OSError, ValueError, EOFError):
        kept = np.load(file, allow_pickle=False).astype(np.float32)
        if kept.shape == (BACKGROUND_DIM,) and np.isfinite(kept).all():
            return np.asarray(kept, dtype=np.float32)
    found = compute_background(path)
    data = io.BytesIO()
    np.save(data, found.astype(np.float16), allow_pickle=False)
    with suppress(OddframeError):  # It only saves time.
        write_bytes(file, data.getvalue())
    return found


def _without_bars(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    bright = picture > _BLACK
    rows, columns = (np.flatnonzero(bright.mean(axis=axis) > 0.02) for axis in (1, 0))
    # Half of the picture in the dark is night, not bars.
    if len(rows) < picture.shape[0] / 2 or len(columns) < picture.shape[1] / 2:
        return picture
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


ProgressCallback = Callable[[int, int], None]

SAME_SCENE = 0.4
"""Correlation of two backgrounds from which on they show one place. Clips of two recordings reached
0.34 where it was set, and 0.25 on the others."""


def find_scenes(
    dataset: Dataset,
    progress: ProgressCallback | None = None,
    *,
    store: FeatureStore | None = None,
    hashes: Mapping[Path, str] | None = None,
) -> dict[Path, str]:
    """Videos by place: the path of the first one that is linked to them.

    Two videos whose backgrounds are alike are linked, and links join: what A has in common with B
    and B with C is one place. Files of features show nothing, and what cannot be read is left out.

    Args:
        dataset: The videos.
        progress: Called with (videos done, videos in all).
        store: Where what was found of a video is kept, so that it is not decoded again.
        hashes: sha256 of videos' contents, as far as they are known.
    """
    known = hashes or {}
    seen: dict[Path, Background] = {}
    for done, video in enumerate(dataset.videos, start=1):
        path = video.path
        if not has_precomputed_features(video):
            with suppress(InputError):
                seen[path] = (
                    compute_background(path)
                    if store is None
                    else cached_background(path, known.get(path) or content_hash(path), store)
                )
        if progress is not None:
            progress(done, len(dataset))
    paths = list(seen)
    first = _linked(np.array(list(seen.values())))
    return {path: str(paths[first[i]]) for i, path in enumerate(paths)}


def _linked(seen: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N,) for each of (N, D) backgrounds the first one that links lead to."""
    first = np.arange(len(seen))
    for i in range(1, len(seen)):
        joined = np.unique(first[:i][seen[:i] @ seen[i] >= SAME_SCENE])
        if joined.size:
            first[: i + 1][np.isin(first[: i + 1], [*joined, i])] = joined[0]
    return first


def assign_scene_groups(dataset: Dataset, places: Mapping[Path, str]) -> Dataset:
    """Group videos without a group by the place that they show.

    They get the group of the first video of their place, a given one before others.
    """
    groups: dict[str, str] = {}
    for video in sorted(dataset.videos, key=lambda video: video.fallback_group != ""):
        if video.path in places:
            groups.setdefault(places[video.path], video.group)

    def put(video: LabelledVideo) -> LabelledVideo:
        if not video.fallback_group or video.path not in places:
            return video
        return replace(video, group=groups[places[video.path]])

    return replace(dataset, videos=tuple(map(put, dataset.videos)))


def same_scene_warnings(dataset: Dataset, places: Mapping[Path, str]) -> list[str]:
    """A line for each place that is in more than one of the groups that were given."""
    shown: dict[str, dict[str, LabelledVideo]] = defaultdict(dict)
    for video in dataset.videos:
        if video.path in places and not video.fallback_group:
            shown[places[video.path]].setdefault(video.group, video)
    lines = []
    for groups in shown.values():
        if len(groups) > 1:
            (one, first), (other, second), *rest = groups.items()
            more = f" and {len(rest)} more groups" if rest else ""
            lines.append(
                f"the groups '{one}' and '{other}'{more} seem to show one place "
                f"({first.path.name}, {second.path.name}): make them one group, or read figures "
                "as of this place, not of new ones"
            )
    return lines
