"""How exactly events are placed in time: average precision over temporal overlaps, and boundaries.

The protocol is the field's (mAP@tIoU, as in VadCLIP, Wu et al., AAAI 2024), for the one class
"abnormal": a video's scores are cut into intervals at a level relative to its own highest score, so
no threshold is needed, and intervals are ranked over all abnormal videos.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from oddframe.datasets.labelled import Intervals
from oddframe.timeline import FloatArray, ScoreTrack

OVERLAPS = (0.1, 0.2, 0.3, 0.4, 0.5)
# How far below a video's highest score its intervals are cut, as a share of the scores' range.
_DEPTH = 0.6
# An interval's rank is its highest score plus this times the mean of the video's highest scores.
_VIDEO_WEIGHT = 0.7
_TOP_SHARE = 16
_MIN_FRAMES = 2


@dataclass(frozen=True)
class LocalisedVideo:
    """The predicted and the true intervals of a video, on one clock (frames or seconds)."""

    proposals: FloatArray  # (P, 3) start, end and score.
    truth: FloatArray  # (E, 2) start and end.


def localise(track: ScoreTrack, truth: Intervals) -> LocalisedVideo:
    """A video's proposals beside its true intervals, in seconds."""
    proposals = propose_intervals(track.to_frames())
    starts, ends = proposals[:, 0].astype(int), proposals[:, 1].astype(int) - 1
    base = track.timebase
    proposals[:, 0], proposals[:, 1] = base.frame_times[starts], base.frame_ends[ends]
    return LocalisedVideo(proposals, np.array(truth, dtype=np.float64).reshape(-1, 2))


def propose_intervals(scores: FloatArray) -> FloatArray:
    """(P, 3) intervals of a video by the field's protocol, from the (T,) scores of its frames.

    An interval is a run of at least two frames whose scores are above the highest one less 60 % of
    the range. Its score is its highest one plus 0.7 times the mean of the top sixteenth.
    """
    if not len(scores):
        return np.empty((0, 3))
    top = np.sort(scores)[::-1][: max(1, len(scores) // _TOP_SHARE)].mean()
    above = scores > scores.max() - _DEPTH * np.ptp(scores)
    edges = np.flatnonzero(np.diff(above, prepend=False, append=False)).reshape(-1, 2)
    runs = edges[edges[:, 1] - edges[:, 0] >= _MIN_FRAMES]
    ranks = [scores[start:end].max() + _VIDEO_WEIGHT * top for start, end in runs]
    return np.column_stack([runs, ranks]) if len(runs) else np.empty((0, 3))


def overlap_shares(proposals: FloatArray, truth: FloatArray) -> FloatArray:
    """(P, E) intersection over union of intervals: (P, 2 or more) with (E, 2)."""
    starts, ends = proposals[:, :1], proposals[:, 1:2]
    shared = np.minimum(ends, truth[:, 1]) - np.maximum(starts, truth[:, 0])
    shared = np.maximum(shared, 0.0)
    union = (ends - starts) + (truth[:, 1] - truth[:, 0]) - shared
    return np.asarray(shared / np.maximum(union, 1e-12))


def interval_precision(videos: Sequence[LocalisedVideo], overlap: float) -> float:
    """Average precision of all videos' intervals at a temporal overlap; ``nan`` without truth.

    In order of falling score, an interval is right if it overlaps a true one that none has claimed
    by at least ``overlap``; it claims the one that it overlaps most.
    """
    count = sum(len(video.truth) for video in videos)
    if not count:
        return float("nan")
    ranked = sorted(
        ((row[2], number, index) for number, video in enumerate(videos)
         for index, row in enumerate(video.proposals)),
        key=lambda each: -each[0],
    )  # fmt: skip
    shares = [overlap_shares(video.proposals, video.truth) for video in videos]
    right = np.zeros(len(ranked), dtype=bool)
    for rank, (_, number, index) in enumerate(ranked):
        free = shares[number][index]
        if free.size and free.max() >= overlap:
            right[rank] = True
            shares[number][:, int(free.argmax())] = -1.0
    precision = right.cumsum() / np.arange(1, len(right) + 1)
    return float(precision[right].sum() / count)


def mean_average_precision(videos: Sequence[LocalisedVideo]) -> Mapping[float, float]:
    """Average precision at each of ``OVERLAPS``."""
    return {overlap: interval_precision(videos, overlap) for overlap in OVERLAPS}


def boundary_errors(events: FloatArray, truth: FloatArray) -> FloatArray:
    """(2 F,) distances of the starts and ends of the F true intervals that an event touches.

    Each is compared with the event, (P, 2), that it overlaps most.
    """
    if not len(events) or not len(truth):
        return np.empty(0)
    shares = overlap_shares(events, truth)
    found = shares.max(axis=0) > 0
    best = events[shares.argmax(axis=0)[found], :2]
    return np.asarray(np.abs(best - truth[found]).ravel())
