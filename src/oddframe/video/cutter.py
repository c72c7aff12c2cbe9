"""Frames, handed over one by one -> the snippets of one way of cutting a video."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np

from oddframe.timeline import TICK_SLACK_S, count_snippets
from oddframe.video.frame import Frame, Image
from oddframe.video.preprocessing import Preprocessing
from oddframe.video.views import check_views, cut, pictures_of


class Cutter:
    """Snippets (C crops, snippet_frames, h, w, 3) of the frames that it is given; none is skipped.

    Of regions there is one crop, the whole picture.

    Raises:
        UsageError: a crop is unknown or does not fit the size.
    """

    def __init__(self, how: Preprocessing) -> None:
        check_views(how)
        self._how = how
        self._shown = _Ticks(how.rate)
        self._window: deque[Image] = deque(maxlen=how.snippet_frames)
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
        how = self._how
        yield from self._see(self._shown.rest())
        if self._ticks and self._done < count_snippets(self._ticks, how.snippet_frames, how.stride):
            tail = list(self._window)[self._done * how.stride - self._ticks :]
            yield self._cropped(tail + tail[-1:] * (how.snippet_frames - len(tail)))
        self._shown, self._ticks, self._done = _Ticks(how.rate), 0, 0
        self._window.clear()

    def _see(self, frames: Iterable[Frame]) -> Iterator[Image]:
        how = self._how
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
        crops, (width, height) = pictures_of(self._how.crops), self._how.crop_size
        snippet = np.empty((len(crops), self._how.snippet_frames, height, width, 3), np.uint8)
        for number, image in enumerate(images):
            for crop, name in zip(snippet, crops, strict=True):
                crop[number] = cut(image[None], name, self._how.crop_size)[0]
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
            while self._tick / self._rate + self._start_s + TICK_SLACK_S < frame.time_s:
                yield self._shown
                self._tick += 1
        self._shown = frame

    def rest(self) -> Iterator[Frame]:
        """What is shown at the ticks from the last frame on."""
        if self._rate is None or self._shown is None:
            return
        last = math.floor((self._shown.time_s - self._start_s + TICK_SLACK_S) * self._rate)
        while self._tick <= last:
            yield self._shown
            self._tick += 1
