"""UCF-Crime (Sultani et al., CVPR 2018) from the lists of UR-DMU's authors.

1,900 surveillance videos, 13 kinds of crime and accident, ten crops of I3D features a video. The
training part has labels of whole videos, the test part of frames.
"""

from __future__ import annotations

import re
from pathlib import Path

from oddframe.datasets.labelled import NORMAL, Dataset
from oddframe.datasets.published.base import PublishedDataset
from oddframe.datasets.published.lists import VideoAnnotation, read_list_dataset
from oddframe.errors import InputError
from oddframe.features.presets import PublishedLayout

_DATASET = "ucf_crime"
_LAYOUT = PublishedLayout(crops=10, fps=30.0)
CLASSES = (
    "Abuse",
    "Arrest",
    "Arson",
    "Assault",
    "Burglary",
    "Explosion",
    "Fighting",
    "RoadAccidents",
    "Robbery",
    "Shooting",
    "Shoplifting",
    "Stealing",
    "Vandalism",
)
_NAME = re.compile(r"([A-Za-z]+)\d+_x264")
_ANNOTATION = "Arson/Arson022_x264.mp4 8640 Arson 3500 4000 -1 -1"
_NORMAL = re.compile(r"Normal_Videos_?\d+_x264")


def read_ucf_crime(root: Path) -> Dataset:
    """The data set from a folder with its lists.

    ``UCF_Train.list`` and ``UCF_Test.list`` have a line a crop, ten a video; a label is read from
    the name, never from the place in the list. ``UCF_Annotation.txt`` (name, frames, class, two
    intervals) and ``test_frame_labels.json`` say when something happens; one of them is enough.

    ``frames`` of a test video is 16 times its number of snippets, as ``test_frame_labels.json`` has
    it and as published figures count; with the annotation alone it is the number of frames of the
    video, up to 16 more. Features have their own count, 16 times the rows that are there. How long
    a training video is no list says. Intervals that end past the last frame are clipped.

    A video's path is its file, where one of its name lies somewhere in ``root``; else where it
    would lie. Each video is its own group: no groups are published.

    Raises:
        InputError: a list or the labels are missing or wrong.
    """

    def said_of(name: str) -> tuple[str, str]:
        return parse_label(root, name), name

    return read_list_dataset(root, _DATASET, _LAYOUT, "UCF", said_of, _annotated, _ANNOTATION)


def parse_label(root: Path, name: str) -> str:
    """The class that a video's name says.

    Raises:
        InputError: none of the 13, and not normal.
    """
    if _NORMAL.fullmatch(name):
        return NORMAL
    found = _NAME.fullmatch(name)
    if found is None or found[1] not in CLASSES:
        raise InputError(f"{root}: {name} is no video of UCF-Crime: its name says no class of it")
    return found[1]


def _annotated(fields: list[str]) -> tuple[str, VideoAnnotation]:
    file, frames, _, *edges = fields
    starts, stops = map(int, edges[::2]), map(int, edges[1::2])
    pairs = tuple(pair for pair in zip(starts, stops, strict=True) if pair[0] >= 0)
    return Path(file).stem, VideoAnnotation(pairs, int(frames))


UCF_CRIME = PublishedDataset(
    name=_DATASET,
    title="UCF-Crime, weakly supervised split, as I3D features in ten crops",
    source="Sultani et al., CVPR 2018; lists of UR-DMU (Zhou et al., AAAI 2023)",
    folder="UCF_Train.list, UCF_Test.list, UCF_Annotation.txt, test_frame_labels.json",
    group="a video",
    open=read_ucf_crime,
    videos=1900,
    abnormal=950,
    labelled_frames=1_109_680,
    anomalous_frames=84_128,
    note="labelled frames are 16 for each snippet; the lists have 150 normal and 140 abnormal test "
    "videos, section 4.1 of the UR-DMU paper says it the other way round",
)
