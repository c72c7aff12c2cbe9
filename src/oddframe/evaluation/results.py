"""The results of an evaluation: metrics of all videos, of a class, of a group, of one video."""

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
"""``frames``: every frame has a score. ``official``: as in published code, each snippet's score is
repeated for its 16 frames, and the frames after the last whole snippet are dropped."""


@dataclass(frozen=True)
class ScoredVideo:
    """A labelled video and its scores.

    Attributes:
        video: The video.
        track: Its scores, by a model that was not trained on it.
        rule: The event rule of its camera, where that differs from the common one.
    """

    video: LabelledVideo
    track: ScoreTrack
    rule: EventRule | None = None


@dataclass(frozen=True)
class FalseAlarmRate:
    """A number of false alarms and the hours of normal video that they occurred in."""

    count: int
    hours: float

    @property
    def per_hour(self) -> Interval:
        """The rate per hour with its exact 95 % interval; ``nan`` without hours."""
        return poisson_interval(self.count, self.hours)


@dataclass(frozen=True)
class Confusion:
    """Confusion matrix of videos: a video with an event is predicted to be abnormal.

    Attributes:
        caught: True positives: abnormal videos with an event.
        missed: False negatives: abnormal videos without an event.
        alarmed: False positives: normal videos with an event.
        quiet: True negatives: normal videos without an event.
    """

    caught: int
    missed: int
    alarmed: int
    quiet: int

    @property
    def correct(self) -> int:
        """Number of correctly predicted videos."""
        return self.caught + self.quiet

    @property
    def videos(self) -> int:
        """Number of all videos."""
        return self.correct + self.missed + self.alarmed

    @property
    def accuracy(self) -> float:
        """Share of correctly predicted videos; ``nan`` without videos."""
        return self.correct / self.videos if self.videos else float("nan")


@dataclass(frozen=True)
class VideoMetrics:
    """One video: its events, and how they compare with the ground truth.

    Attributes:
        video: The video.
        track: Its scores.
        rule: The rule that turned the scores into events.
        events: Its events.
        truth: Ground truth intervals in seconds on the video's clock; (): nothing happens; None:
            not known.
        score: The highest smoothed score, which is compared with the threshold.
        match: How events match the ground truth; None where that is not known.
        frames: Labels and scores of its frames under the protocol; None without ground truth.
        auc: Frame AUC within this video; ``nan`` unless it has frames of both classes.
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
        """Whether it has an event."""
        return bool(self.events)

    @property
    def correct(self) -> bool:
        """Whether it has an event exactly if it is abnormal."""
        return self.predicted_abnormal == self.video.abnormal

    @property
    def false_alarms(self) -> FalseAlarmRate:
        """Events that touch no true event, and the hours in which nothing happens.

        An abnormal video without ground truth counts for neither.
        """
        if self.match is None or self.truth is None:
            return FalseAlarmRate(0, 0.0)
        odd = sum(end - start for start, end in self.truth)
        return FalseAlarmRate(
            self.match.false, max(0.0, self.track.timebase.covered_s - odd) / 3600
        )


@dataclass(frozen=True)
class Metrics:
    """Metrics of some videos; shares and areas in [0, 1], ``nan`` where undefined.

    Attributes:
        videos: Number of videos.
        abnormal: Number of abnormal ones among them.
        hours: Their total length.
        frames: Frame metrics of those with ground truth; None where no abnormal video has any.
        video_auc: AUC of the videos' scores against their labels.
        confusion: The confusion matrix of videos.
        found: Number of true events that an event touches.
        missed: Number of true events that none touches.
        delays_s: For each found one, seconds from its start to the alarm; 0 if that came before.
        false_alarms: Events that touch no true event, and the hours of normal video.
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
    """A model on labelled videos.

    Attributes:
        protocol: What the frame metrics are computed on.
        rule: The event rule, where a camera has no rule of its own.
        overall: All videos.
        classes: By label. The areas of an abnormal class are against all normal videos.
        groups: By recording, camera or scene.
        videos: Each video, in the order given.
        frame_auc: Frame AUC with its interval by resampling groups; None with too few groups. The
            ends are ``nan`` where all resamples are equal.
        video_auc: AUC of videos, likewise.
        accuracy: Share of correctly predicted videos with its exact interval, or resampling's where
            that is wider.
        events_found: Share of true events found, likewise; None: there are none.
        model: Name of the model.
        data: Name of the data set.
        warnings: What a reader of the metrics should know.
        failed: A line for each video that could not be scored.
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
    model: str = ""
    data: str = ""
    warnings: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """``fight on clips``."""
        return f"{self.model} on {self.data}"
