"""What gives a label away without a look at the picture: size, frame rate, length, sound.

A detector that is trained on such data may learn the file instead of what happens in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oddframe.datasets.folds import grouped_folds
from oddframe.datasets.labelled import Dataset
from oddframe.errors import UsageError
from oddframe.metrics import roc_auc
from oddframe.video.probe import VideoInfo

# A property that tells labels apart this well by itself is worth a line.
SUSPICIOUS = 0.65
_FOLDS = 5

_PROPERTIES: dict[str, tuple[Callable[[VideoInfo], float], str]] = {
    "resolution": (
        lambda info: float(info.width * info.height),
        "bring all videos to the size of the smallest",
    ),
    "frame rate": (lambda info: info.fps, "set features.rate, so that all are read at one rate"),
    "length": (lambda info: info.duration_s or 0.0, "cut or join the videos to one length"),
    "sound": (lambda info: float(info.has_audio), "leave sound out, as oddframe's I3D does"),
}


@dataclass(frozen=True)
class Leak:
    """A property of the files that tells the label.

    Attributes:
        name: The property, in words.
        auc: How well it does alone on groups that its direction was not found on, in [0, 1].
        advice: What to do about it.
    """

    name: str
    auc: float
    advice: str

    def __str__(self) -> str:
        return (
            f"the {self.name} alone tells normal from abnormal with AUC {100 * self.auc:.0f} "
            f"(50: not at all): {self.advice}"
        )


def leaks(dataset: Dataset, infos: Mapping[Path, VideoInfo]) -> list[Leak]:
    """The properties that tell the label by themselves, the worst first.

    Whether more or less of a property means abnormal is found on some groups and tried on the
    others. Nothing is found where there are too few groups of both classes to do so, or one class.

    Args:
        dataset: Videos of both classes.
        infos: What their files say, by path; videos without are left aside.
    """
    if not dataset.classes:
        return []
    known = dataset.subset(i for i, v in enumerate(dataset.videos) if v.path in infos)
    try:
        folds = grouped_folds(known, min(_FOLDS, len(known.groups)))
    except UsageError:
        return []
    labels = known.abnormal
    if labels.all() or not labels.any():
        return []
    found = []
    for name, (read, advice) in _PROPERTIES.items():
        values = np.array([read(infos[video.path]) for video in known.videos])
        aucs = []
        for fold in folds:
            direction = roc_auc(labels[fold.train], values[fold.train]) - 0.5
            signed = values[fold.test] if direction >= 0 else -values[fold.test]
            aucs.append(roc_auc(labels[fold.test], signed))
        auc = float(np.nanmean(aucs))
        if auc > SUSPICIOUS:
            found.append(Leak(name, auc, advice))
    return sorted(found, key=lambda leak: -leak.auc)
