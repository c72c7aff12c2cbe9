"""Summarises and checks a data set: unreadable files, duplicates, groups, and label leaks.

A label leak is a property of the files (size, frame rate, length, sound) that tells the label
without a look at the picture. A detector trained on such data may learn the property instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from oddframe._utils.files import exists
from oddframe._utils.progress import ProgressCallback
from oddframe.datasets.labelled import Dataset, LabelledVideo, Survey, grouped_folds
from oddframe.datasets.precomputed import (
    has_precomputed_features,
    load_precomputed_features,
    video_digest,
)
from oddframe.datasets.registry import PublishedDataset
from oddframe.datasets.scene_grouping import find_scenes, same_scene_warnings
from oddframe.errors import InputError, UsageError
from oddframe.features.store.store import FeatureStore
from oddframe.metrics import roc_auc
from oddframe.timeline import Timebase
from oddframe.video.decoding.probe import VideoInfo, probe
from oddframe.video.frame import DEFAULT_FPS

# A property with at least this AUC is reported.
LEAK_AUC = 0.65
_FOLDS = 5

_PROPERTIES: dict[str, tuple[Callable[[VideoInfo], float], str]] = {
    "resolution": (
        lambda info: float(info.width * info.height),
        "bring all videos to the size of the smallest",
    ),
    "frame rate": (lambda info: info.fps, "set features.rate, so that all are read at one rate"),
    "length": (lambda info: info.duration_s or 0.0, "cut or join the videos to one length"),
    "sound": (lambda info: float(info.has_audio), "leave sound out, as oddframe's I3D does"),
}


@dataclass(frozen=True)
class Leak:
    """A property of the files that tells the label."""

    name: str
    auc: float  # Of the property alone, in cross-validation over groups.
    advice: str  # What to do about it.

    def __str__(self) -> str:
        return (
            f"the {self.name} alone tells normal from abnormal with AUC {100 * self.auc:.0f} "
            f"(50: not at all): {self.advice}"
        )


def find_leaks(dataset: Dataset, infos: Mapping[Path, VideoInfo]) -> list[Leak]:
    """The properties that tell the label by themselves, the worst first.

    Cross-validated: whether a high value means abnormal is decided on some groups and tested on the
    others. Empty if there are too few groups of both classes for that. Videos that are not in
    ``infos`` are ignored.
    """
    if not dataset.classes:
        return []
    known = dataset.subset(i for i, v in enumerate(dataset.videos) if v.path in infos)
    try:
        folds = grouped_folds(known, min(_FOLDS, len(known.groups)))
    except UsageError:
        return []
    labels = known.abnormal
    if labels.all() or not labels.any():
        return []
    found = []
    for name, (read, advice) in _PROPERTIES.items():
        values = np.array([read(infos[video.path]) for video in known.videos])
        aucs = []
        for fold in folds:
            direction = roc_auc(labels[fold.train], values[fold.train]) - 0.5
            signed = values[fold.test] if direction >= 0 else -values[fold.test]
            aucs.append(roc_auc(labels[fold.test], signed))
        auc = float(np.nanmean(aucs))
        if auc > LEAK_AUC:
            found.append(Leak(name, auc, advice))
    return sorted(found, key=lambda leak: -leak.auc)


@dataclass(frozen=True)
class DatasetFindings:
    """What a check of a data set found."""

    problems: tuple[str, ...]  # What must be fixed before training, a line each.
    warnings: tuple[str, ...]  # What limits the meaning of results, a line each.
    hours: float  # Of video in the files that could be read.
    hashes: Mapping[Path, str]  # sha256 of the contents of these files.
    scenes: Mapping[Path, str] = field(default_factory=dict)  # Empty if they were not compared.


def check_dataset(
    survey: Survey, progress: ProgressCallback | None = None, store: FeatureStore | None = None
) -> DatasetFindings:
    """Read every file's header and content; of published features only the headers.

    Scenes are compared if there is a ``store``, in which the backgrounds of videos are cached.
    """
    problems, dataset = list(survey.problems), survey.dataset
    videos = dataset.videos
    warnings = list(dataset.notes)
    if dataset.layout and not any(v.precomputed is not None or exists(v.path) for v in videos):
        warnings.append("neither its videos nor features of them are here: lists alone, no files")
        videos = ()
    infos: dict[Path, VideoInfo] = {}
    hashes: dict[Path, str] = {}
    copies: dict[str, list[LabelledVideo]] = {}
    seconds = 0.0
    for done, video in enumerate(videos, start=1):
        try:
            if has_precomputed_features(video):
                timebase = load_precomputed_features(video).timebase
                duration_s, fps = timebase.duration_s, timebase.fps
            else:
                info = infos[video.path] = probe(video.path)
                duration_s, fps = info.duration_s or 0.0, info.fps
            seconds += duration_s
            if duration_s and video.time_labels:
                outside = video.time_labels.seconds(fps).find_outside(0.0, duration_s)
                problems += [f"{video.path}: {outside}"] if outside else []
            hashes[video.path] = video_digest(video)
            copies.setdefault(hashes[video.path], []).append(video)
        except InputError as error:
            problems.append(str(error))
        if progress is not None:
            progress(done, len(videos), "reading")
    problems += _duplicate_problems([same for same in copies.values() if len(same) > 1])
    warnings += _group_warnings(dataset) + [str(leak) for leak in find_leaks(dataset, infos)]
    scenes: dict[Path, str] = {}
    if store is not None:
        scenes = find_scenes(dataset, progress, store=store, hashes=hashes)
        warnings += same_scene_warnings(dataset, scenes)
    return DatasetFindings(tuple(problems), tuple(warnings), seconds / 3600, hashes, scenes)


def _duplicate_problems(copies: Sequence[list[LabelledVideo]]) -> list[str]:
    lines = []
    for same in copies:
        names = " and ".join(str(video.path) for video in same)
        if len({video.abnormal for video in same}) > 1:
            labels = " and ".join(f"'{video.label}'" for video in same)
            lines.append(f"{names} are the same video, labelled {labels}")
        elif len({video.group for video in same}) > 1:
            groups = " and ".join(f"'{video.group}'" for video in same)
            lines.append(f"{names} are the same video in two groups, {groups}")
        else:
            lines.append(f"{names} are the same video: remove one")
    return lines


def _can_hold_out(dataset: Dataset) -> bool:
    """Whether training could hold out one of five folds, as it does by default."""
    try:
        return bool(grouped_folds(dataset))
    except UsageError:
        return False


def _group_warnings(dataset: Dataset) -> list[str]:
    lines = []
    if len(dataset.groups) == 1:
        lines.append(
            f"all videos are of one group, '{dataset.groups[0]}': nothing can be held out to "
            "measure on; say which recording or camera each is from"
        )
    elif not any(video.part for video in dataset.videos) and not _can_hold_out(dataset):
        lines.append(
            f"{len(dataset.groups)} groups are too few to hold out a fifth of them with both "
            "classes in both parts, so training gives no figures; name the recording or camera of "
            "each video, or add videos of others"
        )
    if not dataset.classes:
        lines.append("only normal videos: training builds a detector of unusual events")
    return lines


def summarize_dataset(survey: Survey, published: PublishedDataset | None = None) -> dict[str, Any]:
    """What a data set contains, as JSON types."""
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
        **_count_time_labels(dataset),
        "problems": len(survey.problems),
        "beware": list(dataset.notes),
    }


def _count_time_labels(dataset: Dataset) -> dict[str, Any]:
    """How many times are labelled, if there are any."""
    labels = [video.time_labels for video in dataset.videos]
    counts = {
        "clicks": sum(len(each.clicks) for each in labels),
        "clicked_videos": sum(bool(each.clicks) for each in labels),
        "rejected_times": sum(len(each.rejected) for each in labels),
    }
    return {name: count for name, count in counts.items() if count}


def _count_labels(dataset: Dataset, part: str) -> list[str]:
    abnormal = [video.abnormal for video in dataset.videos if video.part == part]
    return [f"{sum(abnormal)} abnormal", f"{len(abnormal) - sum(abnormal)} normal"]
