"""What an evaluation finds: figures over all videos, a class, a group, one video."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from oddframe.datasets.labelled import Intervals, LabelledVideo
from oddframe.evaluation.confidence import Interval, poisson_interval
from oddframe.events import EventMatch, EventRule
from oddframe.metrics import FrameMetrics, LabelledScores
from oddframe.timeline import Event, ScoreTrack

FrameProtocol = Literal["frames", "official"]
"""``frames``: a score for every frame. ``official``: what the published figures are computed on,
each snippet's score repeated for its frames, 16 of them, and the frames after the last whole
snippet dropped."""


@dataclass(frozen=True)
class ScoredVideo:
    """A labelled video and what a model gave for it.

    Attributes:
        video: The video and all that is known of it.
        track: Its scores, by a model that was not trained on it.
        rule: The rule of its camera, where that is not the rule of all.
    """

    video: LabelledVideo
    track: ScoreTrack
    rule: EventRule | None = None


@dataclass(frozen=True)
class FalseAlarmRate:
    """False alarms, and the hours of normal video that they were counted in."""

    count: int
    hours: float

    @property
    def per_hour(self) -> Interval:
        """The rate an hour with its exact 95 % interval; ``nan`` without hours."""
        return poisson_interval(self.count, self.hours)


@dataclass(frozen=True)
class Confusion:
    """Videos by what they are and what was said: a video with an event is called abnormal.

    Attributes:
        caught: Abnormal videos with an event.
        missed: Abnormal videos without.
        alarmed: Normal videos with an event.
        quiet: Normal videos without.
    """

    caught: int
    missed: int
    alarmed: int
    quiet: int

    @property
    def correct(self) -> int:
        """Videos on the right side."""
        return self.caught + self.quiet

    @property
    def videos(self) -> int:
        """All of them."""
        return self.correct + self.missed + self.alarmed

    @property
    def accuracy(self) -> float:
        """Share of videos on the right side; ``nan`` without videos."""
        return self.correct / self.videos if self.videos else float("nan")


@dataclass(frozen=True)
class VideoMetrics:
    """One video.

    Attributes:
        video: The video and what is known of it.
        track: Its scores.
        rule: How they became events.
        events: What was found.
        truth: What really happens, in seconds on the video's clock: () never, None: not known.
        score: The highest smoothed score: what the threshold is held against.
        match: Events against the truth; None where that is not known.
        frames: Labels and scores of its frames under the protocol; None without truth.
        auc: Frame AUC within this video; ``nan`` unless it has frames of both kinds.
    """

    video: LabelledVideo
    track: ScoreTrack
    rule: EventRule
    events: tuple[Event, ...]
    truth: Intervals | None
    score: float
    match: EventMatch | None
    frames: LabelledScores | None
    auc: float

    @property
    def predicted_abnormal(self) -> bool:
        """Whether something odd is said to happen in it."""
        return bool(self.events)

    @property
    def correct(self) -> bool:
        """Whether that is so."""
        return self.predicted_abnormal == self.video.abnormal

    @property
    def false_alarms(self) -> FalseAlarmRate:
        """Events that touch nothing true, and the hours in which nothing happens.

        An abnormal video without known event times is not counted for false alarms.
        """
        if self.match is None or self.truth is None:
            return FalseAlarmRate(0, 0.0)
        odd = sum(end - start for start, end in self.truth)
        return FalseAlarmRate(
            self.match.false, max(0.0, self.track.timebase.covered_s - odd) / 3600
        )


@dataclass(frozen=True)
class Metrics:
    """Figures over some videos; shares and areas in [0, 1], ``nan`` where undefined.

    Attributes:
        videos: How many.
        abnormal: Abnormal ones among them.
        hours: Length of all of them.
        frames: Frame-level figures over those whose truth is known; None where no abnormal
            video's is.
        video_auc: AUC of the videos' scores against their labels.
        confusion: Videos called right and wrong.
        found: True events that an event touches.
        missed: True events that none does.
        delays_s: For each found one, seconds from its start to the alarm, 0 if it came before.
        false_alarms: Events that touch nothing true, and the hours of normal video.
    """

    videos: int
    abnormal: int
    hours: float
    frames: FrameMetrics | None
    video_auc: float
    confusion: Confusion
    found: int
    missed: int
    delays_s: tuple[float, ...]
    false_alarms: FalseAlarmRate

    @property
    def delay_s(self) -> float:
        """Median delay to the first alarm in seconds; ``nan`` where nothing was found."""
        return float(np.median(self.delays_s)) if self.delays_s else float("nan")


@dataclass(frozen=True)
class Evaluation:
    """A model on labelled videos that it was not trained on.

    Attributes:
        protocol: What the frame figures stand on.
        rule: How scores became events, where a camera has no rule of its own.
        overall: All videos.
        classes: By label. The areas of an abnormal class are against all normal videos.
        groups: By recording, camera or scene.
        videos: Each video, in the order given.
        frame_auc: Frame AUC with its interval by resampling groups; None with too few groups. Its
            ends are ``nan`` where all resamples are alike.
        video_auc: AUC of videos, likewise.
        accuracy: Share of videos on the right side, with its exact interval, or resampling's where
            that reaches further.
        events_found: Share of true events found, likewise; None: there are none.
    """

    protocol: FrameProtocol
    rule: EventRule
    overall: Metrics
    classes: Mapping[str, Metrics]
    groups: Mapping[str, Metrics]
    videos: tuple[VideoMetrics, ...]
    frame_auc: Interval | None
    video_auc: Interval | None
    accuracy: Interval
    events_found: Interval | None
