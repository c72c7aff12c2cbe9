"""Scores of labelled videos -> how good the model is: frames, videos, events, false alarms."""

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

# With fewer groups, resampling them says more of the resampling than of the model.
MIN_GROUPS = 5
_DRAWS = 500

_Statistic = Callable[[Sequence[Sequence[VideoMetrics]]], float]


def evaluate_scores(
    tracks: Sequence[ScoredVideo], rule: EventRule, protocol: FrameProtocol = "frames"
) -> Evaluation:
    """Everything that labels and scores say of a model.

    Frame figures stand on the videos whose truth is known: normal ones, in which nothing ever
    happens, and abnormal ones with intervals. A video is called abnormal if it has an event, and
    its score is its highest smoothed one. A true event is found if an event touches it. False
    alarms are events that touch nothing true, an hour of time in which nothing happens.

    Args:
        tracks: Labelled videos with their scores.
        rule: How scores become events.
        protocol: What the frame figures stand on.

    Raises:
        UsageError: no videos.
        InputError: a score is not finite.
    """
    if not tracks:
        raise UsageError("nothing to evaluate: no scored videos")
    videos = tuple(_video(judged, judged.rule or rule, protocol) for judged in tracks)
    timed = any(v.video.abnormal and v.truth is not None for v in videos)
    normal = [v for v in videos if not v.video.abnormal]
    classes, groups = defaultdict(list), defaultdict(list)
    for each in videos:
        classes[each.video.label].append(each)
        groups[each.video.group].append(each)
    members = list(groups.values())
    whole = _metrics(videos, timed=timed)
    true_events = whole.found + whole.missed
    return Evaluation(
        protocol=protocol,
        rule=rule,
        overall=whole,
        classes={name: _class_metrics(classes[name], normal, timed) for name in sorted(classes)},
        groups={name: _metrics(groups[name], timed=timed) for name in sorted(groups)},
        videos=videos,
        frame_auc=_interval(members, lambda drawn: _frame_auc(_flatten(drawn))) if timed else None,
        video_auc=_interval(members, lambda drawn: _video_auc(_flatten(drawn))),
        accuracy=_share(
            whole.confusion.correct,
            len(videos),
            _interval(members, lambda drawn: _confusion(_flatten(drawn)).accuracy),
        ),
        events_found=_share(
            whole.found,
            true_events,
            _interval(members, lambda drawn: _share_found(_flatten(drawn))),
        )
        if true_events
        else None,
    )


def official_scores(track: ScoreTrack, labels: NDArray[np.bool_]) -> LabelledScores:
    """Scores as published figures are computed: repeated, not averaged, and without the tail.

    Each snippet's score stands for the ticks from its start to the next one's, 16 in the published
    setting; ticks after the last whole snippet are dropped. Rows are snippets with weights.

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


def _video(judged: ScoredVideo, rule: EventRule, protocol: FrameProtocol) -> VideoMetrics:
    video, track = judged.video, judged.track
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


def _metrics(videos: Sequence[VideoMetrics], *, timed: bool) -> Metrics:
    matches = [v.match for v in videos if v.match is not None]
    alarms = [v.false_alarms for v in videos]
    return Metrics(
        videos=len(videos),
        abnormal=sum(v.video.abnormal for v in videos),
        hours=sum(v.track.timebase.covered_s for v in videos) / 3600,
        frames=frame_metrics([v.frames for v in videos if v.frames is not None]) if timed else None,
        video_auc=_video_auc(videos),
        confusion=_confusion(videos),
        found=sum(match.found for match in matches),
        missed=sum(match.missed for match in matches),
        delays_s=tuple(sorted(delay for match in matches for delay in match.delays_s)),
        false_alarms=FalseAlarmRate(sum(a.count for a in alarms), sum(a.hours for a in alarms)),
    )


def _class_metrics(
    videos: Sequence[VideoMetrics], normal: Sequence[VideoMetrics], timed: bool
) -> Metrics:
    own = _metrics(videos, timed=timed)
    if not own.abnormal:
        return own
    against = _metrics([*videos, *normal], timed=timed)
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
    """A share with its exact interval, widened to ``resampled`` where that reaches further.

    The exact interval takes videos for independent; those of one group are not, which resampling
    groups shows. But resampling alone would say of 12 of 12 that it can be nothing else.
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
