"""Published frame labels: a JSON file with the frames and the anomalous intervals of each video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oddframe.datasets.labelled import Truth
from oddframe.errors import InputError
from oddframe.files import read_bytes
from oddframe.headers import parse_json

_MOST_BYTES = 64 * 2**20
_MOST_FRAMES = 10**8


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
        videos = parse_json(read_bytes(path, _MOST_BYTES))
        return {
            name: FrameLabels(
                _count(entry["frames"]),
                Truth(tuple((_count(start), _count(end)) for start, end in entry["anomalous"])),
            )
            for name, entry in videos.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            f'{path}: not frame labels; they look like {{"01": {{"frames": 180, "anomalous": '
            "[[60, 180]]}}"
        ) from None


def _count(value: Any) -> int:
    """A number of frames: 50 days at 25 a second are 10^8.

    Raises:
        ValueError: it is none, or more than that.
    """
    if type(value) is not int or not 0 <= value <= _MOST_FRAMES:
        raise ValueError(f"no number of frames: {value!r:.40}")
    return value
