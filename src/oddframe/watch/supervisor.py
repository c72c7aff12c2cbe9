"""Keeps one camera read: starts the process that reads it, and starts it again when it fails."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from oddframe._utils.child_process import ChildProcess
from oddframe.errors import OddframeError
from oddframe.video.snippets.cutter import CutSnippet
from oddframe.watch.looks import Look, LookQueue
from oddframe.watch.messages import CameraState, StateName
from oddframe.watch.reader import read_camera
from oddframe.watch.reader_protocol import (
    Condition,
    Cut,
    EventMedia,
    FileBegun,
    Item,
    MediaRequest,
    Note,
    Opened,
    Orders,
    Origin,
    Over,
    ReaderSettings,
)
from oddframe.watch.sources import Source, redact

FIRST_WAIT_S, MAX_WAIT_S = 1.0, 60.0  # Between two attempts to connect.
_STEADY_S = 30.0  # After so long with pictures, the waits begin anew.
_STOP_S = 3.0  # For the reader to end by itself.
_PROCESS_S = 30.0  # A reader that says nothing for so long hangs.
_MAX_TEXT = 300
_END = CutSnippet((), None, is_last=True)


@dataclass(frozen=True)
class SupervisedCamera:
    """What a supervisor needs to know of a camera.

    Attributes:
        number: In the ``LookQueue``.
        name: For messages.
        source: Where its pictures come from.
        settings: How it is read.
        memory_bytes: What the reading process may take, beyond Python and its modules.
    """

    number: int
    name: str
    source: Source
    settings: ReaderSettings
    memory_bytes: int


class Supervisor(threading.Thread):
    """Reads one camera until it is stopped, or until its recording is over.

    Args:
        camera: Which.
        looks: Gets its snippets.
        on_state: Gets each change of its state, in this thread.
        on_media: Gets the clips and pictures that were requested, in this thread.
        on_note: Gets lines for people, in this thread.
    """

    def __init__(
        self,
        camera: SupervisedCamera,
        looks: LookQueue,
        on_state: Callable[[CameraState], None],
        on_media: Callable[[EventMedia], None],
        on_note: Callable[[str], None],
    ) -> None:
        super().__init__(name=f"oddframe {camera.name}", daemon=True)
        self.camera = camera
        self.failure: str | None = None  # Of a recording that could not be read to its end.
        self.width = self.height = 0
        self.fps = 0.0
        self._looks, self._on_state = looks, on_state
        self._on_media, self._on_note = on_media, on_note
        self._stopped, self._left = threading.Event(), threading.Event()
        self._is_over = False  # That nothing more comes was put into the queue.
        self._lock = threading.Lock()
        self._requests: list[MediaRequest] = []
        self._origin = Origin(written_after_s=time.time())
        self._offset_s = 0.0
        self._is_online: bool | None = None
        self._is_cut = False  # The latest segment has ended.
        self._opened_at = 0.0
        self._child: ChildProcess | None = None

    def request(self, request: MediaRequest) -> None:
        """Ask for a clip or a picture; ``on_media`` gets it, unless the camera is lost."""
        with self._lock:
            self._requests.append(request)

    def stop(self) -> None:
        """End reading; what is left is put into the queue."""
        self._stopped.set()

    def leave(self) -> None:
        """Answer no requests any more."""
        self._left.set()

    def kill(self) -> None:
        """End the reading process at once."""
        if self._child is not None:
            self._child.kill()

    def run(self) -> None:
        """Read, and connect again."""
        wait_s = FIRST_WAIT_S
        try:
            while True:
                self._opened_at = 0.0
                reason = self._read_once()
                self._end_segment()
                is_ended = self._is_over or self.camera.source.kind == "file"
                if self._stopped.is_set() or is_ended:
                    self.failure = reason
                    if reason is not None:
                        self._lost(reason)
                    break
                self._lost(reason or "the stream ended")
                if self._opened_at and time.monotonic() - self._opened_at > _STEADY_S:
                    wait_s = FIRST_WAIT_S
                if self._stopped.wait(wait_s * random.uniform(0.75, 1.25)):
                    break
                wait_s = min(2 * wait_s, MAX_WAIT_S)
        finally:
            self._finish()

    def _read_once(self) -> str | None:
        """Read one connection to its end; None, or why it failed."""
        camera = self.camera
        try:
            child = self._child = ChildProcess(camera.memory_bytes, _PROCESS_S)
        except OSError as error:
            return f"no process to read it can be started ({error.strerror})"
        stopping_at: float | None = None
        running = child.run(read_camera, camera.source, camera.settings, self._origin)
        try:
            orders: Orders | None = None
            while True:
                try:
                    items = next(running) if orders is None else running.send(orders)
                except StopIteration:
                    return None
                for item in items:
                    self._take(item)
                if self._stopped.is_set() and stopping_at is None:
                    stopping_at = time.monotonic()
                late = stopping_at is not None and time.monotonic() - stopping_at > _STOP_S
                if late and not self._is_over:
                    return None
                orders = self._orders()
        except (OddframeError, OSError) as error:
            return self._reason(error)
        except Exception as error:  # A fault of the reader must not end the others.
            return self._reason(RuntimeError(f"{type(error).__name__}: {error}"))
        finally:
            with suppress(OddframeError, OSError, ValueError):  # It was killed in the meantime.
                running.close()
            child.kill()

    def _reason(self, error: Exception) -> str:
        text = redact(" ".join(str(error).split()))
        return text.removeprefix(f"{self.camera.source.shown}: ")

    def _orders(self) -> Orders:
        with self._lock:
            requests, self._requests = tuple(self._requests), []
        return Orders(requests, self._stopped.is_set(), self._left.is_set())

    def _take(self, item: Item) -> None:
        if isinstance(item, Cut):
            self._offset_s = item.offset_s
            if item.snippet.times:
                self._origin = replace(self._origin, after_s=item.snippet.times[-1])
            self._put(item.snippet)
        elif isinstance(item, Over):
            self._finish()
        elif isinstance(item, EventMedia):
            self._on_media(item)
        elif isinstance(item, Condition):
            self._say(item.name, item.text)  # type: ignore[arg-type]
        elif isinstance(item, FileBegun):
            self._origin = replace(self._origin, written_after_s=item.written_s)
        elif isinstance(item, Note):
            self._on_note(f"{self.camera.name}: {redact(item.text)}")
        elif isinstance(item, Opened):
            self._opened_at = time.monotonic()
            if self._origin.zero_s is None:
                self._origin = replace(self._origin, zero_s=item.origin_s)
            self.width, self.height, self.fps = item.width, item.height, item.fps
            if not self._is_online:
                self._is_online = True
                self._say("online", f"{item.width}x{item.height}, {item.fps:.3g} fps")

    def _put(self, snippet: CutSnippet, is_over: bool = False) -> None:
        self._is_cut = snippet.is_last
        look = Look(self.camera.number, snippet, self._offset_s, is_over)
        self._looks.put(look, may_wait=not self.camera.source.is_live and not is_over)

    def _end_segment(self) -> None:
        """End the segment where the connection did."""
        if not self._is_cut and not self._is_over:
            self._put(_END)

    def _finish(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._put(_END, is_over=True)

    def _lost(self, reason: str) -> None:
        if self._is_online is not False:
            self._is_online = False
            self._say("offline", reason)

    def _say(self, state: StateName, text: str) -> None:
        self._on_state(
            CameraState(
                camera=self.camera.name,
                state=state,
                since=datetime.now(UTC),
                text=redact(text)[:_MAX_TEXT],
            )
        )
