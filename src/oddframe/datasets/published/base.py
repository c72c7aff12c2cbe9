"""What is known of a published data set before a file of it is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from oddframe.datasets.labelled import Dataset


@dataclass(frozen=True)
class PublishedDataset:
    """A published data set: what it is, what its folder holds, and how much it must be.

    Attributes:
        name: What the command line calls it.
        title: In words.
        source: Paper or page, and the terms of use.
        folder: What the folder has to hold.
        group: What a group is.
        open: Reads it from its folder.
        videos: How many there are.
        abnormal: How many of them are.
        labelled_frames: Frames with a label of their own, 0 where there are none.
        anomalous_frames: Those of them that are anomalous.
        note: What limits the meaning of a figure on it.
    """

    name: str
    title: str
    source: str
    folder: str
    group: str
    open: Callable[[Path], Dataset]
    videos: int
    abnormal: int
    labelled_frames: int = 0
    anomalous_frames: int = 0
    note: str = ""
