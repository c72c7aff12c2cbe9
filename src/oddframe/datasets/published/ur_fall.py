"""UR Fall Detection, camera 0: 24 videos with one fall each, 32 of daily living.

Kwolek, Kępski, "Human fall detection on embedded platform using depth maps and wireless
accelerometer" (2014). Few people in few rooms. Falls are shorter than other videos, which gives the
label away: cut videos to one length before results on them mean anything.
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
    """Read UR Fall from a folder with ``videos.csv`` (path, label), ``frame_labels.json``, videos.

    Each video is a group of its own.

    Raises:
        InputError: a list or a video is missing, or a video has no frame labels.
    """
    labels_file = root / "frame_labels.json"
    labels = read_frame_labels(labels_file)
    table = read_table(root / "videos.csv", name="ur_fall")

    def add_labels(video: LabelledVideo) -> LabelledVideo:
        name = video.path.stem
        if name not in labels:
            raise InputError(f"{labels_file}: no frame labels of {name}")
        return replace(video, group=name, truth=labels[name].truth, frames=labels[name].frames)

    return Dataset("ur_fall", tuple(map(add_labels, table.videos)))


UR_FALL = PublishedDataset(
    name="ur_fall",
    title="UR Fall Detection, camera 0",
    source="Kwolek and Kępski 2014; non-commercial, share alike",
    files="videos.csv, frame_labels.json, falls/ and adl/ with the videos",
    group="each video; few people in few rooms",
    read=read_ur_fall,
    videos=56,
    abnormal=24,
    labelled_frames=9157,
    anomalous_frames=1534,
    note="the length alone tells a fall: bring videos to one length, lead with AUC_sub",
)
