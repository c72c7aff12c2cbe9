"""Metrics of a model from the scores of labelled videos: all videos, a class, a group, a video."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oddframe.datasets.labelled import GroundTruth, Intervals, LabelledVideo
from oddframe.errors import UsageError
from oddframe.evaluation.confidence import (
    Interval,
    binomial_interval,
    bootstrap_interval,
    poisson_interval,
)
from oddframe.evaluation.localisation import (
    LocalisedVideo,
    boundary_errors,
    localise,
    mean_average_precision,
)
from oddframe.events import EventMatch, EventRule, find_events, match_events, smooth_frame_scores
from oddframe.metrics import FrameMetrics, LabelledScores, frame_metrics, roc_auc
from oddframe.timeline import Event, ScoreTrack

FrameProtocol = Literal["frames", "official"]
"""``frames``: every frame has a score. ``official``: as in published code, each snippet's score is
repeated for its 16 frames, and the frames after the last whole snippet are dropped."""


@dataclass(frozen=True)
class ScoredVideo:
    """A labelled video and its scores, by a model that was not trained on it."""

    video: LabelledVideo
    track: ScoreTrack
    rule: EventRule | None = None  # Of its camera, where that differs from the common one.


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
    """Confusion matrix of videos: a video with an event is predicted to be abnormal."""

    true_positives: int
    false_negatives: int
    false_positives: int
    true_negatives: int

    @property
    def correct(self) -> int:
        """Number of correctly predicted videos."""
        return self.true_positives + self.true_negatives

    @property
    def videos(self) -> int:
        """Number of all videos."""
        return self.correct + self.false_negatives + self.false_positives

    @property
    def accuracy(self) -> float:
        """Share of correctly predicted videos; ``nan`` without videos."""
        return self.correct / self.videos if self.videos else float("nan")


@dataclass(frozen=True)
class VideoMetrics:
    """One video: its events, and how they compare with the ground truth."""

    video: LabelledVideo
    track: ScoreTrack
    rule: EventRule
    events: tuple[Event, ...]
    # In seconds on the video's clock; (): nothing happens; None: not known, as the next but one.
    truth: Intervals | None
    score: float  # The highest smoothed score, which is compared with the threshold.
    match: EventMatch | None
    frames: LabelledScores | None  # Under the protocol; None without ground truth.
    auc: float  # Frame AUC within this video; ``nan`` unless it has frames of both classes.
    localised: LocalisedVideo | None  # None without ground truth.
    boundary_errors_s: tuple[float, ...]  # See ``Metrics``.

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
        normal_s = max(0.0, self.track.timebase.covered_s - odd)
        return FalseAlarmRate(self.match.false, normal_s / 3600)


@dataclass(frozen=True)
class Metrics:
    """Metrics of some videos; shares and areas in [0, 1], ``nan`` where undefined."""

    videos: int
    abnormal: int
    hours: float
    frames: FrameMetrics | None  # Of those with ground truth, if an abnormal one has it.
    video_auc: float  # AUC of the videos' scores against their labels.
    confusion: Confusion
    found: int  # True events that an event touches.
    missed: int  # True events that none touches.
    delays_s: tuple[float, ...]  # From the start of each found one to the alarm, at least 0.
    # Distances of both ends of each found one to those of the event that overlaps it most.
    boundary_errors_s: tuple[float, ...]
    # Average precision of intervals (mAP@tIoU, see ``localisation.py``) by temporal overlap.
    interval_precision: Mapping[float, float]
    false_alarms: FalseAlarmRate  # Events that touch no true event.

    @property
    def delay_s(self) -> float:
        """Median delay to the first alarm in seconds; ``nan`` where nothing was found."""
        return float(np.median(self.delays_s)) if self.delays_s else float("nan")

    @property
    def boundary_error_s(self) -> float:
        """Median boundary error in seconds; ``nan`` where nothing was found."""
        return float(np.median(self.boundary_errors_s)) if self.boundary_errors_s else float("nan")

    @property
    def mean_interval_precision(self) -> float:
        """Mean of ``interval_precision`` over the overlaps."""
        return float(np.mean(list(self.interval_precision.values())))


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


# With fewer groups, resampling them does not give a meaningful interval.
MIN_GROUPS = 5


def evaluate_scores(
    tracks: Sequence[ScoredVideo], rule: EventRule, protocol: FrameProtocol = "frames"
) -> Evaluation:
    """All metrics that labels and scores give.

    Frame metrics use the videos with ground truth: normal ones, in which nothing happens, and
    abnormal ones with intervals. A video is predicted to be abnormal if it has an event, and its
    score is its highest smoothed score. A true event is found if an event touches it. False alarms
    are events that touch no true event; their rate is per hour in which nothing happens.
    """
    if not tracks:
        raise UsageError("nothing to evaluate: no scored videos")
    videos = tuple(_video_metrics(scored, scored.rule or rule, protocol) for scored in tracks)
    has_times = any(v.video.abnormal and v.truth is not None for v in videos)
    normal = [v for v in videos if not v.video.abnormal]
    classes, groups = defaultdict(list), defaultdict(list)
    for each in videos:
        classes[each.video.label].append(each)
        groups[each.video.group].append(each)
    members = list(groups.values())
    overall = _metrics(videos, has_times)
    true_events = overall.found + overall.missed
    accuracy = _interval(members, lambda some: _confusion(some).accuracy)
    found = _interval(members, _share_found)
    return Evaluation(
        protocol=protocol,
        rule=rule,
        overall=overall,
        classes={
            name: _class_metrics(classes[name], normal, has_times) for name in sorted(classes)
        },
        groups={name: _metrics(groups[name], has_times) for name in sorted(groups)},
        videos=videos,
        frame_auc=_interval(members, _frame_auc) if has_times else None,
        video_auc=_interval(members, _video_auc),
        accuracy=_share(overall.confusion.correct, len(videos), accuracy),
        events_found=_share(overall.found, true_events, found) if true_events else None,
    )


def official_scores(track: ScoreTrack, labels: NDArray[np.bool_]) -> LabelledScores:
    """Scores as in published code: repeated, not averaged, and without the last frames.

    Each snippet's score stands for the ticks from its start to that of the next one, 16 in the
    published setting; ticks after the last whole snippet are dropped. The result has one row for
    each snippet and label (n_frames,), weighted by the number of ticks.
    """
    base = track.timebase
    reach = max(base.snippet_frames, base.stride)
    starts, ends = base.snippet_ticks().T
    whole = ends - starts == reach
    before = np.append(0, np.cumsum(labels[base.tick_frames()]))
    odd = before[starts[whole] + base.stride] - before[starts[whole]]
    weights = np.concatenate([odd, base.stride - odd]).astype(np.float64)
    kept = weights > 0
    rows = np.repeat([True, False], len(odd))
    return LabelledScores(rows[kept], np.tile(track.scores[whole], 2)[kept], weights[kept])


def _video_metrics(scored: ScoredVideo, rule: EventRule, protocol: FrameProtocol) -> VideoMetrics:
    video, track = scored.video, scored.track
    events = find_events(track, rule)
    known = video.truth if video.abnormal else GroundTruth(())
    frames, truth, match, localised, auc = None, None, None, None, float("nan")
    errors: tuple[float, ...] = ()
    if known is not None:
        compute = LabelledScores.from_track if protocol == "frames" else official_scores
        frames = compute(track, known.frame_labels(track.timebase))
        truth = known.seconds(track.timebase)
        match = match_events(events, truth)
        localised = localise(track, truth)
        spans = np.array([(event.start_s, event.end_s) for event in events]).reshape(-1, 2)
        errors = tuple(boundary_errors(spans, localised.truth).tolist())
        auc = roc_auc(frames.labels, frames.scores, frames.weights)
    score = float(smooth_frame_scores(track, rule.smooth_s).max())
    return VideoMetrics(
        video, track, rule, events, truth, score, match, frames, auc, localised, errors
    )


def _metrics(videos: Sequence[VideoMetrics], has_times: bool) -> Metrics:
    matches = [v.match for v in videos if v.match is not None]
    alarms = [v.false_alarms for v in videos]
    localised = [v.localised for v in videos if v.localised is not None]
    return Metrics(
        videos=len(videos),
        abnormal=sum(v.video.abnormal for v in videos),
        hours=sum(v.track.timebase.covered_s for v in videos) / 3600,
        frames=frame_metrics([v.frames for v in videos if v.frames is not None])
        if has_times
        else None,
        video_auc=_video_auc(videos),
        confusion=_confusion(videos),
        found=sum(match.found for match in matches),
        missed=sum(match.missed for match in matches),
        delays_s=tuple(sorted(delay for match in matches for delay in match.delays_s)),
        boundary_errors_s=tuple(error for v in videos for error in v.boundary_errors_s),
        interval_precision=mean_average_precision(localised),
        false_alarms=FalseAlarmRate(sum(a.count for a in alarms), sum(a.hours for a in alarms)),
    )


def _class_metrics(
    videos: Sequence[VideoMetrics], normal: Sequence[VideoMetrics], has_times: bool
) -> Metrics:
    own = _metrics(videos, has_times)
    if not own.abnormal:
        return own
    against = _metrics([*videos, *normal], has_times)
    return replace(own, frames=against.frames, video_auc=against.video_auc)


def _video_auc(videos: Sequence[VideoMetrics]) -> float:
    return roc_auc([v.video.abnormal for v in videos], [v.score for v in videos])


def _frame_auc(videos: Sequence[VideoMetrics]) -> float:
    return frame_metrics([v.frames for v in videos if v.frames is not None]).auc


def _confusion(videos: Sequence[VideoMetrics]) -> Confusion:
    counts = Counter((v.video.abnormal, v.predicted_abnormal) for v in videos)
    return Confusion(
        true_positives=counts[True, True],
        false_negatives=counts[True, False],
        false_positives=counts[False, True],
        true_negatives=counts[False, False],
    )


def _share_found(videos: Sequence[VideoMetrics]) -> float:
    matches = [v.match for v in videos if v.match is not None]
    found, missed = sum(m.found for m in matches), sum(m.missed for m in matches)
    return found / (found + missed) if found + missed else float("nan")


def _share(count: int, total: int, resampled: Interval | None) -> Interval:
    """A share with its exact interval, widened to ``resampled`` where that is wider.

    The exact interval assumes that videos are independent; those of one group are not, which
    resampling groups shows. But resampling alone would find no uncertainty in 12 of 12.
    """
    exact = binomial_interval(count, total)
    if resampled is None:
        return exact
    low, high = np.fmin(exact.low, resampled.low), np.fmax(exact.high, resampled.high)
    return Interval(exact.value, float(low), float(high))


def _interval(
    groups: Sequence[Sequence[VideoMetrics]], statistic: Callable[[Sequence[VideoMetrics]], float]
) -> Interval | None:
    if len(groups) < MIN_GROUPS:
        return None
    interval = bootstrap_interval(groups, lambda drawn: statistic(list(chain(*drawn))))
    return interval if np.isfinite(interval.value) else None
