"""UR Fall Detection, camera 0: 24 videos with one fall each, 32 of daily living.

Kwolek, Kępski, "Human fall detection on embedded platform using depth maps and wireless
accelerometer" (2014). Few people in few rooms, and the length alone tells a fall: bring videos to
one length before using a figure on them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.datasets.published.base import PublishedDataset
from oddframe.datasets.published.lists import read_frame_labels
from oddframe.datasets.table import read_table
from oddframe.errors import InputError


def read_ur_fall(root: Path) -> Dataset:
    """The data set from its folder: ``videos.csv`` (path, label), ``frame_labels.json``, videos.

    Each video is a group of its own.

    Raises:
        InputError: a list or a video is missing, or a video has no frame labels.
    """
    labels_file = root / "frame_labels.json"
    labels = read_frame_labels(labels_file)
    table = read_table(root / "videos.csv", name="ur_fall")

    def labelled(video: LabelledVideo) -> LabelledVideo:
        if video.path.stem not in labels:
            raise InputError(f"{labels_file}: no frame labels of {video.path.stem}")
        name, found = video.path.stem, labels[video.path.stem]
        return replace(video, group=name, truth=found.truth, frames=found.frames)

    return Dataset("ur_fall", tuple(labelled(video) for video in table.videos))


UR_FALL = PublishedDataset(
    name="ur_fall",
    title="UR Fall Detection, camera 0",
    source="Kwolek and Kępski 2014; non-commercial, share alike",
    folder="videos.csv, frame_labels.json, falls/ and adl/ with the videos",
    group="each video; few people in few rooms",
    open=read_ur_fall,
    videos=56,
    abnormal=24,
    labelled_frames=9157,
    anomalous_frames=1534,
    note="the length alone tells a fall: bring videos to one length, lead with AUC_sub",
)
