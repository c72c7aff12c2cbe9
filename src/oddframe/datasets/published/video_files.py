"""The published data sets that are folders of video files: Ped2, UR Fall, Surveillance Fight."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from oddframe._utils.files import is_dir
from oddframe.datasets.labelled import NORMAL, Dataset, GroundTruth, LabelledVideo
from oddframe.datasets.published.lists import LABELS_FILE, read_frame_labels
from oddframe.datasets.read import survey_table
from oddframe.datasets.registry import PublishedDataset
from oddframe.errors import InputError
from oddframe.video.discover import find_videos


def read_ped2(root: Path) -> Dataset:
    """Read UCSD Ped2 from a folder with ``training/``, ``testing/``, ``test_frame_labels.json``.

    28 clips of one camera above a walkway; anomalies are bicycles, skaters and carts (Mahadevan,
    Li, Bhalodia, Vasconcelos, "Anomaly Detection in Crowded Scenes", CVPR 2010). Its own split
    trains on normal clips and labels every frame of the others. The weakly supervised protocol
    (Zhong et al., CVPR 2019) ignores that split and draws from all 28 clips.

    A clip is a file or a folder of frames, named as in the labels. Each is a group of its own.
    """
    labels = read_frame_labels(root / LABELS_FILE)
    training, testing = _clips(root / "training"), _clips(root / "testing")
    if missing := sorted(set(labels) - set(testing)):
        raise InputError(
            f"{root / 'testing'}: {len(missing)} of {len(labels)} clips are missing: "
            f"{', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}"
        )
    videos = [
        LabelledVideo(path, False, NORMAL, f"training/{name}", GroundTruth(()), "train")
        for name, path in training.items()
    ]
    for name, found in labels.items():
        abnormal, group = bool(found.intervals), f"testing/{name}"
        label = "abnormal" if abnormal else NORMAL
        truth, frames = found.truth, found.frames
        videos.append(LabelledVideo(testing[name], abnormal, label, group, truth, "test", frames))
    return Dataset("ped2", tuple(videos))


def _clips(folder: Path) -> dict[str, Path]:
    if not is_dir(folder):
        raise InputError(f"{folder}: no such folder; Ped2 has its clips in training/ and testing/")
    found = [path for path in find_videos([str(folder)]) if path != folder]
    return {path.name if is_dir(path) else path.stem: path for path in found}


PED2 = PublishedDataset(
    name="ped2",
    title="UCSD Ped2, a walkway seen by one camera",
    source="Mahadevan et al., CVPR 2010; states no licence, for research",
    files="training/ and testing/ with 01.mp4 ... (or folders of frames), test_frame_labels.json",
    group="each clip; all of them show the same place",
    read=read_ped2,
    videos=28,
    abnormal=12,
    labelled_frames=2010,
    anomalous_frames=1624,
    note="its own split trains on normal clips alone; with weak labels, draw from all 28",
)


def read_ur_fall(root: Path) -> Dataset:
    """Read UR Fall from a folder with ``videos.csv`` (path, label), ``frame_labels.json``, videos.

    Camera 0 of UR Fall Detection: 24 videos with one fall each, 32 of daily living, few people in
    few rooms (Kwolek, Kępski, "Human fall detection on embedded platform using depth maps and
    wireless accelerometer", 2014). Falls are shorter than other videos, which gives the label
    away: cut videos to one length before results on them mean anything. Each video is a group of
    its own.
    """
    labels_file = root / "frame_labels.json"
    labels = read_frame_labels(labels_file)
    table = survey_table(root / "videos.csv", "ur_fall").require_valid()

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


def read_surveillance_fight(root: Path) -> Dataset:
    """Read Surveillance Fight from a folder with ``clips.csv`` (path, label, source) and clips.

    264 clips of about two seconds from 37 recordings, fights or not (Aktı, Tataroğlu, Ekenel,
    "Vision-based Fight Detection from Surveillance Cameras", IPTA 2019). Clips of one recording
    look alike, so the recording is the group of a clip: split by group. Resolution, frame rate and
    sound of the files give labels away: resample clips to one size and rate, and leave sound out.
    """
    return survey_table(root / "clips.csv", "surveillance_fight").require_valid()


SURVEILLANCE_FIGHT = PublishedDataset(
    name="surveillance_fight",
    title="Surveillance Fight, clips of two seconds",
    source="Aktı, Tataroğlu, Ekenel, IPTA 2019; MIT",  # noqa: RUF001 - their names.
    files="clips.csv (path, label, source), fight/ and noFight/ with the clips",
    group="the recording that a clip was cut from, 37 of them",
    read=read_surveillance_fight,
    videos=264,
    abnormal=130,
    note="file properties tell some of the labels: one size and rate, no sound",
)
