"""Finds videos that show the same scene, by comparing their backgrounds.

Clips of one recording look alike. If some are in the training set and some in the test set, results
are too good. So videos without a given group are grouped by scene.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from oddframe._utils.files import write_bytes
from oddframe._utils.progress import ProgressCallback
from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.datasets.precomputed import has_precomputed_features
from oddframe.errors import InputError, OddframeError
from oddframe.features.store.store import FeatureStore, content_hash
from oddframe.video.decoding.probe import sample_pictures

Background = NDArray[np.float32]

_READ, _SIZE = (192, 144), (96, 72)  # Width and height, in pixels.
_CELL, _DIRECTIONS = 8, 8
BACKGROUND_DIM = (_SIZE[0] // _CELL) * (_SIZE[1] // _CELL) * _DIRECTIONS
# Grey levels: bars beside the picture are darker than the first; edges much weaker than the second
# have little weight.
_BLACK, _FAINT = 24, 5.0
_VERSION = 1  # Of cached backgrounds: to be increased with every change of the computation.


def compute_background(path: Path) -> Background:
    """(BACKGROUND_DIM,) the background of a video: zero mean, unit length; 0 if it has no edges.

    Histograms of oriented gradients (Dalal and Triggs, CVPR 2005) of the median of a few frames:
    where edges are and which side is brighter, but not how bright, so that light and people that
    pass by matter little. Black bars are cut off: videos with the same bars would look alike.
    """
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in sample_pictures(path, _READ)]
    median = _without_bars(np.median(grey, axis=0).astype(np.uint8))
    small = cv2.resize(median, _SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)
    x, y = cv2.Sobel(small, cv2.CV_32F, 1, 0), cv2.Sobel(small, cv2.CV_32F, 0, 1)
    turns = np.arctan2(y, x) / (2 * np.pi) + 1
    direction = (turns * _DIRECTIONS).astype(int) % _DIRECTIONS
    cells = (_SIZE[0] // _CELL, _SIZE[1] // _CELL)
    histograms = np.stack(
        [
            cv2.resize(np.hypot(x, y) * (direction == i), cells, interpolation=cv2.INTER_AREA)
            for i in range(_DIRECTIONS)
        ]
    )
    flat = (histograms / (np.sqrt((histograms**2).sum(axis=0)) + _FAINT)).ravel()
    flat -= flat.mean()
    return np.asarray(flat / max(float(np.linalg.norm(flat)), 1e-6), dtype=np.float32)


def cached_background(path: Path, sha256: str, store: FeatureStore) -> Background:
    """As ``compute_background``, but decode a video only once; its content has this ``sha256``."""
    file = store.root / sha256[:2] / f"{sha256}-background{_VERSION}.npy"
    with suppress(OSError, ValueError, EOFError):
        cached = np.load(file, allow_pickle=False).astype(np.float32)
        if cached.shape == (BACKGROUND_DIM,) and np.isfinite(cached).all():
            return np.asarray(cached, dtype=np.float32)
    background = compute_background(path)
    data = io.BytesIO()
    np.save(data, background.astype(np.float16), allow_pickle=False)
    with suppress(OddframeError):  # The cache only saves time.
        write_bytes(file, data.getvalue())
    return background


def _without_bars(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    bright = picture > _BLACK
    rows, columns = (np.flatnonzero(bright.mean(axis=axis) > 0.02) for axis in (1, 0))
    # More than half of the frame dark is night, not bars.
    if len(rows) < picture.shape[0] / 2 or len(columns) < picture.shape[1] / 2:
        return picture
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


SAME_SCENE = 0.4
"""Two backgrounds with at least this correlation show one scene. On Surveillance Fight, the highest
correlation of clips from two recordings was 0.34 on the 19 recordings on which this limit was
chosen, and 0.25 on the other 18: precision 1.00, recall 0.43 (most recordings are joined from
several cameras)."""


def find_scenes(
    dataset: Dataset,
    progress: ProgressCallback | None = None,
    *,
    store: FeatureStore | None = None,
    hashes: Mapping[Path, str] | None = None,
) -> dict[Path, str]:
    """The scene of each video, named by the path of the first video that shows it.

    Videos with similar backgrounds are linked, and all videos connected by links show one scene.
    Feature files and videos that cannot be read have no scene. Backgrounds are cached in ``store``;
    ``hashes`` are sha256 of the contents of videos, if known.
    """
    known = hashes or {}
    backgrounds: dict[Path, Background] = {}
    for done, video in enumerate(dataset.videos, start=1):
        path = video.path
        if not has_precomputed_features(video):
            with suppress(InputError):
                backgrounds[path] = (
                    compute_background(path)
                    if store is None
                    else cached_background(path, known.get(path) or content_hash(path), store)
                )
        if progress is not None:
            progress(done, len(dataset), "comparing scenes")
    paths = list(backgrounds)
    first = _connected_components(np.array(list(backgrounds.values())))
    return {path: str(paths[first[i]]) for i, path in enumerate(paths)}


def _connected_components(backgrounds: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N,) for each of (N, D) backgrounds the index of the first one that it is connected to."""
    first = np.arange(len(backgrounds))
    for i in range(1, len(backgrounds)):
        joined = np.unique(first[:i][backgrounds[:i] @ backgrounds[i] >= SAME_SCENE])
        if joined.size:
            first[: i + 1][np.isin(first[: i + 1], [*joined, i])] = joined[0]
    return first


def assign_scene_groups(dataset: Dataset, scenes: Mapping[Path, str]) -> Dataset:
    """Group the videos without a given group by scene.

    They get the group of the first video of their scene, of one with a given group if there is one.
    """
    groups: dict[str, str] = {}
    for video in sorted(dataset.videos, key=lambda video: video.fallback_group != ""):
        if video.path in scenes:
            groups.setdefault(scenes[video.path], video.group)

    def regroup(video: LabelledVideo) -> LabelledVideo:
        if not video.fallback_group or video.path not in scenes:
            return video
        return replace(video, group=groups[scenes[video.path]])

    return replace(dataset, videos=tuple(map(regroup, dataset.videos)))


def same_scene_warnings(dataset: Dataset, scenes: Mapping[Path, str]) -> list[str]:
    """A line for each scene that is in more than one of the given groups."""
    groups_of_scene: dict[str, dict[str, LabelledVideo]] = defaultdict(dict)
    for video in dataset.videos:
        if video.path in scenes and not video.fallback_group:
            groups_of_scene[scenes[video.path]].setdefault(video.group, video)
    lines = []
    for groups in groups_of_scene.values():
        if len(groups) > 1:
            (one, first), (other, second), *rest = groups.items()
            more = f" and {len(rest)} more groups" if rest else ""
            lines.append(
                f"the groups '{one}' and '{other}'{more} seem to show one place "
                f"({first.path.name}, {second.path.name}): make them one group, or read figures "
                "as of this place, not of new ones"
            )
    return lines
