"""Reads one camera, in a child process: pictures into snippets, and packets kept for clips.

``read_camera`` runs in the child; what it yields goes to ``supervisor`` in the parent.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import av

from oddframe.errors import InputError
from oddframe.video.decoding.container import OpenVideo, open_video
from oddframe.video.decoding.scale import Scaler
from oddframe.video.frame import DEFAULT_FPS, Frame, Image
from oddframe.video.snippets.cutter import SnippetCutter
from oddframe.video.snippets.reader import needed_transforms
from oddframe.watch.clocks import CameraClock, WallClock
from oddframe.watch.conditions import RESOLUTION_CHANGED, ConditionMonitor
from oddframe.watch.connection import OPEN_S, connect
from oddframe.watch.event_media import MediaCutter
from oddframe.watch.growing_folder import GrowingFolder, RecordedFile
from oddframe.watch.reader_protocol import (
    Cut,
    FileBegun,
    Item,
    Note,
    Opened,
    Orders,
    Origin,
    Over,
    ReaderSettings,
)
from oddframe.watch.sources import Source, redact

_FOLDER_S = 1.0  # A growing folder is listed so often.
_IDLE_S = 600.0  # After so long without a file, an event is over.
_JOIN_S = 2.0  # A file that begins so soon after the one before continues it.
_POLL_S = 0.2  # Messages go to the parent at least so often.
_MAX_EARLY = 64  # Packets before the first picture.
_QUEUE = 32  # Messages that wait for the parent.


def read_camera(
    source: Source, settings: ReaderSettings, origin: Origin
) -> Generator[list[Item], Orders | None, None]:
    """Yield lists of items, often empty ones, as long as the source lasts.

    Raises:
        InputError: the camera cannot be opened, or no pictures come any more.
    """
    reading = _Reading(source, settings, origin)
    thread = threading.Thread(target=reading.work, name="oddframe camera", daemon=True)
    thread.start()
    was_over = leave = False
    try:
        while not leave:
            items, is_over = reading.take()
            if is_over and reading.error is not None:
                yield items
                raise reading.error
            if is_over and not was_over:
                items.append(Over())
                was_over = True
            orders = yield items
            if orders is not None:
                reading.media.request(orders.requests)
                leave = orders.leave
                if orders.stop:
                    reading.stop()
    finally:
        reading.stop()


class _Reading:
    """The thread that reads, and what it has read."""

    def __init__(self, source: Source, settings: ReaderSettings, origin: Origin) -> None:
        self.source, self.settings, self.origin = source, settings, origin
        self.error: InputError | None = None
        self.media = MediaCutter(settings.ring_s, settings.ring_bytes)
        self._items: queue.Queue[Item] = queue.Queue(_QUEUE)
        self._stopped, self._over = threading.Event(), threading.Event()
        self._cutter: SnippetCutter | None = None
        transforms = needed_transforms(settings.preprocessing, heat=True)
        self._scalers = [Scaler(each) for each in transforms]
        self._clock: CameraClock | None = None
        self._walls = WallClock()
        self._conditions = ConditionMonitor(settings.frozen_s)
        self._last_s, self._zero_s = origin.after_s, origin.zero_s
        self._picture_at = time.monotonic()
        self._file_start_s = 0.0
        self._is_recording = False  # See ``CameraConnection``.
        self._waits = False  # For the next file, or for a picture's time: this is no silence.
        self._stamp: int | None = None

    # In the generator's thread.

    def take(self) -> tuple[list[Item], bool]:
        """What is new, after a short wait; and whether it was the last."""
        items: list[Item] = []
        is_over = self._over.is_set()
        try:
            items.append(self._items.get(timeout=_POLL_S))
            while len(items) < _QUEUE:
                items.append(self._items.get_nowait())
        except queue.Empty:
            silent_s = time.monotonic() - self._picture_at
            if not items and not is_over and not self._waits and silent_s > self._patience_s:
                self.error = InputError(f"{self.source.shown}: no picture for {silent_s:.0f} s")
                self._stopped.set()
                is_over = True
        else:
            is_over = False  # There may be more.
        # Nobody knows when the next file of a folder comes.
        at_once = is_over or (self.source.kind == "folder" and self._waits)
        return items + self.media.answers(math.inf if at_once else self._last_s), is_over

    @property
    def _patience_s(self) -> float:
        return self.settings.silence_s + (0.0 if self._clock else OPEN_S)

    def stop(self) -> None:
        """Read no further."""
        self._stopped.set()

    # In the reading thread.

    def work(self) -> None:
        """Read until the source ends, fails or ``stop`` is called."""
        try:
            if self.source.kind == "folder":
                self._read_folder()
            elif self.source.kind == "file":
                self._read_file()
            else:
                self._read_live()
        except (InputError, av.FFmpegError, OSError, MemoryError) as error:
            self.error = self.error or self._failure(error)
        # Whether a live stream ends here is for the parent to say.
        if self.source.kind == "file" or self._is_recording or self._stopped.is_set():
            self._end_segment(even_if_stopped=True)
        self._over.set()

    def _failure(self, error: Exception) -> InputError:
        if isinstance(error, InputError):
            return error
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        if isinstance(error, MemoryError):
            reason = "its pictures need more memory than reading may take"
        elif isinstance(error, av.error.ExitError | av.error.TimeoutError):
            reason = f"no answer for {self.settings.silence_s:g} s"
        return InputError(f"{self.source.shown}: {redact(reason)}")

    def _end_segment(self, even_if_stopped: bool = False) -> None:
        for cut in self._cutter.finish() if self._cutter is not None else ():
            self._put(Cut(cut, self._offset()), even_if_stopped)

    def _read_live(self) -> None:
        with connect(self.source, self.settings.silence_s) as connection:
            self._is_recording = connection.is_recording
            pace = 1.0 if self._is_recording else 0.0
            self._read(connection.video, has_stamps=connection.has_stamps, pace=pace)
        is_read = self._is_recording and self._clock is not None  # There was a picture.
        if not (is_read or self._stopped.is_set()):
            self.error = InputError(f"{self.source.shown}: the camera ended the connection")

    def _read_file(self) -> None:
        for _ in range(self.source.loops):
            if self._stopped.is_set():
                return
            with open_video(Path(self.source.address)) as video:
                video.stream.codec_context.thread_count = 1
                self._read(video, pace=self.source.speed)

    def _read_folder(self) -> None:
        """Read each file that is complete; those that are there already are left out."""
        folder = GrowingFolder(Path(self.source.address), self.origin.written_after_s)
        read_at = time.monotonic()
        while not self._wait(_FOLDER_S):
            if time.monotonic() - read_at > _IDLE_S:
                self._end_segment()
            while (file := folder.next_complete()) is not None and not self._stopped.is_set():
                read_at = time.monotonic()
                self._put(FileBegun(file.written_s))
                try:
                    self._read_recorded(file)
                except (InputError, av.FFmpegError, OSError) as error:
                    self._put(Note(f"left out: {self._failure(error)}"))

    def _read_recorded(self, file: RecordedFile) -> None:
        with open_video(file.path) as video:
            started_s = file.written_s - (video.duration_s or 0.0)
            if self._zero_s is None:
                self._zero_s = started_s
            self._file_start_s = started_s - self._zero_s
            if self._file_start_s < self._last_s + _JOIN_S:
                self._file_start_s = self._last_s + 1 / video.fps
            self._clock = None
            self._read(video, pace=math.inf)

    def _read(self, video: OpenVideo, *, has_stamps: bool = True, pace: float = 0.0) -> None:
        """Read one connection or file; ``pace``: times real time, 0: as pictures come."""
        started = self._picture_at = time.monotonic()
        self.media.clear()
        clock = self._clock = None
        first_s: float | None = None
        early: list[av.Packet[Any]] = []
        for packet in video.container.demux(video.stream):
            if self._stopped.is_set():
                return
            arrived = time.monotonic()
            try:
                pictures = packet.decode()
            except av.FFmpegError as error:
                if isinstance(error, MemoryError):
                    raise
                pictures = []
            for picture in pictures:
                if clock is None:
                    fps = video.fps if math.isfinite(video.fps) else DEFAULT_FPS
                    clock = self._clock = self._start_clock(fps, arrived, has_stamps)
                    self._opened(picture, fps)
                base = picture.time_base
                stamp_s = None if picture.pts is None or base is None else float(picture.pts * base)
                time_s = clock(stamp_s, arrived)
                first_s = time_s if first_s is None else first_s
                if pace and math.isfinite(pace):
                    due = started + (time_s - first_s) / pace
                    if self._wait(due - time.monotonic()):
                        return
                self._take_picture(picture, time_s, clock.is_stopped)
            early.append(packet)  # Of its time nothing is known before the first picture.
            if clock is not None or len(early) > _MAX_EARLY:
                for each in early:
                    self.media.add(each, self._packet_time(each))
                early.clear()

    def _wait(self, seconds: float) -> bool:
        """Wait; whether reading was stopped."""
        self._waits = True
        is_stopped = self._stopped.wait(max(0.0, seconds))
        self._picture_at = time.monotonic()
        self._waits = False
        return is_stopped

    def _packet_time(self, packet: Any) -> float:
        """A packet's time: of its own stamp, against that of the latest picture."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None or self._stamp is None or packet.time_base is None:
            return self._last_s
        return self._last_s + float((stamp - self._stamp) * packet.time_base)

    def _start_clock(self, fps: float, now: float, has_stamps: bool) -> CameraClock:
        if self._zero_s is None:
            self._zero_s = now
        if self.source.kind == "folder":
            base_s = self._file_start_s
        elif self.source.kind == "file":
            base_s = self._last_s + 1 / fps if math.isfinite(self._last_s) else 0.0
        else:
            base_s = now - self._zero_s
        return CameraClock(fps, base_s, self._last_s, has_stamps)

    def _opened(self, picture: av.VideoFrame, fps: float) -> None:
        if self._cutter is None:
            self._cutter = SnippetCutter(self.settings.preprocessing, fps)
            self._put(Opened(picture.width, picture.height, fps, self._zero_s or 0.0))

    def _take_picture(self, picture: av.VideoFrame, time_s: float, is_clock_stopped: bool) -> None:
        self._picture_at = time.monotonic()
        self._last_s, self._stamp = time_s, picture.pts
        if self.source.kind != "folder":
            self._walls.add(time_s, time.time())
        for condition in self._conditions.check(picture, time_s, is_clock_stopped):
            self._put(condition)
            if condition.name == RESOLUTION_CHANGED:
                self.media.clear()
        frames = tuple(
            Frame(partial(self._scale, scaler, picture), time_s) for scaler in self._scalers
        )
        assert self._cutter is not None
        for cut in self._cutter.push_frames(frames, time_s):
            self._put(Cut(cut, self._offset()))

    def _scale(self, scaler: Scaler, picture: av.VideoFrame) -> Image:
        image = scaler.scale_decoded(picture)
        mask = self.settings.mask
        return image if mask is None else mask.apply(image)

    def _offset(self) -> float:
        if self.source.kind == "folder":
            return self._zero_s or 0.0
        return self._walls.offset_s

    def _put(self, item: Item, even_if_stopped: bool = False) -> None:
        until = time.monotonic() + 2.0
        while not self._stopped.is_set() or (even_if_stopped and time.monotonic() < until):
            try:
                self._items.put(item, timeout=_POLL_S)
            except queue.Full:
                self._picture_at = time.monotonic()  # It is the parent that does not take it.
                continue
            return
