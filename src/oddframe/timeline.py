"""Frames, snippets and seconds: the plain types that every other module hands on.

A video is a row of frames. A backbone looks at *snippets* of 16 frames, and a method gives one
score a snippet; a person wants to know the second. ``Timebase`` is the one place that knows how the
three belong together.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from oddframe.errors import InputError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Time stamps are rational numbers cut to floats: a frame this close (s) to a tick is on it.
TICK_SLACK_S = 1e-6


def stretches(labels: NDArray[np.bool_], edges: FloatArray) -> tuple[tuple[float, float], ...]:
    """The half-open intervals in which a row of frames is labelled.

    Args:
        labels: (n,) True where a frame is.
        edges: (n + 1,) when each frame starts, and when the last one ends.
    """
    padded = np.concatenate([[False], labels, [False]])
    turns = np.flatnonzero(padded[1:] != padded[:-1])
    return tuple(
        (float(edges[start]), float(edges[end]))
        for start, end in zip(turns[::2], turns[1::2], strict=True)
    )


@dataclass(frozen=True)
class Timebase:
    """How frames, snippets and seconds of one video belong together.

    Snippet ``i`` looks at the ``snippet_frames`` frames from ``i * stride`` on; where the video
    ends first, the last frame is repeated. With ``rate``, snippets are cut from the video as a
    player would show it at that constant rate (frames dropped or repeated by their time stamps),
    and ``stride`` counts those *ticks*; without it, ticks are the frames themselves.

    Attributes:
        fps: Average frame rate of the video, frames a second.
        n_frames: Frames of the video, at least 1.
        snippet_frames: Frames (ticks) a snippet looks at.
        stride: Ticks from one snippet's start to the next one's. Less than ``snippet_frames``:
            snippets overlap; more: the ticks between two snippets belong to the earlier one.
        rate: Ticks a second, or None for one tick a frame.
        pts: (n_frames,) time of each frame in seconds, increasing; None for a constant rate from 0.
    """

    fps: float
    n_frames: int
    snippet_frames: int = 16
    stride: int = 16
    rate: float | None = None
    pts: FloatArray | None = field(default=None, compare=False, repr=False)

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
        if self.pts is not None:
            if self.pts.shape != (self.n_frames,):
                raise InputError(f"{self.n_frames} frames, but time stamps {self.pts.shape}")
            if not np.isfinite(self.pts).all() or (np.diff(self.pts) <= 0).any():
                raise InputError("time stamps must be finite and increase from frame to frame")

    @property
    def frame_times(self) -> FloatArray:
        """(n_frames,) when each frame is first shown, in seconds."""
        if self.pts is not None:
            return self.pts
        return np.arange(self.n_frames) / self.fps

    @property
    def end_s(self) -> float:
        """When the last frame leaves the screen, in seconds."""
        return float(self.frame_times[-1]) + 1.0 / self.fps

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame to the end."""
        return self.end_s - float(self.frame_times[0])

    @property
    def frame_ticks(self) -> IntArray:
        """(n_frames,) the tick that each frame belongs to."""
        if self.rate is None:
            return np.arange(self.n_frames)
        since_start = self.frame_times - self.frame_times[0]
        ticks: IntArray = np.floor((since_start + TICK_SLACK_S) * self.rate).astype(np.int64)
        return ticks

    @property
    def n_ticks(self) -> int:
        """Ticks of the whole video."""
        return self.n_frames if self.rate is None else int(self.frame_ticks[-1]) + 1

    @property
    def n_snippets(self) -> int:
        """Snippets that it takes to cover every frame, at least 1."""
        reach = max(self.snippet_frames, self.stride)
        return 1 + -(-max(0, self.n_ticks - reach) // self.stride)

    def tick_frames(self) -> IntArray:
        """(n_ticks,) the frame on the screen at each tick."""
        if self.rate is None:
            return np.arange(self.n_frames)
        ticks = np.arange(self.n_ticks) / self.rate + self.frame_times[0] + TICK_SLACK_S
        frames: IntArray = np.searchsorted(self.frame_times, ticks, side="right") - 1
        return frames

    def snippet_ticks(self) -> IntArray:
        """(n_snippets, 2) the half-open tick interval that each snippet speaks for."""
        starts = np.arange(self.n_snippets) * self.stride
        reach = max(self.snippet_frames, self.stride)
        return np.stack([starts, np.minimum(starts + reach, self.n_ticks)], axis=1)

    def snippet_times(self) -> FloatArray:
        """(n_snippets, 2) start and end in seconds of what each snippet speaks for."""
        times = self.frame_times
        if self.rate is not None:
            times = np.arange(self.n_ticks) / self.rate + times[0]
        edges: FloatArray = np.append(times, self.end_s)
        return edges[self.snippet_ticks()]

    def to_frames(self, scores: FloatArray) -> FloatArray:
        """Snippet scores (n_snippets,) -> frame scores (n_frames,): the mean of what covers it.

        Raises:
            InputError: the number of scores is not the number of snippets.
        """
        if scores.shape != (self.n_snippets,):
            raise InputError(f"{self.n_snippets} snippets, but scores of shape {scores.shape}")
        scores = scores.astype(np.float64)
        spans = self.snippet_ticks()
        if self.stride >= self.snippet_frames:  # No overlap: a frame has its snippet's very score.
            ticks = np.repeat(scores, spans[:, 1] - spans[:, 0])
        else:
            # Difference arrays: a snippet adds its score at its start, takes it back at its end.
            total, count = np.zeros(self.n_ticks + 1), np.zeros(self.n_ticks + 1)
            for edge, sign in ((spans[:, 0], 1.0), (spans[:, 1], -1.0)):
                np.add.at(total, edge, sign * scores)
                np.add.at(count, edge, sign)
            mean = np.cumsum(total)[:-1] / np.cumsum(count)[:-1]
            ticks = np.clip(mean, scores.min(), scores.max())  # Sums round; a mean stays inside.
        return ticks[self.frame_ticks]


# A rectangle in the picture: left, top, right, bottom, in shares of its width and height.
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Tiles:
    """Scores of the parts of a picture that was cut into a grid.

    Attributes:
        grid: (rows, columns).
        scores: (rows * columns, n_snippets), the tiles row by row.
    """

    grid: tuple[int, int]
    scores: FloatArray

    def box(self, tile: int) -> Box:
        """Where a tile lies in the picture."""
        rows, columns = self.grid
        row, column = divmod(tile, columns)
        return column / columns, row / rows, (column + 1) / columns, (row + 1) / rows

    def where(self, snippet: int) -> Box:
        """The oddest tile of a snippet."""
        return self.box(int(np.argmax(self.scores[:, snippet])))


@dataclass(frozen=True)
class ScoreTrack:
    """Anomaly scores of one video and their timebase.

    Attributes:
        scores: (n_snippets,) in [0, 1], higher is odder.
        timebase: When each snippet is.
        tiles: Where in the picture it is odd, if the model looks at tiles; a snippet's score is
            that of its oddest tile.
    """

    scores: FloatArray
    timebase: Timebase
    tiles: Tiles | None = None

    def __post_init__(self) -> None:
        if self.scores.shape != (self.timebase.n_snippets,):
            raise InputError(
                f"{self.timebase.n_snippets} snippets, but scores of shape {self.scores.shape}"
            )

    def to_frames(self) -> FloatArray:
        """(n_frames,) one score a frame, the tail included."""
        return self.timebase.to_frames(self.scores)


@dataclass(frozen=True)
class Event:
    """Something odd, from ``start_s`` to ``end_s`` seconds, oddest (``score``) at ``peak_s``.

    ``where`` is the part of the picture that is oddest then, known if the model looks at tiles.
    """

    start_s: float
    end_s: float
    peak_s: float
    score: float
    where: Box | None = None

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s
