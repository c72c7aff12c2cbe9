"""Compute the metrics of a model from the scores of labelled videos."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from oddframe.datasets.labelled import GroundTruth
from oddframe.errors import UsageError
from oddframe.evaluation.confidence import Interval, binomial_interval, bootstrap_interval
from oddframe.evaluation.results import (
    Confusion,
    Evaluation,
    FalseAlarmRate,
    FrameProtocol,
    Metrics,
    ScoredVideo,
    VideoMetrics,
)
from oddframe.events import EventRule, find_events, match_events, smooth_frame_scores
from oddframe.metrics import LabelledScores, frame_metrics, roc_auc
from oddframe.timeline import ScoreTrack

# With fewer groups, resampling them does not give a meaningful interval.
MIN_GROUPS = 5
_DRAWS = 500

_Statistic = Callable[[Sequence[Sequence[VideoMetrics]]], float]


def evaluate_scores(
    tracks: Sequence[ScoredVideo], rule: EventRule, protocol: FrameProtocol = "frames"
) -> Evaluation:
    """All metrics that labels and scores give.

    Frame metrics use the videos with ground truth: normal ones, in which nothing happens, and
    abnormal ones with intervals. A video is predicted to be abnormal if it has an event, and its
    score is its highest smoothed score. A true event is found if an event touches it. False alarms
    are events that touch no true event; their rate is per hour in which nothing happens.

    Args:
        tracks: Labelled videos with their scores.
        rule: The event rule.
        protocol: What the frame metrics are computed on.

    Raises:
        UsageError: there are no videos.
        InputError: a score is not finite.
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
    overall = _metrics(videos, has_times=has_times)
    true_events = overall.found + overall.missed
    return Evaluation(
        protocol=protocol,
        rule=rule,
        overall=overall,
        classes={
            name: _class_metrics(classes[name], normal, has_times) for name in sorted(classes)
        },
        groups={name: _metrics(groups[name], has_times=has_times) for name in sorted(groups)},
        videos=videos,
        frame_auc=_interval(members, lambda sample: _frame_auc(_flatten(sample)))
        if has_times
        else None,
        video_auc=_interval(members, lambda sample: _video_auc(_flatten(sample))),
        accuracy=_share(
            overall.confusion.correct,
            len(videos),
            _interval(members, lambda sample: _confusion(_flatten(sample)).accuracy),
        ),
        events_found=_share(
            overall.found,
            true_events,
            _interval(members, lambda sample: _share_found(_flatten(sample))),
        )
        if true_events
        else None,
    )


def official_scores(track: ScoreTrack, labels: NDArray[np.bool_]) -> LabelledScores:
    """Scores as in published code: repeated, not averaged, and without the last frames.

    Each snippet's score stands for the ticks from its start to that of the next one, 16 in the
    published setting; ticks after the last whole snippet are dropped. The result has one row for
    each snippet and label, weighted by the number of ticks.

    Args:
        track: Scores of one video.
        labels: (n_frames,) True where a frame is anomalous.
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
    frames = None
    if known is not None:
        labels = known.frame_labels(track.timebase)
        exact = protocol == "frames"
        frames = (
            LabelledScores.from_track(track, labels) if exact else official_scores(track, labels)
        )
    truth = None if known is None else known.seconds(track.timebase)
    return VideoMetrics(
        video=video,
        track=track,
        rule=rule,
        events=events,
        truth=truth,
        score=float(smooth_frame_scores(track, rule.smooth_s).max()),
        match=None if truth is None else match_events(events, truth),
        frames=frames,
        auc=float("nan")
        if frames is None
        else roc_auc(frames.labels, frames.scores, frames.weights),
    )


def _metrics(videos: Sequence[VideoMetrics], *, has_times: bool) -> Metrics:
    matches = [v.match for v in videos if v.match is not None]
    alarms = [v.false_alarms for v in videos]
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
        false_alarms=FalseAlarmRate(sum(a.count for a in alarms), sum(a.hours for a in alarms)),
    )


def _class_metrics(
    videos: Sequence[VideoMetrics], normal: Sequence[VideoMetrics], has_times: bool
) -> Metrics:
    own = _metrics(videos, has_times=has_times)
    if not own.abnormal:
        return own
    against = _metrics([*videos, *normal], has_times=has_times)
    return replace(own, frames=against.frames, video_auc=against.video_auc)


def _video_auc(videos: Sequence[VideoMetrics]) -> float:
    return roc_auc([v.video.abnormal for v in videos], [v.score for v in videos])


def _frame_auc(videos: Sequence[VideoMetrics]) -> float:
    return frame_metrics([v.frames for v in videos if v.frames is not None]).auc


def _confusion(videos: Sequence[VideoMetrics]) -> Confusion:
    counts = {
        (abnormal, called): sum(
            v.video.abnormal == abnormal and v.predicted_abnormal == called for v in videos
        )
        for abnormal in (True, False)
        for called in (True, False)
    }
    return Confusion(
        caught=counts[True, True],
        missed=counts[True, False],
        alarmed=counts[False, True],
        quiet=counts[False, False],
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


def _flatten(groups: Sequence[Sequence[VideoMetrics]]) -> list[VideoMetrics]:
    return [video for group in groups for video in group]


def _interval(groups: Sequence[Sequence[VideoMetrics]], statistic: _Statistic) -> Interval | None:
    if len(groups) < MIN_GROUPS:
        return None
    interval = bootstrap_interval(groups, statistic, draws=_DRAWS)
    return interval if np.isfinite(interval.value) else None
