"""Which snippet is looked at next: fair between cameras, and sparser when there are too many.

Each camera has at most a few snippets that wait. When another comes, the oldest loses its picture:
it is skipped, and the features of the one before it stand for it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace

from oddframe.video.snippets.cutter import CutSnippet

_WAITING = 2  # Snippets of a camera with a picture.
# Entries of a camera, without a picture: a scorer that stands still must not fill the memory.
_ENTRIES = 1000
COVERAGE_S = 60.0  # The coverage is that of so many seconds.


@dataclass(frozen=True)
class Look:
    """A snippet of a camera, or an end of its stream, in order.

    Attributes:
        camera: Number of the camera.
        snippet: Its image is None if it was skipped.
        offset_s: Machine's clock less the camera's time, in seconds.
        is_over: Nothing more comes from this camera.
    """

    camera: int
    snippet: CutSnippet
    offset_s: float
    is_over: bool = False


@dataclass
class _Queue:
    entries: deque[Look] = field(default_factory=deque)
    # When each snippet of the last minute was looked at (True) or skipped.
    decided: deque[tuple[float, bool]] = field(default_factory=deque)

    def with_picture(self) -> int:
        return sum(each.snippet.image is not None for each in self.entries)

    def decide(self, is_looked_at: bool) -> None:
        self.decided.append((time.monotonic(), is_looked_at))
        self.forget()

    def forget(self) -> None:
        limit = time.monotonic() - COVERAGE_S
        while self.decided and self.decided[0][0] < limit:
            self.decided.popleft()


class LookQueue:
    """Snippets of all cameras that wait to be looked at; several threads may use it."""

    def __init__(self, n_cameras: int) -> None:
        self._cameras = [_Queue() for _ in range(n_cameras)]
        self._changed = threading.Condition()
        self._turn = 0
        self._closed = False

    def put(self, look: Look, *, may_wait: bool = False) -> None:
        """Add a snippet.

        ``may_wait``: until there is room, instead of skipping one: the source can wait.
        """
        queue = self._cameras[look.camera]
        with self._changed:
            while not self._closed and (
                len(queue.entries) >= _ENTRIES or (may_wait and queue.with_picture() >= _WAITING)
            ):
                self._changed.wait(1.0)
            queue.entries.append(look)
            if queue.with_picture() > _WAITING:
                self._skip_oldest(queue)
            self._changed.notify_all()

    def take(self, most: int, timeout_s: float) -> list[Look]:
        """The next entries, with at most ``most`` pictures, each of another camera."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or any(each.entries for each in self._cameras), timeout_s
            )
            taken: list[Look] = []
            n_pictures = 0
            count = len(self._cameras)
            # Each camera in turn: one with few snippets is always looked at, the others share.
            for step in range(count):
                queue = self._cameras[(self._turn + step) % count]
                while queue.entries and n_pictures < most:
                    look = queue.entries.popleft()
                    taken.append(look)
                    if look.snippet.image is not None:
                        queue.decide(True)
                        n_pictures += 1
                        break
                if n_pictures == most:
                    self._turn = (self._turn + step + 1) % count
                    break
            self._changed.notify_all()
            return taken

    def coverage(self) -> list[float | None]:
        """Share of the snippets of the last minute that were looked at; None: there are none."""
        with self._changed:
            shares: list[float | None] = []
            for queue in self._cameras:
                queue.forget()
                looked = [is_looked_at for _, is_looked_at in queue.decided]
                shares.append(sum(looked) / len(looked) if looked else None)
            return shares

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _skip_oldest(self, queue: _Queue) -> None:
        for i, look in enumerate(queue.entries):
            # The first of a segment has none before it.
            if look.snippet.image is not None and not look.snippet.is_first:
                skipped = replace(look.snippet, image=None, is_skipped=True)
                queue.entries[i] = replace(look, snippet=skipped)
                queue.decide(False)
                return
