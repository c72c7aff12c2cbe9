"""Counts the videos, classes, groups and labels of a data set, for ``oddframe data info``."""

from __future__ import annotations

from typing import Any

from oddframe.datasets.labelled import Dataset, Survey
from oddframe.datasets.published.base import PublishedDataset
from oddframe.timeline import Timebase
from oddframe.video.frame import DEFAULT_FPS


def summarize_dataset(survey: Survey, published: PublishedDataset | None = None) -> dict[str, Any]:
    """What a data set contains, as JSON types.

    Args:
        survey: The data set as it was found.
        published: Its description, if it is a published one.
    """
    dataset = survey.dataset
    abnormal = int(dataset.abnormal.sum())
    parts = {part: sum(v.part == part for v in dataset.videos) for part in ("train", "test")}
    crops = dataset.layout.crops if dataset.layout else 0
    labelled = [
        (video.truth, Timebase(video.fps or DEFAULT_FPS, video.frames))
        for video in dataset.videos
        if video.truth and video.frames
    ]
    described = {}
    if published is not None:
        described = {
            "title": published.title,
            "source": published.source,
            "a_group_is": published.group,
            "note": published.note,
        }
    return {
        **described,
        "name": dataset.name,
        "videos": len(dataset),
        "normal": len(dataset) - abnormal,
        "abnormal": abnormal,
        "classes": list(dataset.classes),
        "groups": len(dataset.groups),
        "split": [f"{n} {part}" for part, n in parts.items() if n],
        **{f"{part}_videos": _count_labels(dataset, part) for part, n in parts.items() if n},
        "crop_files": [f"{n * crops} {part}" for part, n in parts.items() if n * crops],
        "labelled_videos": sum(video.truth is not None for video in dataset.videos),
        "labelled_frames": sum(timebase.n_frames for _, timebase in labelled),
        "anomalous_frames": sum(
            int(truth.frame_labels(timebase).sum()) for truth, timebase in labelled
        ),
        "problems": len(survey.problems),
        "beware": list(dataset.notes),
    }


def _count_labels(dataset: Dataset, part: str) -> list[str]:
    abnormal = [video.abnormal for video in dataset.videos if video.part == part]
    return [f"{sum(abnormal)} abnormal", f"{len(abnormal) - sum(abnormal)} normal"]
