"""Published frame labels: a JSON file with the frames and the anomalous intervals of each video."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from oddframe.datasets.labelled import Truth
from oddframe.errors import InputError


@dataclass(frozen=True)
class FrameLabels:
    """Of one video: how many frames are labelled, and which of them are anomalous."""

    frames: int
    truth: Truth


def read_frame_labels(path: Path) -> dict[str, FrameLabels]:
    """Frame labels by video from ``{"01": {"frames": 180, "anomalous": [[60, 180]]}, ...}``.

    Intervals are half-open and count frames from 0.

    Raises:
        InputError: no such file, or something else stands in it.
    """
    try:
        videos = json.loads(path.read_bytes())
        return {
            name: FrameLabels(
                int(entry["frames"]),
                Truth(tuple((int(start), int(end)) for start, end in entry["anomalous"])),
            )
            for name, entry in videos.items()
        }
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            f'{path}: not frame labels; they look like {{"01": {{"frames": 180, "anomalous": '
            "[[60, 180]]}}"
        ) from None
