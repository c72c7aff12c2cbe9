"""Reads one camera, in a child process: pictures into snippets, and packets kept for clips.

``read_camera`` runs in the child; what it yields goes to ``supervisor`` in the parent.
"""

from __future__ import annotations

import io
import math
import queue
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer

from oddframe._utils.files import is_file
from oddframe.errors import InputError
from oddframe.video.decoding.container import OpenVideo, open_video
from oddframe.video.decoding.scale import Scaler
from oddframe.video.frame import DEFAULT_FPS, Frame, FrameTransform, Image
from oddframe.video.mask import Mask
from oddframe.video.snippets.cutter import CutSnippet, SnippetCutter
from oddframe.video.snippets.preprocessing import Preprocessing
from oddframe.watch.clocks import CameraClock, WallClock
from oddframe.watch.packet_ring import PacketRing, StoredClip
from oddframe.watch.sources import Source, redact

_VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mkv", ".avi", ".mov", ".ts", ".m4v", ".webm", ".flv", ".mpg", ".mpeg"}
)
_OPEN_S = 10.0  # A connection must stand by then.
_FOLDER_S = 1.0  # A growing folder is listed so often.
_SETTLED_S = 2.0  # A file that has not grown for so long is complete.
_IDLE_S = 600.0  # After so long without a file, an event is over.
_JOIN_S = 2.0  # A file that begins so soon after the one before continues it.
_POLL_S = 0.2  # Messages go to the parent at least so often.
_MAX_EARLY = 64  # Packets before the first picture.
_QUEUE = 32  # Messages that wait for the parent.
# A picture is compared with the one before in so many points; sensors are never so still.
_POINTS = (32, 24)
_FROZEN_DIFFERENCE = 0.02  # Mean difference of grey values, of 255.
# Formats whose time stamps FFmpeg invents, as their streams have none.
_NO_STAMPS = frozenset({"mjpeg", "mpjpeg", "mjpeg_2000", "h264", "hevc"})
_MAX_PICTURE_PIXELS = 1920 * 1080


@dataclass(frozen=True)
class ReaderSettings:
    """How a camera is read.

    Attributes:
        preprocessing: How snippets are cut.
        mask: Parts of the picture to ignore.
        silence_s: After so long without a picture the connection is given up.
        frozen_s: A picture that has not changed for so long is frozen.
        ring_s: Seconds of packets that are kept for clips; 0: none.
        ring_bytes: Their size at most.
    """

    preprocessing: Preprocessing
    mask: Mask | None = None
    silence_s: float = 10.0
    frozen_s: float = 60.0
    ring_s: float = 0.0
    ring_bytes: int = 32 * 2**20


@dataclass(frozen=True)
class Origin:
    """Where the time of a camera begins; it stays the same when it is connected again.

    Attributes:
        zero_s: ``time.monotonic`` at second 0, the same in all processes; for a folder
            ``time.time``. None: the first picture is second 0.
        after_s: Every time is later than this.
        written_after_s: Of a folder: only files that were written later are read (``time.time``).
    """

    zero_s: float | None = None
    after_s: float = -math.inf
    written_after_s: float = 0.0


@dataclass(frozen=True)
class Opened:
    """The first picture has come."""

    width: int
    height: int
    fps: float
    origin_s: float  # ``Origin.zero_s`` for the next connection.


@dataclass(frozen=True)
class Cut:
    """A snippet, and what the machine's clock is ahead of the camera's time (s)."""

    snippet: CutSnippet
    offset_s: float


@dataclass(frozen=True)
class Condition:
    """A condition has begun, or is over (``text`` says so)."""

    name: str  # A state of ``CameraState``; ``online``: it is over.
    text: str


@dataclass(frozen=True)
class FileBegun:
    """A file of a folder is read now: if it cannot be, it is not read again."""

    written_s: float


@dataclass(frozen=True)
class Note:
    """Something for people that changes no state."""

    text: str


@dataclass(frozen=True)
class MediaRequest:
    """Asks for the packets from ``start_s`` to ``end_s``, and for the picture at ``peak_s``."""

    event: str
    start_s: float
    end_s: float
    peak_s: float | None = None


@dataclass(frozen=True)
class EventMedia:
    """The answer; None: there is none (any more)."""

    event: str
    clip: StoredClip | None = None
    picture: Image | None = None
    is_clip: bool = False


@dataclass(frozen=True)
class Over:
    """All has been read, and the last snippet was sent; requests are still answered."""


@dataclass(frozen=True)
class Orders:
    """What the parent wants, sent with each reply.

    Attributes:
        requests: New ones.
        stop: Read no further.
        leave: Answer no requests any more.
    """

    requests: tuple[MediaRequest, ...] = ()
    stop: bool = False
    leave: bool = False


Item = Opened | Cut | Condition | FileBegun | Note | EventMedia | Over


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
                reading.request(orders.requests)
                leave = orders.leave
                if orders.stop:
                    reading.stop()
    finally:
        reading.stop()


@dataclass
class _Reading:
    """The thread that reads, and what it has read."""

    source: Source
    settings: ReaderSettings
    origin: Origin
    error: InputError | None = None
    _items: queue.Queue[Item] = field(default_factory=lambda: queue.Queue(_QUEUE))

    def __post_init__(self) -> None:
        self._stopped, self._over = threading.Event(), threading.Event()
        self._lock = threading.Lock()  # Of the ring.
        self._ring = PacketRing(self.settings.ring_s, self.settings.ring_bytes)
        self._requests: list[MediaRequest] = []
        self._cutter: SnippetCutter | None = None
        self._transforms = self.settings.preprocessing.transforms
        self._scalers = [Scaler(each) for each in self._transforms]
        self._clock: CameraClock | None = None
        self._walls = WallClock()
        self._last_s = self.origin.after_s
        self._zero_s = self.origin.zero_s
        self._picture_at = time.monotonic()
        self._conditions: dict[str, str] = {}
        self._size: tuple[int, int] | None = None
        self._still = _StillPicture(self.settings.frozen_s)
        self._file_start_s = 0.0
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
        return items + self._answers(is_over), is_over

    @property
    def _patience_s(self) -> float:
        return self.settings.silence_s + (0.0 if self._clock else _OPEN_S)

    def request(self, requests: Sequence[MediaRequest]) -> None:
        """Remember requests for clips and pictures."""
        self._requests += requests

    def _answers(self, is_over: bool) -> list[Item]:
        """Answer the requests whose packets have come."""
        # Nobody knows when the next file of a folder comes.
        at_once = is_over or (self.source.kind == "folder" and self._waits)
        ready = [r for r in self._requests if at_once or r.end_s < self._last_s]
        self._requests = [r for r in self._requests if r not in ready]
        return [self._answer(each) for each in ready]

    def stop(self) -> None:
        """Read no further."""
        self._stopped.set()

    def _answer(self, request: MediaRequest) -> EventMedia:
        with self._lock:
            clip = self._ring.cut(request.start_s, request.end_s)
        if clip is None or request.peak_s is None:
            return EventMedia(request.event, clip, is_clip=request.peak_s is None)
        return EventMedia(request.event, picture=_picture_of(clip, request.peak_s))

    # In the reading thread.

    def work(self) -> None:
        """Read until the source ends, fails or ``stop`` is called."""
        try:
            if self.source.kind == "folder":
                self._read_folder()
            elif self.source.kind == "file":
                for _ in range(self.source.loops):
                    if self._stopped.is_set():
                        break
                    self._read_file(Path(self.source.address))
            else:
                self._read_live()
        except InputError as error:
            self.error = self.error or error
        except av.FFmpegError as error:
            self.error = self.error or self._failure(error)
        except OSError as error:
            self.error = self.error or InputError(
                f"{self.source.shown}: {(error.strerror or str(error)).lower()}"
            )
        except MemoryError:
            self.error = self.error or InputError(
                f"{self.source.shown}: its pictures need more memory than reading may take"
            )
        if self._cutter is not None:  # Whether it ends here is for the parent to say.
            with_rest = self.source.kind == "file" or self._stopped.is_set()
            for cut in self._cutter.finish() if with_rest else ():
                self._put(Cut(cut, self._offset()), even_if_stopped=True)
        self._over.set()

    def _failure(self, error: Exception) -> InputError:
        reason = getattr(error, "strerror", None) or str(error)
        if isinstance(error, av.error.ExitError | av.error.TimeoutError):
            reason = f"no answer for {self.settings.silence_s:g} s"
        return InputError(f"{self.source.shown}: {redact(reason)}")

    def _read_live(self) -> None:
        source = self.source
        options = {"protocol_whitelist": source.protocols}
        name = source.address
        if source.kind == "network":
            options["format_whitelist"] = source.formats
            options |= {"analyzeduration": "2000000", "fflags": "nobuffer"}
            if name.startswith("rtsp"):
                options["rtsp_transport"] = "tcp"
        container = av.open(
            name,
            format="v4l2" if source.kind == "device" else None,
            options=options,
            timeout=(_OPEN_S, self.settings.silence_s),
            metadata_errors="replace",
        )
        with container:
            video = _video_of(container, source)
            self._read(video, has_stamps=container.format.name not in _NO_STAMPS)
        if not self._stopped.is_set():
            self.error = InputError(f"{source.shown}: the camera ended the connection")

    def _read_file(self, path: Path) -> None:
        with open_video(path) as video:
            video.stream.codec_context.thread_count = 1
            self._read(video, pace=self.source.speed)

    def _read_folder(self) -> None:
        """Read each file that is complete; those that are there already are left out."""
        folder = Path(self.source.address)
        oldest_s = self.origin.written_after_s
        known = {path for path in _videos(folder) if path.stat().st_mtime <= oldest_s}
        sizes: dict[Path, tuple[int, float]] = {}
        read_at = time.monotonic()
        while not self._wait(_FOLDER_S):
            if self._cutter is not None and time.monotonic() - read_at > _IDLE_S:
                for cut in self._cutter.finish():
                    self._put(Cut(cut, self._offset()))
            found = _videos(folder)
            known &= set(found)
            sizes = {path: size for path, size in sizes.items() if path in found}
            for path in [path for path in found if path not in known]:
                status = path.stat()
                size, since_s = sizes.get(path, (-1, 0.0))
                if size != status.st_size:
                    sizes[path] = status.st_size, time.monotonic()
                    break  # Those after it wait for it: they are later.
                if time.monotonic() - since_s < _SETTLED_S:
                    break
                known.add(path)
                read_at = time.monotonic()
                self._put(FileBegun(status.st_mtime))
                try:
                    self._read_part(path, status.st_mtime)
                except (InputError, av.FFmpegError, OSError) as error:
                    text = error if isinstance(error, InputError) else self._failure(error)
                    self._put(Note(f"left out: {text}"))

    def _read_part(self, path: Path, written_s: float) -> None:
        with open_video(path) as video:
            started_s = written_s - (video.duration_s or 0.0)
            if self._zero_s is None:
                self._zero_s = started_s
            self._file_start_s = started_s - self._zero_s
            if self._file_start_s < self._last_s + _JOIN_S:
                self._file_start_s = self._last_s + 1 / video.fps
            if self._file_start_s == -math.inf:
                self._file_start_s = 0.0
            self._clock = None
            self._read(video, pace=math.inf)

    def _read(self, video: OpenVideo, *, has_stamps: bool = True, pace: float = 0.0) -> None:
        """Read one connection or file; ``pace``: times real time, 0: as pictures come."""
        stream, started = video.stream, time.monotonic()
        self._ring.clear()
        self._picture_at = time.monotonic()
        clock = self._clock = None
        first_s: float | None = None
        early: list[av.Packet[Any]] = []
        for packet in video.container.demux(stream):
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
                self._take_picture(picture, time_s)
            early.append(packet)  # Of its time nothing is known before the first picture.
            if clock is not None or len(early) > _MAX_EARLY:
                with self._lock:
                    for each in early:
                        self._ring.add(each, self._packet_time(each))
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
        if self.source.kind == "folder":
            base_s = self._file_start_s
        elif self.source.kind == "file":
            base_s = self._last_s + 1 / fps if math.isfinite(self._last_s) else 0.0
            self._zero_s = now if self._zero_s is None else self._zero_s
        else:
            self._zero_s = now if self._zero_s is None else self._zero_s
            base_s = now - self._zero_s
        return CameraClock(fps, base_s, self._last_s, has_stamps)

    def _opened(self, picture: av.VideoFrame, fps: float) -> None:
        if self._cutter is None:
            self._cutter = SnippetCutter(self.settings.preprocessing, fps)
            self._put(Opened(picture.width, picture.height, fps, self._zero_s or 0.0))

    def _take_picture(self, picture: av.VideoFrame, time_s: float) -> None:
        self._picture_at = time.monotonic()
        self._last_s, self._stamp = time_s, picture.pts
        if self.source.kind != "folder":
            self._walls.add(time_s, time.time())
        self._watch(picture, time_s)
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

    def _watch(self, picture: av.VideoFrame, time_s: float) -> None:
        """Notice a frozen picture, a stopped clock and another resolution."""
        size = picture.width, picture.height
        if self._size is not None and size != self._size:
            text = f"{self._size[0]}x{self._size[1]} before, now {size[0]}x{size[1]}"
            self._put(Condition("resolution changed", text))
            with self._lock:
                self._ring.clear()
        self._size = size
        frozen_s = self._still.add(picture, time_s)
        frozen = f"the same picture for {frozen_s:.0f} s" if frozen_s is not None else ""
        self._set("frozen", frozen, "the picture moves again")
        assert self._clock is not None
        stopped = "its time stamps stand still; times are those of the arrival"
        self._set("clock stopped", stopped * self._clock.is_stopped, "its clock goes again")

    def _set(self, name: str, text: str, over: str) -> None:
        if bool(text) != (name in self._conditions):
            if text:
                self._conditions[name] = text
                self._put(Condition(name, text))
            else:
                del self._conditions[name]
                self._put(Condition("online", over))

    def _put(self, item: Item, even_if_stopped: bool = False) -> None:
        until = time.monotonic() + 2.0
        while not self._stopped.is_set() or (even_if_stopped and time.monotonic() < until):
            try:
                self._items.put(item, timeout=_POLL_S)
            except queue.Full:
                self._picture_at = time.monotonic()  # It is the parent that does not take it.
                continue
            return


class _StillPicture:
    """Notices that a picture does not change any more."""

    def __init__(self, frozen_s: float) -> None:
        self._frozen_s = frozen_s
        self._scaler = Scaler(FrameTransform(size=_POINTS))
        self._last: Image | None = None
        self._changed_s = self._looked_s = -math.inf

    def add(self, picture: av.VideoFrame, time_s: float) -> float | None:
        """For how long the picture has been still, if that is too long."""
        if time_s - self._looked_s >= min(1.0, self._frozen_s / 4):
            self._looked_s = time_s
            image = self._scaler.scale_decoded(picture)
            last, self._last = self._last, image
            if last is None or np.abs(image.astype(np.int16) - last).mean() > _FROZEN_DIFFERENCE:
                self._changed_s = time_s
        still_s = time_s - self._changed_s
        return still_s if still_s >= self._frozen_s else None


def _video_of(container: InputContainer, source: Source) -> OpenVideo:
    stream = next(iter(container.streams.video), None)
    if stream is None or stream.codec_context is None:
        raise InputError(f"{source.shown}: it sends no video that FFmpeg can decode")
    stream.codec_context.thread_count = 1
    return OpenVideo(container, stream)


def _picture_of(clip: StoredClip, time_s: float) -> Image | None:
    """The picture of a clip's packets that is shown at ``time_s``."""
    best: av.VideoFrame | None = None
    try:
        with av.open(io.BytesIO(clip.header)) as container:
            codec = container.streams.video[0].codec_context
            near = [p for p in clip.packets if p.time_s <= time_s + 1e-3]
            wanted = max(near, key=lambda p: p.time_s, default=clip.packets[0]).pts
            for stored in clip.packets:
                packet: Any = av.Packet(stored.data)
                packet.pts, packet.dts, packet.time_base = stored.pts, stored.dts, clip.time_base
                for frame in codec.decode(packet):
                    if best is None or (frame.pts is not None and frame.pts <= wanted):
                        best = frame
            for frame in codec.decode(None):
                if best is None or (frame.pts is not None and frame.pts <= wanted):
                    best = frame
    except av.FFmpegError:
        pass
    if best is None:
        return None
    return Scaler(FrameTransform(max_pixels=_MAX_PICTURE_PIXELS)).scale_decoded(best)


def _videos(folder: Path) -> list[Path]:
    """Videos in a folder and those below, oldest first; hidden ones are being written."""
    found = []
    for path in _walk(folder):
        if (
            path.suffix.lower() in _VIDEO_SUFFIXES
            and not path.name.startswith(".")
            and is_file(path)
        ):
            try:
                found.append((path.stat().st_mtime, path))
            except OSError:
                continue
    return [path for _, path in sorted(found)]


def _walk(folder: Path) -> Iterator[Path]:
    try:
        yield from folder.rglob("*")
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror})") from None
