"""Cuts a live stream into snippets, frame by frame, without knowing where it ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from oddframe.errors import UsageError
from oddframe.timeline import FloatArray
from oddframe.video.decoding.clock import GAP_S
from oddframe.video.decoding.scale import Scaler
from oddframe.video.frame import Frame, Image
from oddframe.video.mask import Mask
from oddframe.video.snippets.heat import HEAT_SHAPE
from oddframe.video.snippets.preprocessing import Preprocessing, boxes_shape, has_motion
from oddframe.video.snippets.reader import SnippetBuilder, needed_transforms


@dataclass(frozen=True)
class CutSnippet:
    """The next snippet of a stream, or the end of a segment; it may go to another process.

    Attributes:
        times: Times in seconds of the frames since the one before, up to the latest.
        image: (C, frames, h, w, 3) RGB uint8; None: no snippet.
        squares: The motion squares of the snippet; None: the crops have none.
        heat: (parts, rows, columns) uint8, where something moves in it, as in ``Features``; None:
            no snippet.
        is_first: It is the first of its segment.
        is_last: The segment ends with it. What follows has nothing to do with it.
        is_skipped: There was an image, but it was dropped: nobody has time for it.
    """

    times: tuple[float, ...]
    image: Image | None
    squares: FloatArray | None = None
    heat: Image | None = None
    is_first: bool = False
    is_last: bool = False
    is_skipped: bool = False


class SnippetCutter:
    """Cuts frames that are pushed one by one into snippets.

    Args:
        preprocessing: How.
        fps: For frames without a time.
        mask: Parts of the frame to ignore.
    """

    def __init__(self, preprocessing: Preprocessing, fps: float, mask: Mask | None = None) -> None:
        self._fps, self._mask = fps, mask
        self._crops = preprocessing.crops
        transforms = needed_transforms(preprocessing, heat=True)
        self._scalers = [Scaler(transform) for transform in transforms]
        self._builder = SnippetBuilder(preprocessing, heat=True)
        self._times: list[float] = []
        self._last_s = -np.inf
        self._n_snippets = 0

    def push(self, image: Image, time_s: float | None = None) -> list[CutSnippet]:
        """Add a frame (H, W, 3) RGB uint8; see ``Stream.push``."""
        if time_s is None:
            time_s = max(0.0, self._last_s + 1 / self._fps)
        # A snippet may be cut when the caller has reused the array.
        copy = image.copy()
        scaled = (Frame(partial(self._scale, each, copy), time_s) for each in self._scalers)
        return self.push_frames(tuple(scaled), time_s)

    def push_frames(self, frames: tuple[Frame, ...], time_s: float) -> list[CutSnippet]:
        """Add a frame that is scaled already, once for each transform."""
        if not (np.isfinite(time_s) and time_s > self._last_s):
            raise UsageError(f"frame times must increase: {time_s} s after {self._last_s} s")
        cut = self.finish() if time_s - self._last_s > GAP_S else []
        self._last_s = time_s
        self._times.append(time_s)
        return cut + self._cut(self._builder.push(frames))

    def finish(self) -> list[CutSnippet]:
        """Cut what is left, and end the segment; empty if there is no frame in it."""
        if not self._times and not self._n_snippets:
            return []
        cut = self._cut(self._builder.finish()) or self._cut([None])
        self._n_snippets = 0
        return [*cut[:-1], replace(cut[-1], is_last=True)]

    def _cut(self, images: Iterable[Image | None]) -> list[CutSnippet]:
        cut = []
        for image in images:
            squares = heat = None
            if image is not None and has_motion(self._crops):
                shape = boxes_shape(self._crops, 1)
                squares = np.array(self._builder.boxes).reshape(shape)[0]
                del self._builder.boxes[:]
            if image is not None:
                heat = np.frombuffer(bytes(self._builder.heat), np.uint8).reshape(HEAT_SHAPE)
                self._builder.heat.clear()
            is_first = image is not None and self._n_snippets == 0
            cut.append(CutSnippet(tuple(self._times), image, squares, heat, is_first))
            self._n_snippets += image is not None
            self._times.clear()
        return cut

    def _scale(self, scaler: Scaler, image: Image) -> Image:
        scaled = scaler.scale_rgb(image)
        return scaled if self._mask is None else self._mask.apply(scaled)
