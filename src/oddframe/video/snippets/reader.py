"""Frames -> snippets, in memory that does not grow with the video.

Frames, handed over one by one -> the snippets of one way of cutting a video.

Runs a generator in a thread of its own, a few items ahead of who reads it.
"""

from __future__ import annotations

import math
import queue
import threading
from array import array
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeVar

import numpy as np

from oddframe.errors import InputError
from oddframe.timeline import TICK_TOLERANCE_S, FloatArray, IntArray, Timebase, count_snippets
from oddframe.video.decoding.clock import GAP_S
from oddframe.video.frame import Frame, FrameSource, Image
from oddframe.video.mask import Mask
from oddframe.video.snippets.crops import check_crops, crops_to_cut, cut_crop
from oddframe.video.snippets.transforms import Preprocessing


class SnippetBuilder:
    """Snippets (C crops, snippet_frames, h, w, 3) of the frames that it is given; none is skipped.

    Of regions there is one crop, the whole picture.

    Raises:
        UsageError: a crop is unknown or does not fit the size.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        check_crops(preprocessing)
        self._preprocessing = preprocessing
        self._shown = _Ticks(preprocessing.rate)
        self._window: deque[Image] = deque(maxlen=preprocessing.snippet_frames)
        self._ticks = self._done = 0

    def push(self, frame: Frame) -> Iterator[Image]:
        """The snippets that are whole now that the next frame is there; none spans a gap."""
        if frame.after_gap:
            yield from self.finish()
        yield from self._see(self._shown.push(frame))

    def finish(self) -> Iterator[Image]:
        """What is left at the end; where the video ends in a snippet its last tick is repeated.

        What is pushed after that is cut like another video.
        """
        how = self._preprocessing
        yield from self._see(self._shown.rest())
        if self._ticks and self._done < count_snippets(self._ticks, how.snippet_frames, how.stride):
            tail = list(self._window)[self._done * how.stride - self._ticks :]
            yield self._cropped(tail + tail[-1:] * (how.snippet_frames - len(tail)))
        self._shown, self._ticks, self._done = _Ticks(how.rate), 0, 0
        self._window.clear()

    def _see(self, frames: Iterable[Frame]) -> Iterator[Image]:
        how = self._preprocessing
        if not how.has_picture:
            return
        for frame in frames:
            # Else between two snippets: not looked at.
            if self._ticks % how.stride < how.snippet_frames:
                self._window.append(frame.image)
            self._ticks += 1
            if self._ticks == self._done * how.stride + how.snippet_frames:
                yield self._cropped(self._window)
                self._done += 1

    def _cropped(self, images: Iterable[Image]) -> Image:
        crops, (width, height) = (
            crops_to_cut(self._preprocessing.crops),
            self._preprocessing.crop_size,
        )
        snippet = np.empty(
            (len(crops), self._preprocessing.snippet_frames, height, width, 3), np.uint8
        )
        for number, image in enumerate(images):
            for crop, name in zip(snippet, crops, strict=True):
                crop[number] = cut_crop(image[None], name, self._preprocessing.crop_size)[0]
        return snippet


class _Ticks:
    """The frame on the screen at each tick; the arithmetic is that of ``Timebase.tick_frames``."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._tick = 0
        self._start_s = 0.0
        self._shown: Frame | None = None

    def push(self, frame: Frame) -> Iterator[Frame]:
        """What is shown at the ticks before the next frame, or, without a rate, that frame."""
        if self._rate is None:
            yield frame
            return
        if self._shown is None:
            self._start_s = frame.time_s
        else:
            while self._tick / self._rate + self._start_s + TICK_TOLERANCE_S < frame.time_s:
                yield self._shown
                self._tick += 1
        self._shown = frame

    def rest(self) -> Iterator[Frame]:
        """What is shown at the ticks from the last frame on."""
        if self._rate is None or self._shown is None:
            return
        last = math.floor((self._shown.time_s - self._start_s + TICK_TOLERANCE_S) * self._rate)
        while self._tick <= last:
            yield self._shown
            self._tick += 1


_ItemT = TypeVar("_ItemT")

# How long a finished reader waits for the thread to notice, at most.
_POLL_S = 0.05


@dataclass(frozen=True)
class _End:
    error: BaseException | None


def iterate_in_thread(items: Generator[_ItemT, None, None], depth: int) -> Iterator[_ItemT]:
    """The items of ``items``, made in a background thread, at most ``depth`` of them ahead.

    An error in ``items`` is raised here. When the reader stops early, by closing this generator or
    by an exception such as Ctrl-C, the thread ends and ``items`` is closed.

    Args:
        items: What to make.
        depth: How many may be ahead.
    """
    ready: queue.Queue[_ItemT | _End] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: _ItemT | _End) -> None:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return

    def work() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    break
        except BaseException as caught:
            error = caught
        finally:
            items.close()
        put(_End(error))

    thread = threading.Thread(target=work, name="oddframe-decoder", daemon=True)
    thread.start()
    try:
        while not isinstance(item := ready.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        thread.join()


# What the decoder may be ahead: enough for a backbone's batch, bounded in bytes for many crops.
_MOST_AHEAD = 16
_BYTES_AHEAD = 64 * 2**20


class MultiSnippetReader:
    """Iterates once over a video for several ways of cutting it: (which of them, snippet).

    Snippets are uint8 arrays (C crops, snippet_frames, h, w, 3), those of ``Timebase``: snippet
    ``i`` starts at tick ``i * stride``, each tick shows the frame that a player would show, the
    last tick is repeated where the video ends first, or where its clock leaps: what is behind a gap
    is cut like another video. What differs in crops, stride or rate alone
    shares its frames; what differs in size, filter or JPEG shares the decoding. That runs in a
    thread of its own, some snippets ahead. Each iteration reads the video anew.

    Args:
        source: The video.
        hows: Size, crops, snippet length, stride and rate; with ``AUDIO_ONLY`` there are no
            snippets, only a timebase.
        mask: Parts of the picture to ignore; None: none.

    Raises:
        UsageError: a crop is unknown or does not fit the size.
        InputError: the video cannot be decoded (while iterating).
    """

    def __init__(
        self, source: FrameSource, preprocessings: Sequence[Preprocessing], mask: Mask | None = None
    ) -> None:
        self._source = source
        self._preprocessings = tuple(preprocessings)
        for how in self._preprocessings:
            SnippetBuilder(how)  # What cannot be cut is refused before anything is decoded.
        self._mask = mask
        self._timebases: tuple[Timebase, ...] = ()

    @cached_property
    def expected_snippets(self) -> int | None:
        """About how many snippets there will be; None where nothing says so."""
        frames = self._source.expected_frames
        if not frames:
            return None
        seen = (how for how in self._preprocessings if how.has_picture)
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
        reading = self._source.run(_snippets, self._preprocessings, self._mask)
        self._timebases = yield from reading


def _snippets(
    source: FrameSource, preprocessings: Sequence[Preprocessing], mask: Mask | None
) -> Generator[tuple[int, Image], None, tuple[Timebase, ...]]:
    """The snippets, decoded some way ahead in a thread of their own; the timebases at the end."""
    times, gaps = array("d"), array("q")
    ahead = min(max(2, _BYTES_AHEAD // max(1, _bytes(how))) for how in preprocessings)
    yield from iterate_in_thread(
        _cut(source, preprocessings, mask, times, gaps), min(_MOST_AHEAD, ahead)
    )
    fps, pts, start_s = _clocked(source.fps, np.array(times), np.array(gaps))
    return tuple(how.timebase(fps, len(times), pts, start_s, tuple(gaps)) for how in preprocessings)


def _cut(
    source: FrameSource,
    preprocessings: Sequence[Preprocessing],
    mask: Mask | None,
    times: array[float],
    gaps: array[int],
) -> Generator[tuple[int, Image], None, None]:
    """The snippets; ``times`` gets the time of each frame, ``gaps`` the frames after a gap."""
    looks = list(dict.fromkeys(how.transform for how in preprocessings))
    cutters = [(SnippetBuilder(how), looks.index(how.transform)) for how in preprocessings]
    for frames in source.read(looks):
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
    """Iterates over a video's snippets for one way of cutting it; see ``MultiSnippetReader``."""

    def __init__(
        self, source: FrameSource, preprocessing: Preprocessing, mask: Mask | None = None
    ) -> None:
        self._reading = MultiSnippetReader(source, [preprocessing], mask)

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


def _bytes(preprocessing: Preprocessing) -> int:
    width, height = preprocessing.crop_size
    return (
        len(crops_to_cut(preprocessing.crops)) * preprocessing.snippet_frames * width * height * 3
    )


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
