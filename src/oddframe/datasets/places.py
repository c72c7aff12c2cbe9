"""Which videos show the same place, by the likeness of their backgrounds.

Clips of one recording look alike. Parted between training and test they make a figure better than
it is, so places are found where no groups are given.

Measured on Surveillance Fight, the limit set on every other one of its 37 recordings: of the pairs
of clips that are from one of the other 18, 43 % end up in one place (most recordings are joined
from several cameras), and no pair of two recordings does: precision 1.00, recall 0.43.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oddframe.datasets.background import Background, background, kept_background
from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.datasets.ready import is_ready
from oddframe.errors import InputError
from oddframe.features.store import FeatureStore, content_hash

Progress = Callable[[int, int], None]

SAME_PLACE = 0.4
"""Correlation of two backgrounds from which on they show one place. Clips of two recordings reached
0.34 where it was set, and 0.25 on the others."""


def find_places(
    dataset: Dataset,
    progress: Progress | None = None,
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
        if not is_ready(video):
            with suppress(InputError):
                seen[path] = (
                    background(path)
                    if store is None
                    else kept_background(path, known.get(path) or content_hash(path), store)
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
        joined = np.unique(first[:i][seen[:i] @ seen[i] >= SAME_PLACE])
        if joined.size:
            first[: i + 1][np.isin(first[: i + 1], [*joined, i])] = joined[0]
    return first


def grouped_by_place(dataset: Dataset, places: Mapping[Path, str]) -> Dataset:
    """Group videos without a group by the place that they show.

    They get the group of the first video of their place, a given one before others.
    """
    groups: dict[str, str] = {}
    for video in sorted(dataset.videos, key=lambda video: video.own_group != ""):
        if video.path in places:
            groups.setdefault(places[video.path], video.group)

    def put(video: LabelledVideo) -> LabelledVideo:
        if not video.own_group or video.path not in places:
            return video
        return replace(video, group=groups[places[video.path]])

    return replace(dataset, videos=tuple(map(put, dataset.videos)))


def same_place_warnings(dataset: Dataset, places: Mapping[Path, str]) -> list[str]:
    """A line for each place that is in more than one of the groups that were given."""
    shown: dict[str, dict[str, LabelledVideo]] = defaultdict(dict)
    for video in dataset.videos:
        if video.path in places and not video.own_group:
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
