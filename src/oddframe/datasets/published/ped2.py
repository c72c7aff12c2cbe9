"""UCSD Ped2: one camera above a walkway, 28 clips; what is odd are bicycles, skaters and carts.

Mahadevan, Li, Bhalodia, Vasconcelos, "Anomaly Detection in Crowded Scenes" (CVPR 2010). Its own
split has normal clips for training and labels every frame of the others. With weak labels (Zhong et
al., CVPR 2019) all 28 clips are drawn from, so that protocol leaves the split aside.
"""

from __future__ import annotations

from pathlib import Path

from oddframe._utils.files import is_dir
from oddframe.datasets.labelled import NORMAL, Dataset, GroundTruth, LabelledVideo
from oddframe.datasets.published.base import PublishedDataset
from oddframe.datasets.published.lists import read_frame_labels
from oddframe.errors import InputError
from oddframe.video.discover import find_videos

_LABELS_FILE = "test_frame_labels.json"


def read_ped2(root: Path) -> Dataset:
    """The data set from its folder: ``training/``, ``testing/`` and ``test_frame_labels.json``.

    Clips are files or folders of frames, called as in the labels. Each is a group of its own.

    Raises:
        InputError: the labels or a clip is missing.
    """
    labels = read_frame_labels(root / _LABELS_FILE)
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
        abnormal = bool(found.truth.intervals)
        label, group = "abnormal" if abnormal else NORMAL, f"testing/{name}"
        path = testing[name]
        videos.append(
            LabelledVideo(path, abnormal, label, group, found.truth, "test", found.frames)
        )
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
    folder="training/ and testing/ with 01.mp4 ... (or folders of frames), test_frame_labels.json",
    group="each clip; all of them show the same place",
    open=read_ped2,
    videos=28,
    abnormal=12,
    labelled_frames=2010,
    anomalous_frames=1624,
    note="its own split trains on normal clips alone; with weak labels, draw from all 28",
)
