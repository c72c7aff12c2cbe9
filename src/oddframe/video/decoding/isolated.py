"""Opens any video; decodes files in child processes with limits on memory and time without a frame.

Decoders are large C libraries that read untrusted files: a file may crash them, make them hang, or
make them allocate any amount of memory. In a child process, only that file fails.
"""

from __future__ import annotations

import atexit
import os
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddframe._utils.child_process import ChildFailedError, ChildProcessPool, is_supported
from oddframe._utils.files import describe_read_error, is_dir
from oddframe.errors import InputError, UsageError
from oddframe.video.decoding.pictures import ArraySource, FrameFolder
from oddframe.video.decoding.reader import VideoFile
from oddframe.video.frame import Frame, FrameSource, FrameTransform, HeartbeatSource, Image

_GB = 1e9
# How many of the latest frames the child process keeps, so that their pictures can be requested: a
# reader that looks for the frame at a given time recognizes it only when the next frame arrives.
_KEPT_FRAMES = 2


@dataclass(frozen=True)
class DecodingLimits:
    """Limits for decoding one file."""

    memory_bytes: int  # Beyond the memory of the loaded libraries; enforced on Linux.
    timeout_s: float = 120.0  # Without a frame.

    def __post_init__(self) -> None:
        if self.memory_bytes < 50_000_000 or not self.timeout_s > 0:
            raise UsageError(
                f"decoding needs at least 0.05 GB of memory and some time, not "
                f"{self.memory_bytes / _GB:g} GB and {self.timeout_s:g} s"
            )


def _default_limits() -> DecodingLimits:
    """4 GB, or half of the machine's memory if that is less."""
    memory = 4 * _GB
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = min(memory, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2)
    return DecodingLimits(max(50_000_000, int(memory)))


DEFAULT_LIMITS = _default_limits()
_limits = DEFAULT_LIMITS
_pool = ChildProcessPool(max_idle=max(2, os.cpu_count() or 1))
atexit.register(_pool.close)


def set_decoding_limits(limits: DecodingLimits) -> None:
    """Set the limits for all files that this process opens from now on."""
    global _limits
    _limits = limits


def decoding_limits() -> DecodingLimits:
    """The limits that ``set_decoding_limits`` set."""
    return _limits


def run_isolated(path: Path, function: Callable[..., Any], *args: Any) -> Generator[Any, Any, Any]:
    """Run a function that reads the file ``path`` in a child process; see ``ChildProcess.run``.

    InputError if the function crashes, hangs or exceeds the memory limit.
    """
    try:
        with _pool.lease(_limits.memory_bytes, _limits.timeout_s) as child:
            return (yield from child.run(function, *args))
    except ChildFailedError as failure:
        raise InputError(f"{path}: {failure}") from None
    except OSError as error:  # The file was removed, or its disk failed, while it was read.
        raise InputError(f"{path}: {describe_read_error(error)}") from None


def call_isolated(path: Path, function: Callable[..., Any], *args: Any) -> Any:
    """Call a function that is not a generator function as ``run_isolated`` does."""
    if not is_supported():
        return function(*args)
    running = run_isolated(path, function, *args)
    try:
        next(running)
    except StopIteration as end:
        return end.value
    raise TypeError(f"{function} is a generator function")


def open_in_process(path: Path, fps: float | None = None) -> FrameSource:
    """As ``open_source`` for files and folders, but decode them in this process."""
    if is_dir(path):
        return FrameFolder(path, fps)
    if fps is not None:
        raise UsageError(f"{path}: a video file has its own times, so fps cannot be set for it")
    return VideoFile(path)


def open_source(
    source: str | Path | NDArray[np.uint8] | Iterable[NDArray[np.uint8]],
    *,
    fps: float | None = None,
) -> FrameSource:
    """Open a video file, a folder of pictures, an array (N, H, W, 3) or an iterable of (H, W, 3).

    Files and folders are decoded in a child process. ``fps`` (default 25) is for pictures and
    arrays; a UsageError for a video file, which has time stamps.
    """
    if fps is not None and not (np.isfinite(fps) and fps > 0):
        raise UsageError(f"a frame rate must be a positive number, not {fps}")
    if not isinstance(source, str | Path):
        return ArraySource(source, fps)
    opened = IsolatedVideo if is_supported() else open_in_process
    return opened(Path(source), fps)


class IsolatedVideo(FrameSource):
    """A video file or a folder of pictures, decoded in a child process."""

    def __init__(self, path: Path, fps: float | None = None) -> None:
        self.name = str(path)
        self._path, self._given_fps = path, fps
        self.audio_file = None if is_dir(path) else path
        self.fps, self.expected_frames = call_isolated(path, _rate_and_length, path, fps)

    def run(self, function: Callable[..., Any], *args: Any) -> Generator[Any, Any, Any]:
        reply: Any = None
        running = run_isolated(self._path, _on_source, self._path, self._given_fps, function, args)
        try:
            while True:
                try:
                    item, counts = running.send(reply)
                except StopIteration as end:
                    result, counts = end.value
                    self.damaged_packets, self.mended_frames = counts
                    return result
                self.damaged_packets, self.mended_frames = counts
                reply = yield item
        finally:
            running.close()

    def read(self, transforms: Sequence[FrameTransform]) -> Iterator[tuple[Frame, ...]]:
        # The child converts requested pictures only. If one of the previous frame was requested,
        # it sends the same one of the next frame along, without a further request.
        running = self.run(_frames, tuple(transforms))
        recent: deque[list[weakref.ref[Frame]]] = deque()
        used: set[int] = set()

        def picture(number: int, which: int, sent: dict[int, Image]) -> Image:
            used.add(which)
            image: Image = sent[which] if which in sent else running.send((number, which))
            return image

        try:
            item, number = next(running), 0
            while item is not None:
                time_s, after_gap, sent = item
                frames = tuple(
                    Frame(partial(picture, number, which, sent), time_s, after_gap)
                    for which in range(len(transforms))
                )
                recent.append([weakref.ref(frame) for frame in frames])
                used.clear()
                yield frames
                if len(recent) == _KEPT_FRAMES:
                    _load_images(recent.popleft())  # The child process drops this frame next.
                item, number = running.send(frozenset(used)), number + 1
            while recent:
                _load_images(recent.popleft())
        finally:
            running.close()


def _load_images(frames: Iterable[weakref.ref[Frame]]) -> None:
    """Load the pictures of those frames that are still referenced."""
    for reference in frames:
        if (frame := reference()) is not None:
            _ = frame.image


def _rate_and_length(path: Path, fps: float | None) -> tuple[float, int | None]:
    source = open_in_process(path, fps)
    return source.fps, source.expected_frames


def _on_source(
    path: Path,
    fps: float | None,
    function: Callable[..., Generator[Any, Any, Any]],
    args: tuple[Any, ...],
    heartbeat: Callable[[], None],
) -> Generator[Any, Any, Any]:
    """In the child process: run a function on a video; yield the damage counts with each item."""
    source = HeartbeatSource(open_in_process(path, fps), lambda *_: heartbeat())
    running = function(source, *args)
    reply: Any = None
    try:
        while True:
            try:
                item = running.send(reply)
            except StopIteration as end:
                return end.value, (source.damaged_packets, source.mended_frames)
            reply = yield item, (source.damaged_packets, source.mended_frames)
    finally:
        running.close()


def _frames(source: FrameSource, transforms: Sequence[FrameTransform]) -> Generator[Any, Any, None]:
    """In the child process: yield (time, after a gap, pictures by transform) of each frame.

    At the end it yields None. The parent replies with the set of transforms whose pictures it used,
    to get the next frame, or with (number of a frame, number of a transform), to get a picture.
    """
    recent: dict[int, tuple[Frame, ...]] = {}
    used: frozenset[int] = frozenset()
    for number, frames in enumerate(source.read(transforms)):
        recent[number] = frames
        recent.pop(number - _KEPT_FRAMES, None)
        pictures = {which: frames[which].image for which in used}
        used = yield from _answer(recent, (frames[0].time_s, frames[0].after_gap, pictures))
    yield from _answer(recent, None)


def _answer(
    recent: Mapping[int, tuple[Frame, ...]], item: tuple[float, bool, dict[int, Image]] | None
) -> Generator[Any, Any, frozenset[int]]:
    """Yield a frame, then the requested pictures; return the transforms that were used."""
    reply = yield item
    while isinstance(reply, tuple):
        number, which = reply
        reply = yield recent[number][which].image
    return reply or frozenset()
