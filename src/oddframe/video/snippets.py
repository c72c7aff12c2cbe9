"""Frames -> snippets, in memory that does not grow with the video."""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from functools import partial

import numpy as np

from oddframe.timeline import TICK_SLACK_S, Timebase
from oddframe.video.background import in_background
from oddframe.video.frame import Frame, FrameSource, Image
from oddframe.video.mask import Mask
from oddframe.video.preprocessing import Preprocessing
from oddframe.video.views import check_views, cut

# What the decoder may be ahead: enough for a backbone's batch, bounded in bytes for many crops.
_MOST_AHEAD = 16
_BYTES_AHEAD = 64 * 2**20


class SnippetReader:
    """Iterates over a video's snippets: uint8 arrays (C crops, snippet_frames, h, w, 3).

    They are those of ``Timebase``: snippet ``i`` starts at tick ``i * stride``, each tick shows the
    frame that a player would show, the last tick is repeated where the video ends first. Decoding
    runs in a thread of its own, some snippets ahead. Each iteration reads the video anew.

    Args:
        source: The video.
        how: Size, crops, snippet length, stride and rate.
        mask: Parts of the picture to ignore; None: none.

    Raises:
        UsageError: a crop is unknown or does not fit the size.
        InputError: the video cannot be decoded (while iterating).
    """

    def __init__(self, source: FrameSource, how: Preprocessing, mask: Mask | None = None) -> None:
        check_views(how)
        self._source = source
        self._how = how
        self._mask = mask
        self._timebase: Timebase | None = None

    @property
    def expected_snippets(self) -> int | None:
        """About how many snippets there will be; None where nothing says so."""
        frames = self._source.expected_frames
        return self._how.timebase(self._source.fps, frames).n_snippets if frames else None

    @property
    def timebase(self) -> Timebase:
        """The video's timebase, once all snippets have been read.

        Raises:
            RuntimeError: they have not.
        """
        if self._timebase is None:
            raise RuntimeError("the timebase is known when all snippets have been read")
        return self._timebase

    @property
    def damaged_packets(self) -> int:
        """Packets that could not be decoded, so far."""
        return self._source.damaged_packets

    def __iter__(self) -> Iterator[Image]:
        self._timebase = None
        width, height = self._how.crop_size
        size = len(self._how.crops) * self._how.snippet_frames * width * height * 3
        ahead = min(_MOST_AHEAD, max(2, _BYTES_AHEAD // size))
        return in_background(self._snippets(), ahead)

    def _snippets(self) -> Generator[Image, None, None]:
        how, times = self._how, array("d")
        window: deque[Image] = deque(maxlen=how.snippet_frames)
        ticks = done = 0
        for frame in _ticks(self._frames(times), how.rate):
            if ticks % how.stride < how.snippet_frames:  # Else between two snippets: not looked at.
                window.append(frame.image)
            ticks += 1
            if ticks == done * how.stride + how.snippet_frames:
                yield self._cropped(window)
                done += 1
        timebase = _timebase(self._source.fps, how, times)
        if done < timebase.n_snippets:
            tail = list(window)[done * how.stride - ticks :]
            yield self._cropped(tail + tail[-1:] * (how.snippet_frames - len(tail)))
        self._timebase = timebase

    def _frames(self, times: array[float]) -> Iterator[Frame]:
        how = self._how
        for frame in self._source.frames(how.resize, how.filter, how.jpeg_quality):
            times.append(frame.time_s)
            if self._mask is None:
                yield frame
            else:
                yield Frame(partial(_masked, self._mask, frame), frame.time_s)

    def _cropped(self, images: Iterable[Image]) -> Image:
        crops, (width, height) = self._how.crops, self._how.crop_size
        snippet = np.empty((len(crops), self._how.snippet_frames, height, width, 3), np.uint8)
        for number, image in enumerate(images):
            for crop, name in zip(snippet, crops, strict=True):
                crop[number] = cut(image[None], name, self._how.crop_size)[0]
        return snippet


def _masked(mask: Mask, frame: Frame) -> Image:
    return mask.apply(frame.image)


def _ticks(frames: Iterator[Frame], rate: float | None) -> Iterator[Frame]:
    """The frame on the screen at each tick; the arithmetic is that of ``Timebase.tick_frames``."""
    if rate is None:
        yield from frames
        return
    first = shown = next(frames)
    tick = 0
    for frame in frames:
        while tick / rate + first.time_s + TICK_SLACK_S < frame.time_s:
            yield shown
            tick += 1
        shown = frame
    last = math.floor((shown.time_s - first.time_s + TICK_SLACK_S) * rate)
    while tick <= last:
        yield shown
        tick += 1


def _timebase(fps: float, how: Preprocessing, times: array[float]) -> Timebase:
    pts = np.array(times)
    if np.array_equal(pts, np.arange(len(pts)) / fps):
        return how.timebase(fps, len(pts))
    return how.timebase((len(pts) - 1) / (pts[-1] - pts[0]), len(pts), pts)
