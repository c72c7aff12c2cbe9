"""The description of a published data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from oddframe.datasets.labelled import Dataset


@dataclass(frozen=True)
class PublishedDataset:
    """A published data set: what it is, what its folder holds, how to read it.

    Attributes:
        name: Name on the command line.
        title: Name in print.
        source: Paper or page, and the terms of use.
        files: What its folder must contain.
        group: What a group of videos is, such as a camera.
        read: Reads the data set from its folder.
        videos: Number of videos.
        abnormal: Number of abnormal videos.
        labelled_frames: Number of frames with a label; 0: only videos are labelled.
        anomalous_frames: Number of frames that are labelled anomalous.
        note: What limits the meaning of results on it.
    """

    name: str
    title: str
    source: str
    files: str
    group: str
    read: Callable[[Path], Dataset]
    videos: int
    abnormal: int
    labelled_frames: int = 0
    anomalous_frames: int = 0
    note: str = ""
