"""Pictures of what a model got right and wrong: each video at its highest score."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape

import numpy as np

from oddframe.errors import InputError
from oddframe.evaluation.results import Evaluation, VideoMetrics
from oddframe.events import smooth_frame_scores
from oddframe.features.formats.arrays import is_feature_file
from oddframe.outputs.drawing import RgbImage, encode_jpeg, step_curve
from oddframe.outputs.highlights import KeyFrameCollector
from oddframe.outputs.pages.evaluation_summary import score_margin
from oddframe.outputs.text import format_clock
from oddframe.video.source import open_source

_MOST = 8
_LONGEST = 256

_KINDS = (
    (True, False, "Missed", "Abnormal, but never reached the threshold; the lowest scores first."),
    (False, True, "False alarms", "Normal, but called abnormal; the highest scores first."),
    (True, True, "Caught", "Abnormal, and called so; the narrowest first."),
    (False, False, "Quiet", "Normal, and called so; the narrowest first."),
)


def render_galleries(evaluation: Evaluation) -> str:
    """Four rows of thumbnails with scores: missed, false alarms, caught, quiet."""
    return "".join(
        _gallery(evaluation.videos, abnormal, called, name, about)
        for abnormal, called, name, about in _KINDS
    )


def _gallery(
    videos: Sequence[VideoMetrics], abnormal: bool, predicted_abnormal: bool, name: str, about: str
) -> str:
    there = [
        v
        for v in videos
        if (v.video.abnormal, v.predicted_abnormal) == (abnormal, predicted_abnormal)
    ]
    if not there:
        return ""
    shown = sorted(there, key=score_margin)[:_MOST]
    count = f"{len(there)}" if len(shown) == len(there) else f"{len(shown)} of {len(there)} shown"
    tiles = "".join(_tile(video) for video in shown)
    return (
        f"<h3>{name} <small>{count}</small></h3><p class='note'>{about}</p>"
        f'<ul class="gallery {"right" if abnormal == predicted_abnormal else "wrong"}">{tiles}</ul>'
    )


def _tile(video: VideoMetrics) -> str:
    at = _peak(video)
    picture = _picture(video, at)
    name = escape(video.video.path.name)
    if picture is None:
        image = '<div class="none">no picture at hand</div>'
    else:
        data = b64encode(encode_jpeg(picture, 76)).decode()
        high, wide = picture.shape[:2]
        image = (
            f'<img src="data:image/jpeg;base64,{data}" width="{wide}" height="{high}" '
            f'alt="{name} at its highest score">'
        )
    return (
        f"<li>{image}<b>{video.score:.2f}</b> "
        f'<span class="label">at {format_clock(at, 1)}</span>'
        f'<span class="name">{name}</span></li>'
    )


def _peak(video: VideoMetrics) -> float:
    """Middle of the stretch with the highest score, in seconds on the video's clock."""
    base = video.track.timebase
    highest = int(np.argmax(smooth_frame_scores(video.track, video.rule.smooth_s)))
    return step_curve(video, base.n_frames).middle(float(base.frame_times[highest]))


def _picture(video: VideoMetrics, seconds: float) -> RgbImage | None:
    """The frame at an instant; None where the video cannot be read, or is a file of features."""
    path = video.video.path
    if is_feature_file(path):
        return None
    caught = KeyFrameCollector([seconds], _LONGEST)
    try:
        fps = video.track.timebase.fps if path.is_dir() else None
        for frame in open_source(path, fps=fps).frames():
            caught.add(frame)
            if caught.done:
                break
        caught.close()
    except InputError:
        return None
    return caught.images.get(seconds)
