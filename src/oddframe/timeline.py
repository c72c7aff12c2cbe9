"""Basic types: ``Timebase`` (frames, snippets and seconds), ``ScoreTrack``, ``Event``.

A backbone computes features of *snippets* of, say, 16 frames, and a method scores each snippet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from oddframe.errors import InputError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Time stamps are rational numbers rounded to floats: a frame this close (s) to a tick is on it.
TICK_TOLERANCE_S = 1e-6
_MAX_TICKS = 2**53  # Floats represent integers exactly up to here.
# A file of scores or features cannot describe more frames than this for each of its bytes; files
# that oddframe writes describe about five.
_MAX_FRAMES_PER_BYTE = 100


def labelled_intervals(
    labels: NDArray[np.bool_], edges: FloatArray
) -> tuple[tuple[float, float], ...]:
    """Half-open time intervals of labelled frames (n,); ``edges`` (n + 1,) is where they start."""
    padded = np.concatenate([[False], labels, [False]])
    changes = np.flatnonzero(padded[1:] != padded[:-1])
    return tuple((start, end) for start, end in edges[changes].reshape(-1, 2).tolist())


class _Segments(NamedTuple):
    """The segments of a video between the gaps in its time line, (K,) each."""

    first: IntArray  # Number of the first frame, and of the last one.
    last: IntArray
    start_s: FloatArray
    end_s: FloatArray
    ticks: IntArray  # How many.
    snippets: IntArray


def count_snippets(n_ticks: int | IntArray, snippet_frames: int, stride: int) -> IntArray:
    """Number of snippets that cover ``n_ticks`` ticks, at least 1."""
    after_first = np.maximum(0, np.asarray(n_ticks) - max(snippet_frames, stride))
    return np.asarray(1 + -(-after_first // stride))


@dataclass(frozen=True)
class Timebase:
    """Converts between frames, snippets and seconds of one video.

    Snippet ``i`` consists of the ``snippet_frames`` frames from ``i * stride`` on; where the video
    ends first, the last frame is repeated. With ``rate``, the video is resampled to that constant
    rate (frames are dropped or repeated by their time stamps); a *tick* is one resampled frame, and
    snippets and ``stride`` count ticks. Without ``rate``, ticks are the frames themselves.

    A gap in the time line (``gaps``) separates two segments, which are cut into snippets like two
    videos: no snippet contains frames of both, and no tick lies in the gap. Ticks and snippets are
    numbered consecutively over all segments.

    Seconds are those that a player shows: 0 is where the audio or the picture of the file starts,
    whichever is earlier. Counts and lengths are computed without an array of that length.

    Attributes:
        fps: Average frame rate of the video without its gaps, frames a second.
        n_frames: Number of frames, at least 1.
        snippet_frames: Number of frames (ticks) in a snippet.
        stride: Ticks from one snippet's start to the next one's. If it is less than
            ``snippet_frames``, snippets overlap; if it is more, the ticks between two snippets
            belong to the earlier one.
        rate: Ticks a second; None: one tick for each frame.
        pts: (n_frames,) time of each frame in seconds, increasing; None: constant rate.
        start_s: When the first frame is shown, in seconds; with ``pts``, its first entry.
        gaps: Numbers of the frames that follow a gap, increasing; only with ``pts``.
    """

    fps: float
    n_frames: int
    snippet_frames: int = 16
    stride: int = 16
    rate: float | None = None
    pts: FloatArray | None = field(default=None, compare=False, repr=False)
    start_s: float = 0.0
    gaps: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not (np.isfinite(self.fps) and self.fps > 0):
            raise InputError(f"a frame rate must be a positive number, not {self.fps}")
        if self.n_frames < 1 or self.snippet_frames < 1 or self.stride < 1:
            raise InputError(
                f"a video needs at least one frame, snippets at least one frame and stride: got "
                f"{self.n_frames} frames, snippets of {self.snippet_frames}, stride {self.stride}"
            )
        if self.rate is not None and not (np.isfinite(self.rate) and self.rate > 0):
            raise InputError(f"a sampling rate must be a positive number, not {self.rate}")
        if max(self.n_frames, self.snippet_frames, self.stride) > _MAX_TICKS:
            raise InputError(
                f"{self.n_frames} frames, snippets of {self.snippet_frames}, stride {self.stride}: "
                "more than can be counted"
            )
        if self.pts is not None:
            if self.pts.shape != (self.n_frames,):
                raise InputError(f"{self.n_frames} frames, but time stamps {self.pts.shape}")
            if not np.isfinite(self.pts).all() or (np.diff(self.pts) <= 0).any():
                raise InputError("time stamps must be finite and increase from frame to frame")
            object.__setattr__(self, "start_s", float(self.pts[0]))
        if not np.isfinite(self.start_s):
            raise InputError(f"the first frame is shown at a number of seconds, not {self.start_s}")
        if self.gaps and self.pts is None:
            raise InputError("gaps in the time line need the time stamps of the frames")
        if any(b <= a for a, b in pairwise((0, *self.gaps, self.n_frames))):
            raise InputError(f"gaps must be between the first and the last frame: {self.gaps[:9]}")
        if self.gaps and (np.diff(self.gap_times) <= 0).any():
            raise InputError("a gap must be longer than a frame is shown")
        if not self.duration_s * (self.rate or 1) < _MAX_TICKS:
            raise InputError(f"a video of {self.duration_s:g} s: longer than can be counted")

    def check_claims(self, snippets: int, size: int) -> None:
        """Check that a file of ``size`` bytes with so many ``snippets`` can describe the video."""
        if self.n_snippets != snippets:
            raise InputError(
                f"it says {self.n_frames} frames, which is {self.n_snippets} snippets, and holds "
                f"{snippets}"
            )
        if max(self.n_frames, self.n_ticks) > _MAX_FRAMES_PER_BYTE * size:
            raise InputError(f"it says {self.n_frames} frames, too many for its {size} bytes")

    @property
    def frame_times(self) -> FloatArray:
        """(n_frames,) when each frame is first shown, in seconds."""
        if self.pts is not None:
            return self.pts
        return self.start_s + np.arange(self.n_frames) / self.fps

    @property
    def frame_ends(self) -> FloatArray:
        """(n_frames,) when each frame leaves the screen, in seconds.

        The last frame, and each frame before a gap, is shown for the average frame interval.
        """
        ends = np.append(self.frame_times[1:], 0.0)
        ends[self._segments.last] = self._segments.end_s
        return ends

    @property
    def end_s(self) -> float:
        """When the last frame leaves the screen, in seconds."""
        return float(self._times(self.n_frames - 1)) + 1.0 / self.fps

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame to the end, gaps included."""
        return self.end_s - self.start_s

    @property
    def covered_s(self) -> float:
        """Seconds of the video without its gaps, for which there are scores."""
        if not self.gaps:
            return self.duration_s
        return float((self._segments.end_s - self._segments.start_s).sum())

    @property
    def gap_times(self) -> FloatArray:
        """(len(gaps), 2) start and end of each gap in the time line, in seconds."""
        return np.stack([self._segments.end_s[:-1], self._segments.start_s[1:]], axis=1)

    @property
    def segments(self) -> IntArray:
        """(len(gaps) + 1, 2) half-open frame intervals of the segments between gaps."""
        return np.stack([self._segments.first, self._segments.last + 1], axis=1)

    @property
    def frame_ticks(self) -> IntArray:
        """(n_frames,) the tick that each frame belongs to."""
        if self.rate is None:
            return np.arange(self.n_frames)
        parts = self._segments
        lengths = parts.last - parts.first + 1
        since_start = self.frame_times - np.repeat(parts.start_s, lengths)
        ticks: IntArray = np.floor((since_start + TICK_TOLERANCE_S) * self.rate).astype(np.int64)
        return ticks + np.repeat(_offsets(parts.ticks), lengths)

    @property
    def n_ticks(self) -> int:
        """Number of ticks of the whole video."""
        return int(self._segments.ticks.sum())

    @property
    def n_snippets(self) -> int:
        """Number of snippets of the whole video, at least 1."""
        return int(self._segments.snippets.sum())

    def tick_frames(self) -> IntArray:
        """(n_ticks,) the frame that is shown at each tick."""
        if self.rate is None:
            return np.arange(self.n_frames)
        parts = self._segments
        ticks = _positions(parts.ticks) / self.rate + np.repeat(parts.start_s, parts.ticks)
        frames = np.searchsorted(self.frame_times, ticks + TICK_TOLERANCE_S, side="right") - 1
        return np.minimum(frames, np.repeat(parts.last, parts.ticks))

    def snippet_ticks(self) -> IntArray:
        """(n_snippets, 2) the half-open tick interval that each snippet covers."""
        first = np.repeat(_offsets(self._segments.ticks), self._segments.snippets)
        return first[:, None] + self._ticks_in_segment()

    def snippet_times(self) -> FloatArray:
        """(n_snippets, 2) start and end in seconds of the interval that each snippet covers."""
        parts = self._segments
        spans = self._ticks_in_segment()
        if self.rate is None:
            first = np.repeat(parts.first, parts.snippets)[:, None]
            times = self._times(np.minimum(first + spans, self.n_frames - 1))
        else:
            times = spans / self.rate + np.repeat(parts.start_s, parts.snippets)[:, None]
        at_end = spans[:, 1] == np.repeat(parts.ticks, parts.snippets)
        times[at_end, 1] = np.repeat(parts.end_s, parts.snippets)[at_end]
        return times

    def to_frames(self, scores: FloatArray) -> FloatArray:
        """Convert snippet scores (n_snippets,) to frame scores (n_frames,).

        The score of a frame is the mean of the snippets that cover it.

        Raises:
            InputError: the number of scores is not the number of snippets.
        """
        if scores.shape != (self.n_snippets,):
            raise InputError(f"{self.n_snippets} snippets, but scores of shape {scores.shape}")
        scores = scores.astype(np.float64)
        if self.stride >= self.snippet_frames:  # No overlap: each frame has one snippet.
            starts = self.snippet_ticks()[:, 0]
            return scores[np.searchsorted(starts, self.frame_ticks, side="right") - 1]
        cuts = _offsets(self._segments.snippets)[1:]
        spans = np.split(self._ticks_in_segment(), cuts)
        means = map(_mean_per_tick, np.split(scores, cuts), spans, self._segments.ticks)
        return np.concatenate(list(means))[self.frame_ticks]

    @cached_property
    def _segments(self) -> _Segments:
        first = np.array([0, *self.gaps], np.int64)
        last = np.array([*self.gaps, self.n_frames], np.int64) - 1
        start_s, last_s = self._times(first), self._times(last)
        ticks = last - first + 1
        if self.rate is not None:
            since_start = last_s - start_s + TICK_TOLERANCE_S
            ticks = np.floor(since_start * self.rate).astype(np.int64) + 1
        snippets = count_snippets(ticks, self.snippet_frames, self.stride)
        return _Segments(first, last, start_s, last_s + 1.0 / self.fps, ticks, snippets)

    def _times(self, frames: IntArray | int) -> FloatArray:
        """When these frames are first shown, in seconds."""
        if self.pts is not None:
            return np.asarray(self.pts[frames])
        return np.asarray(self.start_s + np.asarray(frames) / self.fps)

    def _ticks_in_segment(self) -> IntArray:
        """(n_snippets, 2) as ``snippet_ticks``, counted from the start of each one's segment."""
        starts = _positions(self._segments.snippets) * self.stride
        ends = starts + max(self.snippet_frames, self.stride)
        whole = np.repeat(self._segments.ticks, self._segments.snippets)
        return np.stack([starts, np.minimum(ends, whole)], axis=1)


def _mean_per_tick(scores: FloatArray, spans: IntArray, n_ticks: int) -> FloatArray:
    """(n_ticks,) the mean of the scores (n,) whose tick interval (n, 2) contains each tick."""
    # Difference arrays: a snippet adds its score at its start and subtracts it at its end.
    total, count = np.zeros(n_ticks + 1), np.zeros(n_ticks + 1)
    for edge, sign in ((spans[:, 0], 1.0), (spans[:, 1], -1.0)):
        np.add.at(total, edge, sign * scores)
        np.add.at(count, edge, sign)
    mean = np.cumsum(total)[:-1] / np.cumsum(count)[:-1]
    return np.clip(mean, scores.min(), scores.max())  # Sums have rounding errors.


def _offsets(counts: IntArray) -> IntArray:
    """(K,) the sum of the counts before each one."""
    return np.cumsum(counts) - counts


def _positions(counts: IntArray) -> IntArray:
    """(sum of counts,) 0, 1, 2 ... for each count, one after the other."""
    return np.arange(int(counts.sum())) - np.repeat(_offsets(counts), counts)


# A rectangle in the picture: left, top, right, bottom, as fractions of its width and height.
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class TileScores:
    """Scores of the tiles or regions of a picture."""

    grid: tuple[int, int]  # (rows, columns)
    scores: FloatArray  # (rows * columns, n_snippets), tiles row by row.

    def box(self, tile: int) -> Box:
        """The rectangle of a tile."""
        rows, columns = self.grid
        row, column = divmod(tile, columns)
        return column / columns, row / rows, (column + 1) / columns, (row + 1) / rows


@dataclass(frozen=True)
class SimilarClip:
    """A moment of a training video that an event looks like.

    Attributes:
        video: Path of the training video inside the folder of the training data.
        time_s: When the moment starts in that video, in seconds.
        label: The label of the video: ``fight``, ``normal``.
        abnormal: Whether the video is abnormal.
        similarity: Cosine of the standardised features, in [-1, 1]; 1: the same direction.
        picture: A small JPEG of the moment; empty: the model file has none. Score files leave it
            out.
    """

    video: str
    time_s: float
    label: str
    abnormal: bool
    similarity: float
    picture: bytes = field(default=b"", repr=False, compare=False)


@dataclass(frozen=True)
class MemorySlot:
    """A slot of UR-DMU's memories that answers to an event.

    Attributes:
        memory: Which of the two memories.
        slot: Its number in that memory, from 0.
        share: Its weight as a share of the weights of all slots of both memories.
    """

    memory: Literal["abnormal", "normal"]
    slot: int
    share: float


@dataclass(frozen=True)
class LikelyAction:
    """A human action that I3D takes an event for: a hint.

    Attributes:
        name: As Kinetics-400 calls it: ``headbutting``.
        probability: In [0, 1], by I3D's own classifier.
    """

    name: str
    probability: float


@dataclass(frozen=True)
class Reasons:
    """What a model can say about why a snippet has its score; the fields are those of ``Event``."""

    similar: tuple[SimilarClip, ...] = ()
    memory_slots: tuple[MemorySlot, ...] = ()
    actions: tuple[LikelyAction, ...] = ()


class SnippetReasons(Protocol):
    """Gives the reasons of each snippet of a video."""

    def at(self, snippet: int) -> Reasons: ...


@dataclass(frozen=True)
class ScoreTrack:
    """Anomaly scores of one video and their timebase.

    Attributes:
        scores: (n_snippets,) in [0, 1], higher is more anomalous.
        timebase: Times of the snippets.
        tiles: Scores of the tiles, if the model uses tiles; a snippet's score is the highest of
            its tiles' scores.
        boxes: (n_snippets, 4) left, top, right, bottom of the motion square of each snippet, as
            shares of the picture, if the model uses the crop ``motion``.
        heat: (n_snippets, parts, rows, columns) uint8, where something moves in each of the equal
            parts of a snippet, relative to the highest value there, 255; None: the scores are not
            of a video itself. See ``heatmap``.
        reasons: What the model can say about each snippet, for events; None: nothing.
    """

    scores: FloatArray
    timebase: Timebase
    tiles: TileScores | None = None
    boxes: FloatArray | None = None
    heat: NDArray[np.uint8] | None = field(default=None, repr=False)
    reasons: SnippetReasons | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.scores.shape != (self.timebase.n_snippets,):
            raise InputError(
                f"{self.timebase.n_snippets} snippets, but scores of shape {self.scores.shape}"
            )
        if self.boxes is not None and self.boxes.shape != (len(self.scores), 4):
            raise InputError(f"{len(self.scores)} snippets, but boxes of shape {self.boxes.shape}")
        if self.heat is not None and (self.heat.ndim != 4 or len(self.heat) != len(self.scores)):
            raise InputError(f"{len(self.scores)} snippets, but heat of shape {self.heat.shape}")

    def heatmap(self, time_s: float) -> FloatArray:
        """Where in the picture something moves much and irregularly at a time (s).

        The picture is divided into rows x columns equal cells. Between the middles of two parts of
        snippets, their maps are mixed linearly. Where the model looked only at a motion square or a
        tile (``where``), all other cells are 0.

        Returns:
            (rows, columns) from 0 to 1, the hottest cell; all 0: nothing moves.

        Raises:
            InputError: there is no heat: the scores were read from a file, or are of features.
        """
        if self.heat is None:
            raise InputError(
                "no heat map: these scores were read from a file or made from features; score the "
                "video itself"
            )
        times, order = self._part_times
        right = int(np.searchsorted(times, time_s))
        left = max(right - 1, 0)
        right = min(right, len(times) - 1)
        span = times[right] - times[left]
        weight = (time_s - times[left]) / span if span > 0 else 0.0
        heat = np.zeros(self.heat.shape[2:])
        for part, share in ((order[left], 1 - weight), (order[right], weight)):
            if share > 0:
                heat += share * self._part_heat(*divmod(int(part), self.heat.shape[1]))
        highest = float(heat.max(initial=0.0))
        return heat / highest if highest > 0 else heat

    def part_times(self, start_s: float, end_s: float) -> FloatArray:
        """Middles of the parts of snippets that lie between two times (s), increasing."""
        if self.heat is None:
            return np.zeros(0)
        middles = self._part_times[0]
        return np.unique(middles[(middles >= start_s) & (middles < end_s)])

    @cached_property
    def _part_times(self) -> tuple[FloatArray, IntArray]:
        """When the middle of each part of a snippet is shown, increasing, and the part's number."""
        assert self.heat is not None
        base, parts = self.timebase, self.heat.shape[1]
        shown = (2 * np.arange(parts) + 1) * base.snippet_frames // (2 * parts)
        spans = base.snippet_ticks()
        ticks = np.minimum(spans[:, :1] + shown, spans[:, 1:] - 1).ravel()
        times = base.frame_times[base.tick_frames()[ticks]]
        order = np.argsort(times, kind="stable")
        return times[order], order

    def _part_heat(self, snippet: int, part: int) -> FloatArray:
        """(rows, columns) of one part of a snippet, 0 outside of what the model looked at."""
        assert self.heat is not None
        heat: FloatArray = self.heat[snippet, part] / 255
        if (box := self.where(snippet)) is None:
            return heat
        left, top, right, bottom = box
        rows, columns = ((np.arange(n) + 0.5) / n for n in heat.shape)
        inside_rows = (rows >= top) & (rows <= bottom)
        inside_columns = (columns >= left) & (columns <= right)
        return np.where(inside_rows[:, None] & inside_columns, heat, 0.0)

    def where(self, snippet: int) -> Box | None:
        """The tile with the highest score, or the motion square; None without either."""
        if self.tiles is not None:
            return self.tiles.box(int(np.argmax(self.tiles.scores[:, snippet])))
        if self.boxes is None:
            return None
        left, top, right, bottom = self.boxes[snippet].tolist()
        return left, top, right, bottom

    def to_frames(self) -> FloatArray:
        """(n_frames,) one score for each frame."""
        return self.timebase.to_frames(self.scores)


@dataclass(frozen=True)
class Event:
    """An interval of anomalous frames.

    Attributes:
        start_s: Start in seconds.
        end_s: End in seconds.
        peak_s: Time of the highest score.
        score: The highest score.
        where: Rectangle of the tile with the highest score, or of the motion square, at ``peak_s``;
            if the model uses neither, the first of ``boxes``; None: there are none.
        boxes: One to three rectangles around what is hot in ``heatmap``, the hottest first; none if
            nothing moves, or if the scores have no heat.
        heatmap: Rows of values from 0 to 1, ``ScoreTrack.heatmap`` at the middle of the snippet, or
            of equal scores, at ``peak_s``; None: the scores have no heat.
        boxes_at: Time (s) and boxes of each part of a snippet in the event; a part's time is its
            middle.
        similar: The nearest training clips of those that the model file carries, nearest first.
        memory_slots: Of a UR-DMU model, the slots with the largest weights.
        actions: Of ``--look-for``, the likeliest actions.
    """

    start_s: float
    end_s: float
    peak_s: float
    score: float
    where: Box | None = None
    similar: tuple[SimilarClip, ...] = ()
    memory_slots: tuple[MemorySlot, ...] = ()
    actions: tuple[LikelyAction, ...] = ()
    boxes: tuple[Box, ...] = ()
    heatmap: tuple[tuple[float, ...], ...] | None = None
    boxes_at: tuple[tuple[float, tuple[Box, ...]], ...] = ()

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s
