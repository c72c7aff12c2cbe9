"""UCSD Ped2: 28 clips of one camera above a walkway; anomalies are bicycles, skaters and carts.

Mahadevan, Li, Bhalodia, Vasconcelos, "Anomaly Detection in Crowded Scenes" (CVPR 2010). Its own
split trains on normal clips and labels every frame of the others. The weakly supervised protocol
(Zhong et al., CVPR 2019) ignores that split and draws from all 28 clips.
"""

from __future__ import annotations

from pathlib import Path

from oddframe._utils.files import is_dir
from oddframe.datasets.labelled import NORMAL, Dataset, GroundTruth, LabelledVideo
from oddframe.datasets.published.base import PublishedDataset
from oddframe.datasets.published.lists import LABELS_FILE, read_frame_labels
from oddframe.errors import InputError
from oddframe.video.discover import find_videos


def read_ped2(root: Path) -> Dataset:
    """Read Ped2 from a folder with ``training/``, ``testing/`` and ``test_frame_labels.json``.

    A clip is a file or a folder of frames, named as in the labels. Each is a group of its own.

    Raises:
        InputError: the labels or a clip is missing.
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
    for name, frame_labels in labels.items():
        abnormal = bool(frame_labels.truth.intervals)
        label, group = "abnormal" if abnormal else NORMAL, f"testing/{name}"
        truth, frames = frame_labels.truth, frame_labels.frames
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
