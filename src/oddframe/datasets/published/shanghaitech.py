"""ShanghaiTech Campus, the published weakly supervised split, as features of object tracks.

Split: Zhong et al., CVPR 2019; frame labels: Tian et al., ICCV 2021 (RTFM). Features are arrays
(T, 128) of the boxes of tracked persons, a row for 16 frames; results on them do not compare with
results on I3D features. All abnormal videos are short, so that the length alone gives the label
away: train on windows of one length.
"""

from __future__ import annotations

import re
from pathlib import Path

from oddframe._utils.files import is_file
from oddframe.datasets.labelled import NORMAL, Dataset, LabelledVideo
from oddframe.datasets.published.lists import (
    LABELS_FILE,
    FrameLabels,
    read_frame_labels,
    read_lines,
)
from oddframe.datasets.read import CsvRow, read_rows
from oddframe.datasets.registry import PublishedDataset
from oddframe.errors import InputError


def read_shanghaitech_tracks(root: Path) -> Dataset:
    """Read the data set from a folder with lists, ``videos.csv``, frame labels and arrays.

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
            videos.append(_make_video(path, rows[path.stem], labels.get(path.stem)))
    if missing := [video.path for video in videos if not is_file(video.path)]:
        raise InputError(f"{missing[0]}: no such file ({len(missing)} of {len(videos)} missing)")
    return Dataset("shanghaitech_tracks", tuple(videos))


def _make_video(path: Path, row: CsvRow, labels: FrameLabels | None) -> LabelledVideo:
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
