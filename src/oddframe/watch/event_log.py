"""From the updates of a stream to messages about events, each with an id that stays.

An event that is interrupted, because the camera was lost or the program was killed, is continued
under its id if the next one begins soon.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from oddframe.stream import StreamUpdate
from oddframe.timeline import Event
from oddframe.watch.cameras_file import AnnounceRule
from oddframe.watch.event_files import clip_span
from oddframe.watch.messages import CameraEvent, EventKind, new_event_id
from oddframe.watch.reader_protocol import MediaRequest

# An event that begins so soon after one that was interrupted continues it (s).
RESUME_S = 30.0
_UPDATE_S = 2.0  # An event that goes on is announced again at most so often.
_CLIP_S = 20.0  # Longest wait for a clip beyond its end.
_BEFORE_S, _AFTER_S, _MAX_CLIP_S = 5.0, 5.0, 60.0
RING_S = _BEFORE_S + _MAX_CLIP_S + _AFTER_S + 10.0  # Packets to keep for a clip.


class EventLog:
    """The events of one camera.

    Args:
        camera: Its name.
        announce: Gets each message.
        request: Asks the camera for a picture or a clip; None: there are none.
        rule: When events are announced; it may be replaced at any time.
        zone: Of the times in messages; None: the machine's.
        unfinished: Events that were announced and not ended when the program was killed.
    """

    def __init__(
        self,
        camera: str,
        announce: Callable[[CameraEvent], None],
        request: Callable[[MediaRequest], None] | None = None,
        rule: AnnounceRule | None = None,
        zone: tzinfo | None = None,
        unfinished: Sequence[CameraEvent] = (),
    ) -> None:
        self.rule = rule or AnnounceRule()
        self._camera, self._announce, self._request, self._zone = camera, announce, request, zone
        self._number = 0  # Of the stream's event; its messages are about ``_open``.
        self._open: CameraEvent | None = None
        self._said_at = 0.0
        self._said: dict[str, CameraEvent] = {}  # The latest message about each event.
        self._last_end: datetime | None = None
        # Events that were interrupted, and that wait for a clip, each with how long.
        self._suspended: list[tuple[CameraEvent, float]] = []
        self._ending: dict[str, tuple[CameraEvent, float]] = {}
        for event in unfinished:
            self._said[event.id] = event
            self._suspend(event)

    def take(self, update: StreamUpdate, offset_s: float, *, interrupted: bool = False) -> None:
        """Tell of an update of the stream.

        Args:
            update: Of an event; scores are ignored.
            offset_s: Machine's clock less the stream's time, in seconds.
            interrupted: The stream was cut off: the event may go on.
        """
        event = update.after
        if event is None:
            return
        if update.kind == "new":
            self._begin(event, update.id, offset_s)
        elif self._open is not None and update.id == self._number:
            is_end = update.kind == "end"
            known = self._changed(self._open, "end" if is_end else "update", event, offset_s)
            if not is_end:
                self._update(known)
            elif interrupted:
                self._open = None
                self._suspend(known)
            else:
                self._open = None
                self._finish(known)

    def picture(self, event_id: str, path: str) -> None:
        """A picture of an event lies at this path."""
        if self._open is not None and self._open.id == event_id:
            self._open = replace(self._open, picture=path)
        elif event_id in self._ending:
            event, until = self._ending[event_id]
            self._ending[event_id] = replace(event, picture=path), until

    def clip(self, event_id: str, path: str | None) -> None:
        """The clip of an event lies at this path, or there is none: the event is over."""
        if event_id in self._ending:
            event, _ = self._ending.pop(event_id)
            self._say(replace(event, clip=path or event.clip))

    def tick(self) -> None:
        """End what has waited long enough; call it about every second."""
        now = time.monotonic()
        for event, until in list(self._ending.values()):
            if now >= until:
                self.clip(event.id, None)
        for event, until in list(self._suspended):
            if now >= until:
                self._suspended.remove((event, until))
                self._finish(event)

    def close(self) -> None:
        """End all events."""
        for event, _ in self._suspended:
            self._say(replace(event, kind="end"))
        self._suspended.clear()
        for event_id in list(self._ending):
            self.clip(event_id, None)
        if self._open is not None:
            self._say(replace(self._open, kind="end"))
            self._open = None

    @property
    def waits_for_clips(self) -> bool:
        """Whether an event is over and its clip is not there yet."""
        return bool(self._ending)

    def _begin(self, event: Event, number: int, offset_s: float) -> None:
        start = self._time(event.start_s + offset_s)
        for known, until in self._suspended:
            if start - known.end <= timedelta(seconds=RESUME_S):
                self._suspended.remove((known, until))
                self._number = number
                self._update(self._changed(known, "update", event, offset_s), at_once=True)
                return
        if not self.rule.allows(start, self._last_end):
            self._open = None
            return
        self._number = number
        message = CameraEvent(
            kind="new",
            id=new_event_id(self._camera, start),
            camera=self._camera,
            start=start,
            end=self._time(event.end_s + offset_s),
            peak=self._time(event.peak_s + offset_s),
            start_s=event.start_s,
            end_s=event.end_s,
            score=event.score,
            where=event.where,
            boxes=event.boxes,
            similar=event.similar,
        )
        self._say(message)
        self._open = message
        if self._request is not None:
            request = MediaRequest(message.id, event.peak_s, event.peak_s, event.peak_s)
            self._request(request)

    def _update(self, message: CameraEvent, *, at_once: bool = False) -> None:
        self._open = message
        if at_once or time.monotonic() - self._said_at >= _UPDATE_S:
            self._say(message)

    def _changed(
        self, known: CameraEvent, kind: EventKind, event: Event, offset_s: float
    ) -> CameraEvent:
        """The next message about a known event, as the stream has it now."""
        end = max(self._time(event.end_s + offset_s), known.end)
        # A continued event began before this stream did.
        start_s = min(event.start_s, event.end_s - (end - known.start).total_seconds())
        is_higher = event.score >= known.score
        return replace(
            known,
            kind=kind,
            end=end,
            start_s=start_s,
            end_s=event.end_s,
            peak=self._time(event.peak_s + offset_s) if is_higher else known.peak,
            score=max(event.score, known.score),
            where=event.where if is_higher else known.where,
            boxes=event.boxes if is_higher else known.boxes,
            similar=event.similar if is_higher else known.similar,
        )

    def _finish(self, event: CameraEvent) -> None:
        """End an event: at once, or when its clip is there."""
        event = replace(event, kind="end")
        self._last_end = event.end
        if self._request is None:
            self._say(event)
            return
        start_s, end_s = clip_span(event.start_s, event.end_s, _BEFORE_S, _AFTER_S, _MAX_CLIP_S)
        self._ending[event.id] = event, time.monotonic() + _AFTER_S + _CLIP_S
        self._request(MediaRequest(event.id, start_s, end_s))

    def _suspend(self, event: CameraEvent) -> None:
        self._suspended.append((event, time.monotonic() + RESUME_S))
        self._last_end = event.end

    def _say(self, message: CameraEvent) -> None:
        self._said_at = time.monotonic()
        before = self._said.pop(message.id, None)
        if message.kind != "end":
            self._said[message.id] = replace(message, before=None)
        self._announce(replace(message, before=before and replace(before, before=None)))

    def _time(self, wall_s: float) -> datetime:
        local = datetime.fromtimestamp(wall_s, UTC).astimezone(self._zone)
        # With a fixed offset: two times of one ZoneInfo are subtracted by their clocks, so an hour
        # is wrong when the clocks change between them.
        return local.replace(tzinfo=timezone(local.utcoffset() or timedelta()))
