"""Opens and decodes video in child processes, whose memory and silence are limited.

A decoder is half a million lines of C that read untrusted files: a file may crash it, hang it,
or make it ask for any amount of memory. In a child process this costs that one file.
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

from oddframe._utils.child_process import ChildFailedError, ChildProcessPool, is_supported
from oddframe._utils.files import is_dir
from oddframe.errors import InputError, UsageError
from oddframe.video.decoding.folder import FrameFolder
from oddframe.video.decoding.reader import VideoFile
from oddframe.video.frame import Frame, FrameSource, HeartbeatSource, Image
from oddframe.video.snippets.transforms import FrameTransform

_GB = 1e9
# Frames that the child process keeps behind the latest one, as long as their pictures may be asked
# for: whoever looks for the frame at an instant knows it when the next one has come.
_KEPT_FRAMES = 2


@dataclass(frozen=True)
class DecodingLimits:
    """What decoding one file may take.

    Attributes:
        memory_bytes: Beside the decoder's own code; enforced on Linux.
        timeout_s: Seconds without a frame after which the file is given up.
    """

    memory_bytes: int
    timeout_s: float = 120.0

    def __post_init__(self) -> None:
        if self.memory_bytes < 50_000_000 or not self.timeout_s > 0:
            raise UsageError(
                f"decoding needs at least 0.05 GB of memory and some time, not "
                f"{self.memory_bytes / _GB:g} GB and {self.timeout_s:g} s"
            )


def _default_limits() -> DecodingLimits:
    """4 GB, or half of the machine's memory where that is less."""
    memory = 4 * _GB
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = min(memory, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2)
    return DecodingLimits(max(50_000_000, int(memory)))


DEFAULT_LIMITS = _default_limits()
_limits = DEFAULT_LIMITS
_pool = ChildProcessPool(max_idle=max(2, os.cpu_count() or 1))
atexit.register(_pool.close)


def set_decoding_limits(limits: DecodingLimits) -> None:
    """Set the limits of every file that this process opens from now on."""
    global _limits
    _limits = limits


def decoding_limits() -> DecodingLimits:
    """The limits of every file that this process opens."""
    return _limits


def run_isolated(path: Path, function: Callable[..., Any], *args: Any) -> Generator[Any, Any, Any]:
    """Run a function that reads a file in a child process; see ``ChildProcess.run``.

    Args:
        path: The file, for messages.
        function: What to run; picklable, as are its arguments, items and result.

    Raises:
        InputError: the file cannot be read, or reading it crashed the child process, hung, or
            took more memory than it may.
    """
    limits = _limits
    try:
        with _pool.lease(limits.memory_bytes, limits.timeout_s) as child:
            result = yield from child.run(function, *args)
    except ChildFailedError as failure:
        raise InputError(f"{path}: {failure}") from None
    except OSError as error:  # It vanished, or its disk failed, while it was read.
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    return result


def call_isolated(path: Path, function: Callable[..., Any], *args: Any) -> Any:
    """As ``run_isolated`` for a function that is no generator: what it returns."""
    if not is_supported():
        return function(*args)
    running = run_isolated(path, function, *args)
    try:
        next(running)
    except StopIteration as end:
        return end.value
    raise TypeError(f"{function} is a generator function")


def open_in_process(path: Path, fps: float | None = None) -> FrameSource:
    """A video file or a folder of pictures, decoded in this process.

    Raises:
        InputError: there is no such file, or no video in it.
        UsageError: ``fps`` is given for a video file, which has its own times.
    """
    if is_dir(path):
        return FrameFolder(path, fps)
    if fps is not None:
        raise UsageError(f"{path}: a video file has its own times, so fps cannot be set for it")
    return VideoFile(path)


class IsolatedVideo(FrameSource):
    """A video file or a folder of pictures, decoded in a child process.

    Args:
        path: The file or folder.
        fps: Of a folder of pictures; None: 25.

    Raises:
        InputError: there is no such file, no video in it, or opening it broke the child process.
        UsageError: see ``open_in_process``.
    """

    def __init__(self, path: Path, fps: float | None = None) -> None:
        self.name = str(path)
        self.damaged_packets = self.mended_frames = 0
        self._path, self._given_fps = path, fps
        self._fps: float
        self._expected_frames: int | None
        self._fps, self._expected_frames = call_isolated(path, _describe, path, fps)

    @property
    def fps(self) -> float:
        """Average frame rate as the container states it; of a folder of pictures as given."""
        return self._fps

    @property
    def expected_frames(self) -> int | None:
        """Number of frames as the container states it."""
        return self._expected_frames

    @property
    def audio_file(self) -> Path | None:
        """The video file itself; of a folder of pictures none."""
        return None if is_dir(self._path) else self._path

    def run(self, function: Callable[..., Any], *args: Any) -> Generator[Any, Any, Any]:
        """Run ``function(source, *args)`` in a child process; see ``FrameSource.run``.

        Raises:
            InputError: the video cannot be decoded, or decoding it broke the child process.
        """
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

    def read(self, read: Sequence[FrameTransform]) -> Iterator[tuple[Frame, ...]]:
        """The frames, see ``FrameSource.looks``; a picture that is not asked for is not made.

        Those of a frame come along with it, if they were asked for of the frame before.
        """
        running = self.run(_frames, tuple(read))
        recent: deque[list[weakref.ref[Frame]]] = deque()
        used: set[int] = set()

        def picture(number: int, which: int, sent: dict[int, Image]) -> Image:
            used.add(which)
            image: Image = sent[which] if which in sent else running.send((number, which))
            return image

        try:
            found, number = next(running), 0
            while found is not None:
                time_s, after_gap, sent = found
                frames = tuple(
                    Frame(partial(picture, number, which, sent), time_s, after_gap)
                    for which in range(len(read))
                )
                recent.append([weakref.ref(frame) for frame in frames])
                used.clear()
                yield frames
                if len(recent) == _KEPT_FRAMES:
                    _make(recent.popleft())  # The child process drops it next.
                found, number = running.send(frozenset(used)), number + 1
            while recent:
                _make(recent.popleft())
        finally:
            running.close()


def _make(frames: Iterable[weakref.ref[Frame]]) -> None:
    """Make the pictures of those frames that somebody still holds."""
    for reference in frames:
        if (frame := reference()) is not None:
            _ = frame.image


def _describe(path: Path, fps: float | None) -> tuple[float, int | None]:
    source = open_in_process(path, fps)
    return source.fps, source.expected_frames


def _on_source(
    path: Path,
    fps: float | None,
    function: Callable[..., Generator[Any, Any, Any]],
    args: tuple[Any, ...],
    heartbeat: Callable[[], None],
) -> Generator[Any, Any, Any]:
    """In the child process: run a function on a video; counts of damage go with every item."""
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


def _frames(source: FrameSource, read: Sequence[FrameTransform]) -> Generator[Any, Any, None]:
    """In the child process: (time, after a gap, pictures by look) of each frame; None at the end.

    What is sent to it is the looks whose pictures were used, for the next frame; or, for a picture,
    (number of a frame, number of a look).
    """
    recent: dict[int, tuple[Frame, ...]] = {}
    used: frozenset[int] = frozenset()
    for number, frames in enumerate(source.read(read)):
        recent[number] = frames
        recent.pop(number - _KEPT_FRAMES, None)
        pictures = {which: frames[which].image for which in used}
        used = yield from _answer(recent, (frames[0].time_s, frames[0].after_gap, pictures))
    yield from _answer(recent, None)


def _answer(
    recent: Mapping[int, tuple[Frame, ...]], found: tuple[float, bool, dict[int, Image]] | None
) -> Generator[Any, Any, frozenset[int]]:
    """Send a frame, then the pictures that are asked for; the looks that were used."""
    wanted = yield found
    while isinstance(wanted, tuple):
        frame, which = wanted
        wanted = yield recent[frame][which].image
    return wanted or frozenset()
