"""UCF-Crime (Sultani et al., CVPR 2018) from the lists of UR-DMU's authors.

1,900 surveillance videos, 13 kinds of crime and accident, I3D features in ten crops. Labels are of
whole videos for training, and of frames for the test.
"""

from __future__ import annotations

import re
from pathlib import Path

from oddframe.datasets.labelled import NORMAL, Dataset
from oddframe.datasets.published.lists import VideoAnnotation, read_list_dataset
from oddframe.datasets.registry import PublishedDataset
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
_ABNORMAL_NAME = re.compile(r"([A-Za-z]+)\d+_x264")
_NORMAL_NAME = re.compile(r"Normal_Videos_?\d+_x264")


_EXAMPLE_ANNOTATION = "Arson/Arson022_x264.mp4 8640 Arson 3500 4000 -1 -1"


def read_ucf_crime(root: Path) -> Dataset:
    """Read UCF-Crime from a folder with its lists.

    ``UCF_Train.list`` and ``UCF_Test.list`` have a line for each crop, ten for each video. The
    label is part of a video's name. ``UCF_Annotation.txt`` (name, frames, class, two intervals) or
    ``test_frame_labels.json`` has the anomalous intervals; one of them is enough.

    ``frames`` of a test video is 16 times its number of snippets, as in ``test_frame_labels.json``
    and published results; with the annotation alone it is the true number of frames, up to 16
    more. The length of a training video is not published. Intervals are clipped at the last frame.

    The path of a video is the file of its name anywhere below ``root``, or ``root/NAME.mp4`` if
    there is none. No groups are published: each video is a group of its own.

    Raises:
        InputError: a list or the labels are missing or wrong.
    """

    return read_list_dataset(
        root,
        _DATASET,
        _LAYOUT,
        "UCF",
        lambda name: (parse_label(root, name), name),
        _parse_annotation,
        _EXAMPLE_ANNOTATION,
    )


def parse_label(root: Path, name: str) -> str:
    """The class in a video's name, or ``normal``.

    Raises:
        InputError: the name has neither.
    """
    if _NORMAL_NAME.fullmatch(name):
        return NORMAL
    found = _ABNORMAL_NAME.fullmatch(name)
    if found is None or found[1] not in CLASSES:
        raise InputError(f"{root}: {name} is no video of UCF-Crime: its name says no class of it")
    return found[1]


def _parse_annotation(fields: list[str]) -> tuple[str, VideoAnnotation]:
    file, frames, _, *ends = fields
    starts, stops = map(int, ends[::2]), map(int, ends[1::2])
    pairs = tuple(pair for pair in zip(starts, stops, strict=True) if pair[0] >= 0)
    return Path(file).stem, VideoAnnotation(pairs, int(frames))


UCF_CRIME = PublishedDataset(
    name=_DATASET,
    title="UCF-Crime, weakly supervised split, as I3D features in ten crops",
    source="Sultani et al., CVPR 2018; lists of UR-DMU (Zhou et al., AAAI 2023)",
    files="UCF_Train.list, UCF_Test.list, UCF_Annotation.txt, test_frame_labels.json",
    group="a video",
    read=read_ucf_crime,
    videos=1900,
    abnormal=950,
    labelled_frames=1_109_680,
    anomalous_frames=84_128,
    note="labelled frames are 16 for each snippet; the lists have 150 normal and 140 abnormal test "
    "videos, section 4.1 of the UR-DMU paper says it the other way round",
)
