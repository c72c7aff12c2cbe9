"""Frames -> snippets, in memory that does not grow with the video."""

from __future__ import annotations

from array import array
from collections.abc import Generator, Iterator, Sequence
from functools import cached_property, partial

import numpy as np

from oddframe.errors import InputError
from oddframe.timeline import FloatArray, IntArray, Timebase
from oddframe.video.background import in_background
from oddframe.video.clock import GAP_S
from oddframe.video.cutter import Cutter
from oddframe.video.frame import Frame, FrameSource, Image
from oddframe.video.mask import Mask
from oddframe.video.preprocessing import Preprocessing
from oddframe.video.views import pictures_of

# What the decoder may be ahead: enough for a backbone's batch, bounded in bytes for many crops.
_MOST_AHEAD = 16
_BYTES_AHEAD = 64 * 2**20


class OnePass:
    """Iterates once over a video for several ways of cutting it: (which of them, snippet).

    Snippets are uint8 arrays (C crops, snippet_frames, h, w, 3), those of ``Timebase``: snippet
    ``i`` starts at tick ``i * stride``, each tick shows the frame that a player would show, the
    last tick is repeated where the video ends first, or where its clock leaps: what is behind a gap
    is cut like another video. What differs in crops, stride or rate alone
    shares its frames; what differs in size, filter or JPEG shares the decoding. That runs in a
    thread of its own, some snippets ahead. Each iteration reads the video anew.

    Args:
        source: The video.
        hows: Size, crops, snippet length, stride and rate; with ``NO_PICTURE`` there are no
            snippets, only a timebase.
        mask: Parts of the picture to ignore; None: none.

    Raises:
        UsageError: a crop is unknown or does not fit the size.
        InputError: the video cannot be decoded (while iterating).
    """

    def __init__(
        self, source: FrameSource, hows: Sequence[Preprocessing], mask: Mask | None = None
    ) -> None:
        self._source = source
        self._hows = tuple(hows)
        for how in self._hows:
            Cutter(how)  # What cannot be cut is refused before anything is decoded.
        self._mask = mask
        self._timebases: tuple[Timebase, ...] = ()

    @cached_property
    def expected_snippets(self) -> int | None:
        """About how many snippets there will be; None where nothing says so."""
        frames = self._source.expected_frames
        if not frames:
            return None
        seen = (how for how in self._hows if how.has_picture)
        try:
            return sum(how.timebase(self._source.fps, frames).n_snippets for how in seen)
        except InputError:  # A header may claim any length.
            return None

    @property
    def timebases(self) -> tuple[Timebase, ...]:
        """The video's timebase for each way of cutting it, once all snippets have been read.

        Raises:
            RuntimeError: they have not.
        """
        if not self._timebases:
            raise RuntimeError("the timebase is known when all snippets have been read")
        return self._timebases

    @property
    def damaged_packets(self) -> int:
        """Packets that gave no picture, so far."""
        return self._source.damaged_packets

    @property
    def mended_frames(self) -> int:
        """Frames that were decoded with errors and are used, so far."""
        return self._source.mended_frames

    def __iter__(self) -> Generator[tuple[int, Image], None, None]:
        self._timebases = ()
        reading = self._source.run(_snippets, self._hows, self._mask)
        self._timebases = yield from reading


def _snippets(
    source: FrameSource, hows: Sequence[Preprocessing], mask: Mask | None
) -> Generator[tuple[int, Image], None, tuple[Timebase, ...]]:
    """The snippets, decoded some way ahead in a thread of their own; the timebases at the end."""
    times, gaps = array("d"), array("q")
    ahead = min(max(2, _BYTES_AHEAD // max(1, _bytes(how))) for how in hows)
    yield from in_background(_cut(source, hows, mask, times, gaps), min(_MOST_AHEAD, ahead))
    fps, pts, start_s = _clocked(source.fps, np.array(times), np.array(gaps))
    return tuple(how.timebase(fps, len(times), pts, start_s, tuple(gaps)) for how in hows)


def _cut(
    source: FrameSource,
    hows: Sequence[Preprocessing],
    mask: Mask | None,
    times: array[float],
    gaps: array[int],
) -> Generator[tuple[int, Image], None, None]:
    """The snippets; ``times`` gets the time of each frame, ``gaps`` the frames after a gap."""
    looks = list(dict.fromkeys(how.look for how in hows))
    cutters = [(Cutter(how), looks.index(how.look)) for how in hows]
    for frames in source.looks(looks):
        if frames[0].after_gap:
            gaps.append(len(times))
        times.append(frames[0].time_s)
        seen = [_masked(mask, frame) for frame in frames]
        for number, (cutter, look) in enumerate(cutters):
            for snippet in cutter.push(seen[look]):
                yield number, snippet
    for number, (cutter, _) in enumerate(cutters):
        for snippet in cutter.finish():
            yield number, snippet


def _masked(mask: Mask | None, frame: Frame) -> Frame:
    if mask is None:
        return frame
    return Frame(partial(_painted, mask, frame), frame.time_s, frame.after_gap)


class SnippetReader:
    """Iterates over a video's snippets for one way of cutting it; see ``OnePass``."""

    def __init__(self, source: FrameSource, how: Preprocessing, mask: Mask | None = None) -> None:
        self._reading = OnePass(source, [how], mask)

    @property
    def expected_snippets(self) -> int | None:
        """About how many snippets there will be; None where nothing says so."""
        return self._reading.expected_snippets

    @property
    def timebase(self) -> Timebase:
        """The video's timebase, once all snippets have been read; before, a RuntimeError."""
        return self._reading.timebases[0]

    @property
    def damaged_packets(self) -> int:
        """Packets that gave no picture, so far."""
        return self._reading.damaged_packets

    def __iter__(self) -> Iterator[Image]:
        reading = iter(self._reading)
        try:
            for _, snippet in reading:
                yield snippet
        finally:
            reading.close()


def _bytes(how: Preprocessing) -> int:
    width, height = how.crop_size
    return len(pictures_of(how.crops)) * how.snippet_frames * width * height * 3


def _painted(mask: Mask, frame: Frame) -> Image:
    return mask.apply(frame.image)


def _clocked(fps: float, pts: FloatArray, gaps: IntArray) -> tuple[float, FloatArray | None, float]:
    """Average rate, times where they are not those of a constant rate, and the first of them."""
    start_s = float(pts[0])
    if gaps.size:
        steps = np.delete(np.diff(pts), gaps - 1)
        average = float(steps.size / steps.sum()) if steps.size else 1 / GAP_S
        return (fps if np.isclose(fps, average, rtol=1e-6) else average), pts, start_s
    if np.array_equal(pts, start_s + np.arange(len(pts)) / fps):
        return fps, None, start_s
    return float((len(pts) - 1) / (pts[-1] - pts[0])), pts, start_s
