"""UCF-Crime (Sultani et al., CVPR 2018) from the lists of UR-DMU's authors.

1,900 surveillance videos, 13 kinds of crime and accident, I3D features in ten crops.
"""

from __future__ import annotations

import re
from pathlib import Path

from oddframe.datasets.labelled import NORMAL, Dataset
from oddframe.datasets.published.lists import FrameLabels, read_list_dataset
from oddframe.datasets.registry import PublishedDataset
from oddframe.errors import InputError
from oddframe.features.presets import PublishedLayout

_ABNORMAL_NAME = re.compile(
    r"(Abuse|Arrest|Arson|Assault|Burglary|Explosion|Fighting|RoadAccidents|Robbery|Shooting"
    r"|Shoplifting|Stealing|Vandalism)\d+_x264"
)
_NORMAL_NAME = re.compile(r"Normal_Videos_?\d+_x264")


def read_ucf_crime(root: Path) -> Dataset:
    """Read UCF-Crime from a folder with its lists; each video is a group of its own.

    ``frames`` of a test video is 16 times its number of snippets, as in ``test_frame_labels.json``
    and published results; with the annotation alone it is the true number of frames, up to 16
    more. The length of a training video is not published.
    """

    def label_and_group(name: str) -> tuple[str, str]:
        if _NORMAL_NAME.fullmatch(name):
            return NORMAL, name
        if found := _ABNORMAL_NAME.fullmatch(name):
            return found[1], name
        raise InputError(f"{root}: {name} is no video of UCF-Crime: its name says no class of it")

    return read_list_dataset(
        root,
        "ucf_crime",
        PublishedLayout(crops=10, fps=30.0),
        "UCF",
        label_and_group,
        _parse_annotation,
        "Arson/Arson022_x264.mp4 8640 Arson 3500 4000 -1 -1",
    )


def _parse_annotation(fields: list[str]) -> tuple[str, FrameLabels]:
    file, frames, _, *ends = fields
    starts, stops = map(int, ends[::2]), map(int, ends[1::2])
    pairs = tuple(pair for pair in zip(starts, stops, strict=True) if pair[0] >= 0)
    return Path(file).stem, FrameLabels(pairs, int(frames))


UCF_CRIME = PublishedDataset(
    name="ucf_crime",
    title="UCF-Crime, weakly supervised split, as I3D features in ten crops",
    source="Sultani et al., CVPR 2018; lists of UR-DMU (Zhou et al., AAAI 2023)",
    files="UCF_Train.list, UCF_Test.list, UCF_Annotation.txt, test_frame_labels.json; "
    "optionally glance.csv",
    group="a video",
    read=read_ucf_crime,
    videos=1900,
    abnormal=950,
    labelled_frames=1_109_680,
    anomalous_frames=84_128,
    note="labelled frames are 16 for each snippet; the lists have 150 normal and 140 abnormal test "
    "videos, section 4.1 of the UR-DMU paper says it the other way round",
)
