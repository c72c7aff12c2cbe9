"""The main loop of ``oddframe watch``: snippets of all cameras into scores, events and messages."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from oddframe.backbones.base import Backbone
from oddframe.errors import OddframeError
from oddframe.events import EventRule
from oddframe.features.spec import FeatureSpec
from oddframe.modelfile import Model
from oddframe.stream import StreamScorer
from oddframe.video.frame import DEFAULT_FPS
from oddframe.video.snippets.preprocessing import crops_to_cut
from oddframe.watch.cameras_file import AnnounceRule
from oddframe.watch.delivery import Delivery
from oddframe.watch.event_files import EventFiles
from oddframe.watch.event_log import RING_S, EventLog
from oddframe.watch.looks import Look, LookQueue
from oddframe.watch.messages import Message
from oddframe.watch.reader_protocol import EventMedia, ReaderSettings
from oddframe.watch.sources import Source
from oddframe.watch.supervisor import SupervisedCamera, Supervisor

_TICK_S = 0.2
_TIDY_S = 300.0  # Old clips and pictures are looked for so often.
_COVERAGE_S = 10.0  # The coverage is computed so often,
_SAY_COVERAGE_S = 60.0  # and said at most so often.
_COMPLETE, _STEP = 0.95, 0.1  # A larger share is complete; smaller changes are not said.
_STOP_S = 6.0  # For all cameras to end.
_WAITING_MESSAGES = 1000  # While the disk is full.


@dataclass(frozen=True)
class WatchedCamera:
    """A camera, and how it is scored.

    Attributes:
        name: Unique.
        source: Where its pictures come from.
        settings: How it is read; ``ring_s`` is set by the watcher.
        model: The model.
        spec: The features that it reads.
        backbone: Cameras that share one are encoded together.
        rule: How scores become events.
        announce: When events are announced.
    """

    name: str
    source: Source
    settings: ReaderSettings
    model: Model
    spec: FeatureSpec
    backbone: Backbone
    rule: EventRule
    announce: AnnounceRule = field(default_factory=AnnounceRule)


@dataclass(frozen=True)
class WatchSummary:
    """What was seen.

    Attributes:
        n_events: Announced in this run.
        coverage: Share of the snippets that were looked at, by camera.
        failures: Why files could not be read to their end, by camera.
    """

    n_events: int
    coverage: dict[str, float]
    failures: dict[str, str]


class Watcher:
    """Watches cameras until they are over or ``stop`` is called.

    Args:
        cameras: At least one.
        delivery: Gets the messages.
        files: Where clips and pictures go; None: there are none.
        memory_bytes: What reading one camera may take.
        say: Gets lines for people.
        on_tick: Called about five times a second.
    """

    def __init__(
        self,
        cameras: Sequence[WatchedCamera],
        delivery: Delivery,
        *,
        files: EventFiles | None,
        memory_bytes: int,
        say: Callable[[str], None],
        on_tick: Callable[[Watcher], None] = lambda _: None,
    ) -> None:
        self._cameras, self._delivery, self._files = tuple(cameras), delivery, files
        self._say, self._on_tick = say, on_tick
        self.looks = LookQueue(len(cameras))
        self._to_announce: deque[Message] = deque()
        self._media: queue.Queue[tuple[int, str, str | None, bool]] = queue.Queue()
        self._is_stopping = False
        self._n_events = 0
        self._looked = [[0, 0] for _ in cameras]  # Of each camera: snippets looked at, and all.
        self._over = [False for _ in cameras]
        self._scorers: list[StreamScorer | None] = [None for _ in cameras]
        self._said_coverage = [1.0 for _ in cameras]
        self._coverage_at = self._tidied_at = 0.0
        self._said_coverage_at = [0.0 for _ in cameras]
        self.supervisors = [
            Supervisor(
                SupervisedCamera(i, each.name, each.source, self._settings(each), memory_bytes),
                self.looks,
                self._announce_state,
                partial(self._take_media, i),
                say,
            )
            for i, each in enumerate(cameras)
        ]
        unfinished = delivery.open_events()
        self.logs = [
            EventLog(
                each.name,
                self._announce,
                supervisor.request if files is not None else None,
                each.announce,
                each.announce.zone,
                [event for event in unfinished if event.camera == each.name],
            )
            for each, supervisor in zip(cameras, self.supervisors, strict=True)
        ]
        names = {each.name for each in cameras}
        for event in unfinished:
            if event.camera not in names:
                log = EventLog(event.camera, self._announce, unfinished=[event])
                log.close()

    def run(self) -> WatchSummary:
        """Watch. Ctrl-C (KeyboardInterrupt) passes through when all events have ended."""
        self._warm_up()
        for supervisor in self.supervisors:
            supervisor.start()
        try:
            while not all(self._over):
                self._step()
            self._wait_for_clips()
        finally:
            self._shut_down()
        coverage = {
            each.name: looked / total
            for each, (looked, total) in zip(self._cameras, self._looked, strict=True)
            if total
        }
        failures = {
            each.camera.name: each.failure for each in self.supervisors if each.failure is not None
        }
        return WatchSummary(self._n_events, coverage, failures)

    def stop(self) -> None:
        """Let ``run`` return soon, with all events ended."""
        self._is_stopping = True
        for supervisor in self.supervisors:
            supervisor.stop()

    def set_rules(self, rules: Mapping[str, AnnounceRule]) -> None:
        """Set when events are announced, by camera; cameras that are not there are ignored."""
        for camera, log in zip(self._cameras, self.logs, strict=True):
            log.rule = rules.get(camera.name, log.rule)

    def _warm_up(self) -> None:
        """Encode nothing once: the first use of a network takes seconds."""
        for camera in {id(each.backbone): each for each in self._cameras}.values():
            preprocessing = camera.settings.preprocessing
            width, height = preprocessing.crop_size
            crops = len(crops_to_cut(preprocessing.crops))
            camera.backbone(
                np.zeros((crops, preprocessing.snippet_frames, height, width, 3), np.uint8)
            )

    def _step(self) -> None:
        most = max(each.backbone.batch_size for each in self._cameras)
        self._score(self.looks.take(most, _TICK_S))
        self._tick()

    def _tick(self) -> None:
        while True:
            try:
                number, event_id, path, is_clip = self._media.get_nowait()
            except queue.Empty:
                break
            if is_clip:
                self.logs[number].clip(event_id, path)
            elif path is not None:
                self.logs[number].picture(event_id, path)
        for log in self.logs:
            log.tick()
        self._flush()
        now = time.monotonic()
        if now - self._coverage_at >= _COVERAGE_S:
            self._coverage_at = now
            self._say_coverage(now)
        if self._files is not None and now - self._tidied_at >= _TIDY_S:
            self._tidied_at = now
            self._files.remove_old()
        self._on_tick(self)

    def _wait_for_clips(self) -> None:
        until = time.monotonic() + 2.0
        while any(log.waits_for_clips for log in self.logs) and time.monotonic() < until:
            self._tick()
            time.sleep(0.05)

    def _shut_down(self) -> None:
        """End the cameras, score what they still give, and end all events."""
        self.stop()
        until = time.monotonic() + _STOP_S
        try:
            while not all(self._over) and time.monotonic() < until:
                self._step()
            self._wait_for_clips()
        finally:
            self.looks.close()
            for supervisor in self.supervisors:
                supervisor.leave()
            for supervisor in self.supervisors:
                supervisor.join(max(0.0, until + 1.0 - time.monotonic()))
                supervisor.kill()
            for log in self.logs:
                log.close()
            self._flush()

    def _score(self, looks: Sequence[Look]) -> None:
        features: dict[int, NDArray[np.float32]] = {}
        backbones = {id(each.backbone): each.backbone for each in self._cameras}
        for key, backbone in backbones.items():
            chosen = [
                look
                for look in looks
                if id(self._cameras[look.camera].backbone) == key and look.snippet.image is not None
            ]
            images = [look.snippet.image for look in chosen if look.snippet.image is not None]
            shapes = {image.shape[1:] for image in images}
            if len(shapes) == 1 and len(images) > 1 and len({len(i) for i in images}) == 1:
                rows = backbone(np.concatenate(images))
                parts = np.split(rows, len(images))
            else:
                parts = [backbone(image) for image in images]
            features |= {id(look): part for look, part in zip(chosen, parts, strict=True)}
        for look in looks:
            self._take(look, features.get(id(look)))

    def _take(self, look: Look, features: NDArray[np.float32] | None) -> None:
        number, snippet = look.camera, look.snippet
        camera, log = self._cameras[number], self.logs[number]
        scorer = self._scorers[number]
        if scorer is None:
            fps = self.supervisors[number].fps or DEFAULT_FPS
            scorer = StreamScorer(camera.model, camera.spec, camera.rule, fps=fps)
            self._scorers[number] = scorer
        if features is not None or snippet.is_skipped:
            self._looked[number][0] += features is not None
            self._looked[number][1] += 1
        # Without a last frame, the camera was lost.
        interrupted = snippet.is_last and not snippet.times and not self._is_stopping
        for update in scorer.take(snippet, features):
            log.take(update, look.offset_s, interrupted=interrupted and not look.is_over)
        self._over[number] |= look.is_over

    def _announce(self, message: Message) -> None:
        """Announce in order, later if the disk is full."""
        self._n_events += getattr(message, "kind", None) == "new"
        self._to_announce.append(message)
        self._flush()

    def _announce_state(self, message: Message) -> None:
        try:
            self._delivery.announce(message)
        except OddframeError as error:
            self._say(str(error))

    def _flush(self) -> None:
        while self._to_announce:
            try:
                self._delivery.announce(self._to_announce[0])
            except OddframeError as error:
                if len(self._to_announce) == 1 or len(self._to_announce) > _WAITING_MESSAGES:
                    self._say(f"{error}; messages wait in memory")
                if len(self._to_announce) > _WAITING_MESSAGES:
                    self._to_announce.popleft()
                return
            self._to_announce.popleft()

    def _take_media(self, number: int, media: EventMedia) -> None:
        """Write a clip or a picture, in the camera's thread."""
        path = None
        event = next((e for e in self._delivery.open_events() if e.id == media.event), None)
        if self._files is not None and event is not None:
            try:
                if media.clip is not None:
                    path = self._files.write_clip(event, media.clip)
                elif media.picture is not None:
                    path = self._files.write_picture(event, media.picture)
            except OddframeError as error:
                self._say(str(error))
        self._media.put((number, media.event, path, media.is_clip))

    def _settings(self, camera: WatchedCamera) -> ReaderSettings:
        return replace(camera.settings, ring_s=RING_S if self._files is not None else 0.0)

    def _say_coverage(self, now: float) -> None:
        for number, share in enumerate(self.looks.coverage()):
            if share is None:
                continue
            said, name = self._said_coverage[number], self._cameras[number].name
            is_complete = share >= _COMPLETE
            was_complete = said >= _COMPLETE
            changes = is_complete != was_complete or abs(share - said) >= _STEP
            is_due = was_complete or now - self._said_coverage_at[number] >= _SAY_COVERAGE_S
            if changes and is_due and not (is_complete and was_complete):
                self._said_coverage[number] = 1.0 if is_complete else share
                self._said_coverage_at[number] = now
                more = "" if is_complete else ": this machine is too slow for all cameras"
                self._say(f"{name}: {share:.0%} looked at{more}".replace("%", " %"))
