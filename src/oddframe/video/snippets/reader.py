"""Cuts the frames of a video into snippets, in memory that does not grow with its length.

Decoding runs in a thread, a few snippets ahead of the reader.
"""

from __future__ import annotations

import itertools
import math
import queue
import threading
from array import array
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from oddframe.errors import InputError
from oddframe.timeline import TICK_TOLERANCE_S, FloatArray, IntArray, Timebase, count_snippets
from oddframe.video.decoding.clock import GAP_S
from oddframe.video.frame import Frame, FrameSource, FrameTransform, Image
from oddframe.video.mask import Mask
from oddframe.video.snippets.heat import HEAT_SHAPE, HEAT_TRANSFORM, find_heat
from oddframe.video.snippets.motion import cut_box, find_changes, find_motion, find_squares
from oddframe.video.snippets.preprocessing import (
    Preprocessing,
    boxes_shape,
    check_crops,
    count_squares,
    crops_to_cut,
    cut_crop,
    has_motion,
    is_motion,
)

_ItemT = TypeVar("_ItemT")

# How many snippets the decoder may be ahead: enough for a backbone's batch, bounded in bytes.
_MAX_AHEAD = 16
_MAX_AHEAD_BYTES = 64 * 2**20
# How long (s) ``iterate_in_thread`` waits for room in its queue before it looks for a stop request.
_POLL_S = 0.05


class MultiSnippetReader:
    """Yields (number of the preprocessing, snippet) for several preprocessings of one video.

    Snippets are uint8 arrays (C crops, snippet_frames, h, w, 3) as ``Timebase`` defines them:
    snippet ``i`` starts at tick ``i * stride``, each tick has the frame that a player shows then,
    and the last tick is repeated where the video ends inside a snippet. A gap in the time line
    ends a snippet like the end of the video; a new one starts behind it. Preprocessings that
    differ only in crops, stride or rate share the resized frames; those that differ in size,
    filter or JPEG quality share the decoding. One with ``AUDIO_ONLY`` yields no snippets and only
    has a timebase. Each iteration reads the video again.
    """

    def __init__(
        self,
        source: FrameSource,
        preprocessings: Sequence[Preprocessing],
        mask: Mask | None = None,
        heat: bool = False,
    ) -> None:
        self._source, self._preprocessings, self._mask = source, tuple(preprocessings), mask
        self._with_heat = heat
        for each in self._preprocessings:
            check_crops(each)
        self._timebases: tuple[Timebase, ...] = ()
        # For each preprocessing the motion squares (T, 4); None: without the crop ``motion``.
        self.boxes: tuple[FloatArray | None, ...] = ()
        # For each the heat (T, *HEAT_SHAPE); None: it was not asked for, or there is no picture.
        self.heat: tuple[Image | None, ...] = ()

    @cached_property
    def expected_snippets(self) -> int | None:
        """Estimated number of snippets; None if unknown."""
        frames = self._source.expected_frames
        if not frames:
            return None
        visual = (each for each in self._preprocessings if each.has_picture)
        try:
            return sum(each.timebase(self._source.fps, frames).n_snippets for each in visual)
        except InputError:  # A header may claim any length.
            return None

    @property
    def timebases(self) -> tuple[Timebase, ...]:
        """The video's timebase for each preprocessing, when all snippets have been read."""
        if not self._timebases:
            raise RuntimeError("the timebase is known when all snippets have been read")
        return self._timebases

    def __iter__(self) -> Generator[tuple[int, Image], None, None]:
        self._timebases = ()
        reading = self._source.run(_snippets, self._preprocessings, self._mask, self._with_heat)
        self._timebases, self.boxes, self.heat = yield from reading


_Collected = tuple[tuple[Timebase, ...], tuple[FloatArray | None, ...], tuple[Image | None, ...]]


def _snippets(
    source: FrameSource, preprocessings: Sequence[Preprocessing], mask: Mask | None, heat: bool
) -> Generator[tuple[int, Image], None, _Collected]:
    """Yield (preprocessing, snippet) that a thread decodes ahead.

    Return timebases, boxes and heat.
    """
    times, gaps = array("d"), array("q")
    builders = [SnippetBuilder(each, heat) for each in preprocessings]
    depth = min(max(2, _MAX_AHEAD_BYTES // max(1, _bytes(each))) for each in preprocessings)
    cutting = _cut(source, builders, mask, times, gaps)
    yield from iterate_in_thread(cutting, min(_MAX_AHEAD, depth))
    fps, pts, start_s = _simplify_times(source.fps, np.array(times), np.array(gaps))
    timebases = tuple(
        each.timebase(fps, len(times), pts, start_s, tuple(gaps)) for each in preprocessings
    )
    boxes = tuple(
        np.array(builder.boxes).reshape(boxes_shape(each.crops)) if has_motion(each.crops) else None
        for builder, each in zip(builders, preprocessings, strict=True)
    )
    maps = tuple(
        np.frombuffer(builder.heat, np.uint8).reshape(-1, *HEAT_SHAPE) if builder.heat else None
        for builder in builders
    )
    return timebases, boxes, maps


def _cut(
    source: FrameSource,
    builders: Sequence[SnippetBuilder],
    mask: Mask | None,
    times: array[float],
    gaps: array[int],
) -> Generator[tuple[int, Image], None, None]:
    """Yield the snippets; append each frame's time to ``times``, frames after a gap to ``gaps``."""
    transforms_of = [builder.transforms for builder in builders]
    transforms = list(dict.fromkeys(itertools.chain(*transforms_of)))
    used = [[transforms.index(each) for each in own] for own in transforms_of]
    for frames in source.read(transforms):
        if frames[0].after_gap:
            gaps.append(len(times))
        times.append(frames[0].time_s)
        masked = [_apply_mask(mask, frame) for frame in frames]
        for number, (builder, indices) in enumerate(zip(builders, used, strict=True)):
            for snippet in builder.push(tuple(masked[index] for index in indices)):
                yield number, snippet
    for number, builder in enumerate(builders):
        for snippet in builder.finish():
            yield number, snippet


def _apply_mask(mask: Mask | None, frame: Frame) -> Frame:
    if mask is None:
        return frame
    return Frame(lambda: mask.apply(frame.image), frame.time_s, frame.after_gap)


def _bytes(preprocessing: Preprocessing) -> int:
    """Size of a snippet."""
    width, height = preprocessing.crop_size
    pictures = len(crops_to_cut(preprocessing.crops)) * preprocessing.snippet_frames
    return pictures * width * height * 3


def _simplify_times(
    fps: float, pts: FloatArray, gaps: IntArray
) -> tuple[float, FloatArray | None, float]:
    """Average rate, frame times (None if the rate is constant) and time of the first frame."""
    start_s = float(pts[0])
    if gaps.size:
        steps = np.delete(np.diff(pts), gaps - 1)
        average = float(steps.size / steps.sum()) if steps.size else 1 / GAP_S
        return (fps if np.isclose(fps, average, rtol=1e-6) else average), pts, start_s
    if np.array_equal(pts, start_s + np.arange(len(pts)) / fps):
        return fps, None, start_s
    return float((len(pts) - 1) / (pts[-1] - pts[0])), pts, start_s


def needed_transforms(preprocessing: Preprocessing, heat: bool) -> tuple[FrameTransform, ...]:
    """What each frame must be scaled to: for the crops, and for heat where they do not suffice."""
    transforms = preprocessing.transforms
    if heat and not has_motion(preprocessing.crops):
        transforms += (HEAT_TRANSFORM,)
    return transforms


class SnippetBuilder:
    """Builds snippets (C crops, snippet_frames, h, w, 3) from frames that are pushed one by one."""

    def __init__(self, preprocessing: Preprocessing, heat: bool = False) -> None:
        self.preprocessing = preprocessing
        self._with_heat = heat
        self.transforms = needed_transforms(preprocessing, heat)
        self._resampler = _FrameResampler(preprocessing.rate)
        # The images of the latest frames, one for each transform.
        self._window: deque[tuple[Image, ...]] = deque(maxlen=preprocessing.snippet_frames)
        self._n_ticks = self._n_snippets = 0
        # Left, top, right and bottom of the motion squares of each snippet so far, as shares of
        # the picture, one after the other.
        self.boxes = array("d")
        self.heat = bytearray()  # The heat maps of all snippets so far, one after the other.

    def push(self, frames: tuple[Frame, ...]) -> Iterator[Image]:
        """Add the next frame (once for each transform) and yield the snippets that it completes.

        No snippet spans a gap.
        """
        if frames[0].after_gap:
            yield from self.finish()
        yield from self._add_ticks(self._resampler.push(frames))

    def finish(self) -> Iterator[Image]:
        """Yield the last snippet, its last tick repeated if it is incomplete, and start again."""
        settings = self.preprocessing
        yield from self._add_ticks(self._resampler.finish())
        n_ticks, n_snippets = self._n_ticks, self._n_snippets
        total = count_snippets(n_ticks, settings.snippet_frames, settings.stride)
        if n_ticks and n_snippets < total:
            tail = list(self._window)[n_snippets * settings.stride - n_ticks :]
            yield self._crop(tail + tail[-1:] * (settings.snippet_frames - len(tail)))
        self._resampler, self._n_ticks, self._n_snippets = _FrameResampler(settings.rate), 0, 0
        self._window.clear()

    def _add_ticks(self, ticks: Iterable[tuple[Frame, ...]]) -> Iterator[Image]:
        settings = self.preprocessing
        if not settings.has_picture:
            return
        for frames in ticks:
            # With a stride longer than a snippet, ticks between two snippets are not decoded.
            if self._n_ticks % settings.stride < settings.snippet_frames:
                self._window.append(tuple(frame.image for frame in frames))
            self._n_ticks += 1
            if self._n_ticks == self._n_snippets * settings.stride + settings.snippet_frames:
                yield self._crop(list(self._window))
                self._n_snippets += 1

    def _crop(self, ticks: Sequence[tuple[Image, ...]]) -> Image:
        settings = self.preprocessing
        crops, (width, height) = crops_to_cut(settings.crops), settings.crop_size
        snippet = np.empty((len(crops), settings.snippet_frames, height, width, 3), np.uint8)
        squares: list[Image] = []
        frames = [images[-1] for images in ticks]
        changes = find_changes(frames) if self._with_heat else None
        if changes is not None:
            self.heat += find_heat(changes).tobytes()
        if has_motion(crops):
            count = count_squares(crops)
            if count:
                boxes = find_squares(frames, count, changes)
            else:
                boxes = [find_motion(frames, changes)]
            for box in boxes:
                self.boxes.extend(box)
            squares = [cut_box(frames, box, settings.crop_size) for box in boxes]
        for index, (crop, name) in enumerate(zip(snippet, crops, strict=True)):
            if is_motion(name):
                square = squares[index if len(squares) > 1 else 0]
                crop[:] = cut_crop(square, name, settings.crop_size)
                continue
            for number, images in enumerate(ticks):
                crop[number] = cut_crop(images[0][None], name, settings.crop_size)[0]
        return snippet


class _FrameResampler:
    """Yields the frame shown at each tick; computes as ``Timebase.tick_frames`` does."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._tick = 0
        self._start_s = 0.0
        # The latest frame, once for each transform; it is shown until the next one starts.
        self._shown: tuple[Frame, ...] | None = None

    def push(self, frames: tuple[Frame, ...]) -> Iterator[tuple[Frame, ...]]:
        """Yield the frames of the ticks before ``frames``; without a rate, ``frames`` itself."""
        if self._rate is None:
            yield frames
            return
        time_s = frames[0].time_s
        if self._shown is None:
            self._start_s = time_s
        else:
            while self._tick / self._rate + self._start_s + TICK_TOLERANCE_S < time_s:
                yield self._shown
                self._tick += 1
        self._shown = frames

    def finish(self) -> Iterator[tuple[Frame, ...]]:
        """Yield the last frame for each tick from its start on."""
        if self._rate is None or self._shown is None:
            return
        last = math.floor((self._shown[0].time_s - self._start_s + TICK_TOLERANCE_S) * self._rate)
        while self._tick <= last:
            yield self._shown
            self._tick += 1


@dataclass(frozen=True)
class _End:
    error: BaseException | None


def iterate_in_thread(items: Generator[_ItemT, None, None], depth: int) -> Iterator[_ItemT]:
    """Run the generator ``items`` in a thread, at most ``depth`` items ahead, and yield its items.

    An exception in ``items`` is raised here. When the reader stops early, by closing this generator
    or by an exception such as Ctrl-C, the thread ends and ``items`` is closed.
    """
    items_ready: queue.Queue[_ItemT | _End] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: _ItemT | _End) -> None:
        while not stopped.is_set():
            try:
                items_ready.put(item, timeout=_POLL_S)
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
        while not isinstance(item := items_ready.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        thread.join()
