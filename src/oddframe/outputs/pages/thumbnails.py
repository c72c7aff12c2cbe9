"""Thumbnails of what a model got right and wrong: each video at its highest score."""

from __future__ import annotations

from typing import Any

import numpy as np

from oddframe.errors import InputError
from oddframe.evaluation.results import Evaluation, VideoMetrics
from oddframe.events import smooth_frame_scores
from oddframe.features.formats.feature_file import is_feature_file
from oddframe.outputs.drawing import RgbImage, embedded_jpeg, step_curve
from oddframe.outputs.highlights import KeyFrameCollector
from oddframe.outputs.pages.evaluation_summary import score_margin
from oddframe.outputs.text import format_clock
from oddframe.video.source import open_source

_MAX_VIDEOS = 8
_MAX_SIDE = 256
_QUALITY = 76
# Abnormal, called abnormal, heading, explanation.
_KINDS = (
    (True, False, "Missed", "Abnormal, but never reached the threshold; the lowest scores first."),
    (False, True, "False alarms", "Normal, but called abnormal; the highest scores first."),
    (True, True, "Caught", "Abnormal, and called so; the narrowest first."),
    (False, False, "Quiet", "Normal, and called so; the narrowest first."),
)


def galleries(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Up to four galleries for the page: missed, false alarms, caught, quiet; none is empty."""
    found = []
    for abnormal, predicted, name, about in _KINDS:
        videos = [
            video
            for video in evaluation.videos
            if (video.video.abnormal, video.predicted_abnormal) == (abnormal, predicted)
        ]
        shown = sorted(videos, key=score_margin)[:_MAX_VIDEOS]
        if shown:
            more = "" if len(shown) == len(videos) else f" of {len(videos)} shown"
            found.append(
                {
                    "name": name,
                    "about": about,
                    "count": f"{len(shown)}{more}",
                    "correct": abnormal == predicted,
                    "videos": [_thumbnail(video) for video in shown],
                }
            )
    return found


def _thumbnail(video: VideoMetrics) -> dict[str, Any]:
    peak = _peak(video)
    picture = _picture(video, peak)
    return {
        "name": video.video.path.name,
        "score": f"{video.score:.2f}",
        "time": format_clock(peak, 1),
        "picture": None if picture is None else embedded_jpeg(picture, _QUALITY),
    }


def _peak(video: VideoMetrics) -> float:
    """Middle of the stretch with the highest score, in seconds on the video's clock."""
    base = video.track.timebase
    highest = int(np.argmax(smooth_frame_scores(video.track, video.rule.smooth_s)))
    return step_curve(video, base.n_frames).middle(float(base.frame_times[highest]))


def _picture(video: VideoMetrics, seconds: float) -> RgbImage | None:
    """The frame at a time; None where the video cannot be read, or is a file of features."""
    path = video.video.path
    if is_feature_file(path):
        return None
    collector = KeyFrameCollector([seconds], _MAX_SIDE)
    try:
        fps = video.track.timebase.fps if path.is_dir() else None
        for frame in open_source(path, fps=fps).frames():
            collector.add(frame)
            if collector.done:
                break
        collector.close()
    except InputError:
        return None
    return collector.images.get(seconds)
