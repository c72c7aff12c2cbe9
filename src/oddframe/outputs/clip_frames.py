"""Key frames of a test video that was joined from clips, or is one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from oddframe.errors import InputError
from oddframe.experiments.splice import Spliced
from oddframe.features.arrays import is_features
from oddframe.files import exists, is_dir
from oddframe.outputs.keyframes import KeyFrames
from oddframe.outputs.moments import Moment
from oddframe.outputs.picture import Picture
from oddframe.video.discover import VIDEO_SUFFIXES
from oddframe.video.source import open_source

_LONGEST = 480


def clip_frames(
    video: Spliced, moments: Sequence[Moment], folder: Path | None = None
) -> dict[Moment, Picture]:
    """The frame at each of these moments, where its clip can be read.

    Args:
        video: Clips whose names are paths.
        moments: In seconds of the joined video.
        folder: Where the videos lie of a data set of features, by the name of the features.
    """
    wanted: dict[int, list[tuple[float, Moment]]] = defaultdict(list)
    starts = video.starts_s
    for moment in moments:
        number = int(np.searchsorted(starts, moment.time_s, side="right")) - 1
        number = min(max(number, 0), len(video.clips) - 1)
        clip = video.clips[number]
        inside = moment.time_s - starts[number] + clip.first_frame / clip.timebase.fps
        wanted[number].append((inside + float(clip.timebase.frame_times[0]), moment))
    shown: dict[Moment, Picture] = {}
    for number, each in wanted.items():
        path = _file(Path(video.clips[number].name), folder)
        if path is not None:
            images = _images(path, [time for time, _ in each], video.clips[number].timebase.fps)
            shown |= {moment: images[time] for time, moment in each if time in images}
    return shown


def _file(path: Path, folder: Path | None) -> Path | None:
    if exists(path) and not is_features(path):
        return path
    if folder is None:
        return None
    found = (folder / f"{path.stem}{suffix}" for suffix in ("", *sorted(VIDEO_SUFFIXES)))
    return next((each for each in found if exists(each)), None)


def _images(path: Path, seconds: Sequence[float], fps: float) -> dict[float, Picture]:
    catcher = KeyFrames(seconds, _LONGEST)
    try:
        for frame in open_source(path, fps=fps if is_dir(path) else None).frames():
            if catcher.done:
                break
            catcher.add(frame)
    except InputError:  # A figure does without.
        catcher.close(whole=False)
        return catcher.images
    catcher.close()
    return catcher.images
