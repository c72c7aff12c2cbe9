"""Scores a live stream, frame by frame: scores as soon as they are final, and events as they come.

Each snippet's features are computed once. The head sees a window of the latest snippets, so memory
does not grow with time.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oddframe.backbones.base import Backbone
from oddframe.errors import UsageError
from oddframe.events import EventRule, Span, find_events, held_since, last_held
from oddframe.features.spec import Features, FeatureSpec
from oddframe.modelfile import Model
from oddframe.timeline import (
    TICK_TOLERANCE_S,
    Box,
    Event,
    FloatArray,
    Reasons,
    ScoreTrack,
    Timebase,
    count_snippets,
)
from oddframe.video.decoding.pictures import check_image
from oddframe.video.mask import Mask
from oddframe.video.snippets.cutter import CutSnippet, SnippetCutter

# Snippets that the head sees; with a method that compares snippets, how many later ones it waits
# for. benchmarks/RESULTS.md has what other values cost.
WINDOW, LOOK_AHEAD = 64, 8
_SLACK_S = 1e-9


@dataclass(frozen=True)
class StreamUpdate:
    """Something that a stream has found.

    Attributes:
        kind: ``score``: the final score of a snippet; ``new``: an event has started; ``update``:
            it has changed; ``end``: it is over, and will not change any more.
        start_s: Start of the snippet or the event, in seconds.
        end_s: Its end; that of an event which is not over moves on.
        score: Score of the snippet, or the highest smoothed score of the event so far.
        id: Number of the event in this stream, from 1; 0: a score.
        before: The event as the update before had it; None: it is new, or a score.
        after: The event as it is now; None: a score.
    """

    kind: Literal["score", "new", "update", "end"]
    start_s: float
    end_s: float
    score: float
    id: int = 0
    before: Event | None = None
    after: Event | None = None


class Stream:
    """Scores frames that are pushed one by one; ``Detector.stream`` makes it.

    An event is announced when the smoothed score reaches the threshold: after its snippet, the
    ``look_ahead`` and half of the rule's ``smooth_s``; ``latency_s`` says how long that is.

    Threads must not share a stream; streams may share a detector.
    """

    def __init__(
        self,
        model: Model,
        spec: FeatureSpec,
        backbone: Backbone,
        rule: EventRule,
        *,
        fps: float,
        window: int = WINDOW,
        look_ahead: int | None = None,
        mask: Mask | None = None,
    ) -> None:
        if backbone.audio_encoders:
            raise UsageError(f"{spec.backbone} reads sound, which a stream of pictures has not")
        self._scorer = StreamScorer(
            model, spec, rule, fps=fps, window=window, look_ahead=look_ahead
        )
        self.latency_s = self._scorer.latency_s
        self._backbone = backbone
        self._cutter = SnippetCutter(spec.preprocessing, fps, mask)

    def push(self, frame: NDArray[np.uint8], time_s: float | None = None) -> list[StreamUpdate]:
        """Add the next frame.

        Args:
            frame: (H, W, 3) RGB uint8. It is read before ``push`` returns, or copied.
            time_s: When it is shown, in seconds, later than the frame before; None: one interval
                of ``fps`` later. After more than ten seconds without a frame, scoring starts anew.

        Returns:
            What is new, in order; often nothing.

        Raises:
            UsageError: this is no frame, or its time is not after that of the frame before.
        """
        check_image(frame)
        return self._score(self._cutter.push(frame, time_s))

    def finish(self) -> list[StreamUpdate]:
        """Score what is left, as at the end of a file, and end all events.

        A frame that is pushed afterwards starts anew; numbers of events go on.
        """
        return self._score(self._cutter.finish())

    def _score(self, snippets: Iterable[CutSnippet]) -> list[StreamUpdate]:
        updates: list[StreamUpdate] = []
        for cut in snippets:
            features = None if cut.image is None else self._backbone(cut.image)
            updates += self._scorer.take(cut, features)
        return updates


class StreamScorer:
    """Scores the snippets of one stream, cut by a ``SnippetCutter`` and encoded by a backbone."""

    def __init__(
        self,
        model: Model,
        spec: FeatureSpec,
        rule: EventRule,
        *,
        fps: float,
        window: int = WINDOW,
        look_ahead: int | None = None,
    ) -> None:
        if not (np.isfinite(fps) and fps > 0):
            raise UsageError(f"a frame rate must be a positive number, not {fps}")
        if look_ahead is None:
            look_ahead = 0 if model.scores_alone() else min(LOOK_AHEAD, window - 1)
        if not 0 <= look_ahead < window:
            raise UsageError(f"a window of {window} snippets cannot look ahead by {look_ahead}")
        self.latency_s = (
            max(spec.snippet_frames, spec.stride) / (spec.rate or fps)
            + look_ahead * spec.step_s(fps)
            + rule.smooth_s / 2
        )
        self._model, self._spec, self._rule = model, spec, rule
        self._fps, self._window, self._look_ahead = fps, window, look_ahead
        # How much of either end of a part of the stream depends on what is beyond: snippets that
        # overlap cover the same frames, and smoothing looks ahead and back.
        overlap_s = max(0, spec.snippet_frames - spec.stride) / (spec.rate or fps)
        self._event = _OpenEvent(rule, overlap_s + rule.smooth_s / 2)
        # Final scores that are kept, in which events are found.
        of_rule_s = 2 * overlap_s + rule.smooth_s + rule.merge_gap_s + rule.min_duration_s
        self._kept = window + math.ceil(of_rule_s / spec.step_s(fps))
        self._start_segment()

    def take(
        self, cut: CutSnippet, features: NDArray[np.float32] | None = None
    ) -> list[StreamUpdate]:
        """Score the next snippet that was cut from the stream.

        Args:
            cut: Of a ``SnippetCutter``; all of them, in order.
            features: (C, D), of its image. None: nobody looked at it, and the features of the
                snippet before stand for it; the first of a segment must be looked at.

        Returns:
            What is new, in order.
        """
        for time_s in cut.times:
            self._times.append(time_s)
        updates: list[StreamUpdate] = []
        if cut.image is not None or cut.is_skipped:
            self._rows.append(self._rows[-1] if features is None else features)
            if cut.squares is not None:
                self._squares.append(cut.squares)
            if cut.heat is not None:
                self._heat.append(cut.heat)
            self._seen += 1
            if not cut.is_last:
                updates += self._settle(self._seen - self._look_ahead)
        if cut.is_last:
            if self._seen:
                updates += self._settle(self._seen, at_end=True)
            updates += self._event.close()
            self._start_segment()
        return updates

    def _start_segment(self) -> None:
        """Forget all frames, scores and features: nothing connects them with what comes."""
        self._times = _TickTimes(self._spec.rate)
        self._seen = self._scored = 0  # Snippets with features, and with a final score.
        # Features (C, D), motion squares and heat of the latest snippets.
        self._rows: deque[NDArray[np.float32]] = deque(maxlen=self._window)
        self._squares: deque[FloatArray] = deque(maxlen=self._window)
        self._heat: deque[NDArray[np.uint8]] = deque(maxlen=self._window)
        self._final: deque[_FinalSnippet] = deque(maxlen=self._kept)

    def _settle(self, count: int, *, at_end: bool = False) -> list[StreamUpdate]:
        """Make the scores of the first ``count`` snippets final, and look for events in them."""
        updates = []
        if count > self._scored:
            base = self._timebase(self._seen, len(self._rows), at_end=at_end)
            features = Features(
                np.stack(self._rows, axis=1),
                self._spec,
                base,
                np.array(self._squares) if self._squares else None,
                np.array(self._heat) if self._heat else None,
            )
            track, times = self._model.score(features), base.snippet_times().tolist()
            for i in range(self._scored - self._seen, count - self._seen):
                start_s, end_s = times[i]
                final = _FinalSnippet.of(track, len(track.scores) + i)
                self._final.append(final)
                updates.append(StreamUpdate("score", start_s, end_s, final.score))
            self._scored = count
        if not (updates or at_end):
            return []
        base = self._timebase(self._scored, len(self._final), at_end=at_end)
        track = _joined_track(self._final, base)
        self._times.forget(self._spec.stride * (self._scored - self._kept))
        at_start = self._scored == len(self._final)
        return updates + self._event.update(track, at_start=at_start, at_end=at_end)

    def _timebase(self, end: int, count: int, *, at_end: bool) -> Timebase:
        """The timebase of ``count`` snippets before number ``end``, whose frames are the ticks."""
        stride, length = self._spec.stride, self._spec.snippet_frames
        first = end - count
        last, n_ticks = (end - 1) * stride + length, self._times.count
        # The last snippet of all may be shorter than the others, or cover more ticks. If the stream
        # was cut off, there are ticks of a snippet that was not.
        if at_end and end == self._seen and count_snippets(n_ticks, length, stride) <= end:
            last = n_ticks
        ticks = self._times.between(first * stride, last)
        fps = self._spec.rate or self._fps
        return Timebase(fps, len(ticks), length, stride, pts=ticks)


@dataclass(frozen=True)
class _FinalSnippet:
    """What is kept of a snippet whose score is final; see ``ScoreTrack``."""

    score: float
    box: Box | None
    heat: NDArray[np.uint8] | None
    reasons: Reasons

    @classmethod
    def of(cls, track: ScoreTrack, number: int) -> _FinalSnippet:
        """Snippet ``number`` of a track."""
        return cls(
            float(track.scores[number]),
            track.where(number),
            None if track.heat is None else track.heat[number],
            Reasons() if track.reasons is None else track.reasons.at(number),
        )


@dataclass(frozen=True)
class _KeptReasons:
    """The reasons of snippets, kept in a list; see ``SnippetReasons``."""

    reasons: list[Reasons]

    def at(self, snippet: int) -> Reasons:
        """Those of one snippet."""
        return self.reasons[snippet]


def _joined_track(snippets: Iterable[_FinalSnippet], base: Timebase) -> ScoreTrack:
    snippets = list(snippets)
    boxes = [each.box for each in snippets if each.box is not None]
    heat = [each.heat for each in snippets if each.heat is not None]
    return ScoreTrack(
        np.array([each.score for each in snippets]),
        base,
        boxes=np.array(boxes) if boxes else None,
        heat=np.array(heat) if heat else None,
        reasons=_KeptReasons([each.reasons for each in snippets]),
    )


class _TickTimes:
    """When each tick of a segment is: with a rate they follow from the first frame's time."""

    def __init__(self, rate: float | None) -> None:
        self._rate, self._start_s, self._last_s = rate, 0.0, 0.0
        self._times: deque[float] = deque()
        self._forgotten = self._frames = 0

    def append(self, time_s: float) -> None:
        """Add the time of the next frame."""
        if not self._frames:
            self._start_s = time_s
        self._last_s = time_s
        self._frames += 1
        if self._rate is None:
            self._times.append(time_s)

    def forget(self, before: int) -> None:
        """Forget the ticks before this number."""
        while self._times and self._forgotten < before:
            self._times.popleft()
            self._forgotten += 1

    @property
    def count(self) -> int:
        """Number of ticks up to the latest frame."""
        if self._rate is None:
            return self._frames
        return math.floor((self._last_s - self._start_s + TICK_TOLERANCE_S) * self._rate) + 1

    def between(self, first: int, last: int) -> FloatArray:
        """Times of the ticks from ``first`` to before ``last``, in seconds."""
        if self._rate is not None:
            return self._start_s + np.arange(first, last) / self._rate
        return np.array(list(islice(self._times, first - self._forgotten, last - self._forgotten)))


class _OpenEvent:
    """Follows each event of a stream from the first frame above the threshold to its end."""

    def __init__(self, rule: EventRule, unsettled_s: float) -> None:
        self._rule, self._unsettled_s = rule, unsettled_s
        self._open: Event | None = None
        self._count = 0
        self._closed_s = -np.inf  # End of the last event that is over.
        self._held_s: Span | None = None  # See ``last_held``.

    def update(self, track: ScoreTrack, *, at_start: bool, at_end: bool) -> list[StreamUpdate]:
        """What has changed with the latest scores of ``track``.

        ``at_start``: nothing comes before it; ``at_end``: nothing comes after it.
        """
        from_s = -np.inf if at_start else track.timebase.start_s + self._unsettled_s
        settled_s = np.inf if at_end else track.timebase.end_s - self._unsettled_s
        found = find_events(track, self._rule, settled_s=(from_s, settled_s), held_s=self._held_s)
        self._held_s = last_held(track, self._rule, (from_s, settled_s), self._held_s)
        updates = []
        for event in found:
            if event.end_s < self._closed_s + _SLACK_S:
                continue
            before = self._open
            if before is None or event.start_s > before.end_s - _SLACK_S:
                updates += self.close()  # What is between two events is final.
                self._count += 1
                self._open = event
                updates.append(self._changed("new", None, event))
                continue
            if before.start_s < from_s:  # Its start is no longer in the track.
                event = _joined(before, event)
            if event != before:
                self._open = event
                updates.append(self._changed("update", before, event))
        if self._open is not None:
            # The next event may begin where the scores have reached the release.
            begins_s = min(settled_s, held_since(track, self._rule, settled_s))
            wait_s = max(self._rule.merge_gap_s, self._rule.smooth_s / 2) + _SLACK_S
            if self._open.end_s + wait_s < begins_s:
                updates += self.close()
        return updates

    def close(self) -> list[StreamUpdate]:
        """End the event that is open, if there is one."""
        event, self._open = self._open, None
        if event is None:
            return []
        self._closed_s = event.end_s
        return [self._changed("end", event, event)]

    def _changed(
        self, kind: Literal["new", "update", "end"], before: Event | None, after: Event
    ) -> StreamUpdate:
        return StreamUpdate(
            kind, after.start_s, after.end_s, after.score, self._count, before, after
        )


def _joined(before: Event, after: Event) -> Event:
    """An event whose beginning only ``before`` still has."""
    highest = max(before, after, key=lambda event: event.score)
    return replace(highest, start_s=before.start_s, end_s=max(before.end_s, after.end_s))
