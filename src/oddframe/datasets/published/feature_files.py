"""The published data sets that are features: UCF-Crime, XD-Violence, ShanghaiTech Campus.

UCF-Crime (Sultani et al., CVPR 2018) and XD-Violence (Wu et al., ECCV 2020) come with the lists of
UR-DMU's authors, ShanghaiTech as features of object tracks.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from oddframe._utils.files import is_file
from oddframe.datasets.labelled import NORMAL, Dataset, LabelledVideo
from oddframe.datasets.published.lists import (
    LABELS_FILE,
    FrameLabels,
    read_frame_labels,
    read_lines,
    read_list_dataset,
)
from oddframe.datasets.read import CsvRow, read_rows
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

    1,900 surveillance videos, 13 kinds of crime and accident, I3D features in ten crops.

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
        _parse_ucf_annotation,
        "Arson/Arson022_x264.mp4 8640 Arson 3500 4000 -1 -1",
    )


def _parse_ucf_annotation(fields: list[str]) -> tuple[str, FrameLabels]:
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


_VIOLENCE_LABELS = {
    "B1": "fighting",
    "B2": "shooting",
    "B4": "riot",
    "B5": "abuse",
    "B6": "car accident",
    "G": "explosion",
}
_NAME = re.compile(r"(.+?)__#(.+)_label_(A|(?:B[12456]|G)(?:-(?:B[12456]|G|0))*)")
_SPAN = re.compile(r"(\d+)-(\d+)-(\d+)_(\d+)-(\d+)-(\d+)")


@dataclass(frozen=True)
class XdName:
    """The parts of a clip's name."""

    full: str
    work: str  # The film, or the id of the web video.
    clip: str  # Which part of the work it is.
    letters: tuple[str, ...]  # Kinds of violence, the most important first; empty: normal.

    @property
    def label(self) -> str:
        """The most important kind of violence, by letter and in words, or ``normal``."""
        return f"{self.letters[0]} {_VIOLENCE_LABELS[self.letters[0]]}" if self.letters else NORMAL

    @property
    def span(self) -> tuple[int, int] | None:
        """Start and end in seconds of the work, if the name has them."""
        found = _SPAN.fullmatch(self.clip)
        if found is None:
            return None
        h0, m0, s0, h1, m1, s1 = map(int, found.groups())
        return 3600 * h0 + 60 * m0 + s0, 3600 * h1 + 60 * m1 + s1


def parse_name(root: Path, name: str) -> XdName:
    """Parse a clip's name; the zeros that fill a label up to three letters may be missing."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise InputError(f"{root}: {name} is no video of XD-Violence: it has no _label_ at its end")
    letters = () if found[3] == "A" else tuple(x for x in found[3].split("-") if x != "0")
    return XdName(name, found[1], found[2], letters)


def _listed_twice(names: Sequence[XdName]) -> list[str]:
    by_clip = defaultdict(list)
    for name in names:
        by_clip[name.work, name.clip].append(name)
    return [
        f"{same[0].work}__#{same[0].clip} is listed {len(same)} times, as "
        f"{' and '.join(name.label for name in same)}: all are kept, as published"
        for same in by_clip.values()
        if len(same) > 1
    ]


def _shared_works(train: Sequence[XdName], test: Sequence[XdName]) -> list[str]:
    works = {name.work for name in train}
    shared = sum(name.work in works for name in test)
    if not shared:
        return []
    return [
        f"{shared} of {len(test)} test videos are from films or web videos that training videos "
        "are from too: figures say little of other films"
    ]


def _overlaps(train: Sequence[XdName], test: Sequence[XdName]) -> list[str]:
    spans = defaultdict(list)
    for name in train:
        if name.span is not None:
            spans[name.work].append(name.span)
    overlaps = [
        (min(end, stop) - max(start, begin), name)
        for name in test
        if name.span is not None
        for (start, end), (begin, stop) in ((name.span, other) for other in spans[name.work])
        if min(end, stop) > max(start, begin)
    ]
    if not overlaps:
        return []
    longest, name = max(overlaps, key=lambda pair: pair[0])
    return [
        f"{len(overlaps)} test videos show up to {longest} s of a training video "
        f"({name.full}): kept"
    ]


def read_xd_violence(root: Path) -> Dataset:
    """Read XD-Violence from a folder with its lists.

    4,754 clips of films and web videos with sound, six kinds of violence, I3D features in five
    crops and VGGish features of the sound. The name of a clip, such as
    ``Bad.Boys.1995__#01-11-55_01-12-40_label_G-B2-B6``, states its film, its time span and its
    labels.

    The label is the first letter at the end of a name, which its authors call the most important;
    ``A`` is normal. A group is the film or web video that a clip was cut from. ``frames`` of a test
    video is 16 times its number of snippets, as in ``test_frame_labels.json`` and published
    results. Irregular clips are kept, as published; ``notes`` lists them.
    """

    def label_and_group(name: str) -> tuple[str, str]:
        parsed = parse_name(root, name)
        return parsed.label, parsed.work

    dataset = read_list_dataset(
        root,
        "xd_violence",
        PublishedLayout(crops=5, fps=24.0, audio_dim=128),
        "XD",
        label_and_group,
        _parse_xd_annotation,
        "NAME 0 1517 1970 3038",
    )
    train = [parse_name(root, v.path.stem) for v in dataset.select_part("train").videos]
    test = [parse_name(root, v.path.stem) for v in dataset.select_part("test").videos]
    notes = _listed_twice([*train, *test]) + _shared_works(train, test) + _overlaps(train, test)
    return replace(dataset, notes=(*dataset.notes, *notes))


def _parse_xd_annotation(fields: list[str]) -> tuple[str, FrameLabels]:
    name, *ends = fields
    pairs = zip(map(int, ends[::2]), map(int, ends[1::2]), strict=True)
    return name.removesuffix(".mp4"), FrameLabels(tuple(pairs))


XD_VIOLENCE = PublishedDataset(
    name="xd_violence",
    title="XD-Violence, as I3D features in five crops, and VGGish features of the sound",
    source="Wu et al., ECCV 2020; lists of UR-DMU (Zhou et al., AAAI 2023)",
    files="XD_Train.list, XD_Test.list, XD_Annotation.txt, test_frame_labels.json; "
    "optionally glance.csv",
    group="the film or web video that a clip was cut from",
    read=read_xd_violence,
    videos=4754,
    abnormal=2405,
    labelled_frames=2_330_384,
    anomalous_frames=537_805,
    note="labelled frames are 16 for each snippet; of several labels the first counts",
)


def read_shanghaitech_tracks(root: Path) -> Dataset:
    """Read the data set from a folder with lists, ``videos.csv``, frame labels and arrays.

    The published weakly supervised split of ShanghaiTech Campus: Zhong et al., CVPR 2019; frame
    labels: Tian et al., ICCV 2021 (RTFM). Features are arrays (T, 128) of the boxes of tracked
    persons, a row for 16 frames; results on them do not compare with results on I3D features. All
    abnormal videos are short, so that the length alone gives the label away: train on windows of
    one length.

    A video's path is its array. Its number of frames is that of ``videos.csv``; published labels
    count 16 for each snippet. A group is a camera, the first number of a name.
    """
    table = root / "videos.csv"
    columns = ("video", "split", "label", "frames")
    rows = {row["video"]: row for row in read_rows(table, columns)}
    labels = read_frame_labels(root / LABELS_FILE)
    videos: list[LabelledVideo] = []
    for part in ("train", "test"):
        for line in read_lines(root / f"{part}.list"):
            path = root / line
            if path.stem not in rows:
                raise InputError(f"{table}: no row for {path.stem}, which {part}.list names")
            videos.append(_make_track_video(path, rows[path.stem], labels.get(path.stem)))
    if missing := [video.path for video in videos if not is_file(video.path)]:
        raise InputError(f"{missing[0]}: no such file ({len(missing)} of {len(videos)} missing)")
    return Dataset("shanghaitech_tracks", tuple(videos))


def _make_track_video(path: Path, row: CsvRow, labels: FrameLabels | None) -> LabelledVideo:
    abnormal, frames = row["label"] != NORMAL, row["frames"]
    if not re.fullmatch(r"[1-9][0-9]{0,7}", frames):
        raise InputError(f"videos.csv: line {row.line}: {frames!r:.40} is no number of frames")
    return LabelledVideo(
        path=path,
        abnormal=abnormal,
        label="abnormal" if abnormal else NORMAL,
        group=f"camera {path.stem.split('_')[0]}",
        truth=labels.truth if labels else None,
        part="test" if row["split"] == "test" else "train",
        frames=int(frames),
        fps=24.0,  # Of the videos; the arrays do not state it.
    )


SHANGHAITECH_TRACKS = PublishedDataset(
    name="shanghaitech_tracks",
    title="ShanghaiTech Campus, weakly supervised split, as features of object tracks",
    source="Luo et al., ICCV 2017; split of Zhong et al., CVPR 2019; for research",
    files="train.list, test.list, videos.csv, test_frame_labels.json, features/",
    group="the camera, 13 of them; the published split has each in both parts",
    read=read_shanghaitech_tracks,
    videos=437,
    abnormal=107,
    labelled_frames=141_870,
    anomalous_frames=7962,
    note="published labels count 16 frames a snippet: 143,680 frames, 8,028 anomalous; "
    "the length alone tells a label, train on windows of one length",
)
