"""Labels in time: which snippets of a video, and which segments of a bag, they are about.

Clicks are times at which an anomaly is happening, rejected times are times at which nothing is.
Here both become numbers for each snippet; what training does with them, ``click_term.py`` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oddframe.datasets.labelled import Intervals, LabelledVideo, TimeLabels
from oddframe.errors import InputError
from oddframe.timeline import FloatArray, Timebase

# Places are rounded to this many decimals, so that a click at the border of a segment is in it.
_DECIMALS = 9


@dataclass(frozen=True)
class SnippetLabels:
    """What is known of the T snippets of a view.

    Attributes:
        distance: (T,) seconds from each snippet to the nearest click; 0 if it covers one, infinite
            without clicks.
        target: (T,) the share of each snippet in which an anomaly happens, where that is known.
        known: (T,) whether it is known.
        places: (K,) the clicks in the row of snippets, in [0, T): 2.5 is half-way through the third
            snippet.
    """

    distance: FloatArray
    target: FloatArray
    known: NDArray[np.bool_]
    places: FloatArray

    def __len__(self) -> int:
        return len(self.distance)

    @staticmethod
    def unknown(length: int) -> SnippetLabels:
        """The labels of snippets of which nothing is known."""
        nothing = np.zeros(length)
        return SnippetLabels(nothing + np.inf, nothing, nothing > 0, np.empty(0))

    @staticmethod
    def join(parts: Sequence[SnippetLabels]) -> SnippetLabels:
        """The labels of views that are joined in time. A click says nothing of another part."""
        starts = np.cumsum([0, *map(len, parts)])[:-1]
        return SnippetLabels(
            np.concatenate([part.distance for part in parts]),
            np.concatenate([part.target for part in parts]),
            np.concatenate([part.known for part in parts]),
            np.concatenate([p.places + start for p, start in zip(parts, starts, strict=True)]),
        )


class BagLabels(NamedTuple):
    """What is known of the S segments of B bags: (B, S) each, as in ``SnippetLabels``.

    ``clicked`` says which segments clicks are in, by the rule of the published code.
    """

    distance: NDArray[np.float32]
    target: NDArray[np.float32]
    known: NDArray[np.bool_]
    clicked: NDArray[np.bool_]


def label_video(video: LabelledVideo, timebase: Timebase, *, events: bool) -> SnippetLabels | None:
    """The labels of a video's snippets; None if it has none.

    With ``events``, the intervals of an abnormal video are labels, too: it is known that nothing
    happens outside them, and its clicks have nothing to add.

    Raises:
        InputError: a time lies outside the video.
    """
    labels = video.time_labels.seconds(timebase.fps, timebase.start_s)
    if outside := labels.find_outside(timebase.start_s, timebase.end_s):
        raise InputError(f"{video.path}: {outside}")
    intervals = None
    if events and video.abnormal and video.truth is not None:
        intervals = video.truth.seconds(timebase)
    if not labels and intervals is None:
        return None
    return label_snippets(timebase.snippet_times(), labels, intervals)


def label_snippets(
    spans: FloatArray, labels: TimeLabels, intervals: Intervals | None = None
) -> SnippetLabels:
    """The labels of snippets with the ``spans`` (T, 2), start and end in seconds.

    Times outside the spans count as at their end. ``intervals``: see ``label_video``.
    """
    starts, ends = spans[:, 0], spans[:, 1]
    if intervals is not None:
        # Rounding may leave the range by a little.
        share = np.clip(_covered(intervals, starts, ends) / (ends - starts), 0.0, 1.0)
        unknown = SnippetLabels.unknown(len(spans))
        return SnippetLabels(unknown.distance, share, np.ones(len(spans), bool), unknown.places)
    clicks, rejected = (
        np.clip(np.array(times, dtype=np.float64), starts[0], ends[-1])
        for times in (labels.clicks, labels.rejected)
    )
    distance = _distance(clicks, starts, ends)
    first = np.minimum(np.searchsorted(ends, rejected, side="right"), len(spans) - 1)
    last = np.searchsorted(starts, rejected, side="right")  # Exclusive.
    changes = np.zeros(len(spans) + 1, dtype=np.int64)
    np.add.at(changes, first, 1)
    np.add.at(changes, np.maximum(first, last), -1)
    known = (changes.cumsum()[:-1] > 0) & (distance > 0)
    return SnippetLabels(distance, np.zeros(len(spans)), known, _places(clicks, starts, ends[-1]))


def _distance(clicks: FloatArray, starts: FloatArray, ends: FloatArray) -> FloatArray:
    padded = np.concatenate([[-np.inf], np.sort(clicks), [np.inf]])
    after = np.searchsorted(padded, starts)
    to_next, to_last = np.maximum(padded[after] - ends, 0.0), starts - padded[after - 1]
    return np.asarray(np.minimum(to_next, to_last))


def _places(clicks: FloatArray, starts: FloatArray, end: float) -> FloatArray:
    snippet = np.maximum(np.searchsorted(starts, clicks, side="right") - 1, 0)
    edges = np.append(starts, end)
    inside = (clicks - starts[snippet]) / (edges[snippet + 1] - starts[snippet])
    last = np.nextafter(len(starts), 0.0)
    return np.unique(np.minimum(np.round(snippet + inside, _DECIMALS), last))


def _covered(intervals: Intervals, starts: FloatArray, ends: FloatArray) -> FloatArray:
    """Seconds of each span that lie in the intervals, which are sorted and disjoint."""
    if not intervals:
        return np.zeros(len(starts))
    pairs = np.array(intervals, dtype=np.float64)
    sums = np.cumsum(pairs[:, 1] - pairs[:, 0])
    before = np.stack([sums - (pairs[:, 1] - pairs[:, 0]), sums], axis=1)
    until_end, until_start = (np.interp(t, pairs.ravel(), before.ravel()) for t in (ends, starts))
    return np.asarray(until_end - until_start)


def segment_bounds(length: int, n: int) -> NDArray[np.int64]:
    """(n + 1,) where each of n segments of ``length`` snippets starts and the last one ends."""
    return np.linspace(0, length, n + 1).astype(np.int64)


def label_bags(bags: Sequence[SnippetLabels], n: int) -> BagLabels:
    """The labels of bags that are averaged to n segments, as ``mean_segments`` averages them.

    A segment is as near to a click as its nearest snippet is, and known where one of its snippets
    is; its target is the mean of those.
    """
    distance, target, known, clicked = [], [], [], []
    for bag in bags:
        first = segment_bounds(len(bag), n)[:-1]
        distance.append(np.minimum.reduceat(bag.distance, first))
        weight = np.add.reduceat(bag.known.astype(np.float64), first)
        known.append(weight > 0)
        total = np.add.reduceat(np.where(bag.known, bag.target, 0.0), first)
        target.append(total / np.maximum(weight, 1.0))
        row = np.zeros(n, dtype=bool)
        row[(bag.places / len(bag) * n).astype(np.int64)] = True
        clicked.append(row)
    return BagLabels(
        np.stack(distance).astype(np.float32),
        np.stack(target).astype(np.float32),
        np.stack(known),
        np.stack(clicked),
    )
