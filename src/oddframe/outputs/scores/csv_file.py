"""Scores as CSV: a row for each frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oddframe._utils.files import write_text
from oddframe.detector import VideoResult

# Event times and frame times are rounded differently: they may differ by this (s).
_SLACK = 1e-6


def frames_in_events(result: VideoResult) -> NDArray[np.bool_]:
    """(n_frames,) whether each frame is shown during an event."""
    times = result.track.timebase.frame_times
    inside = np.zeros(len(times), dtype=np.bool_)
    for event in result.events:
        first, end = np.searchsorted(times, [event.start_s - _SLACK, event.end_s - _SLACK])
        inside[first:end] = True
    return inside


def write_csv(result: VideoResult, path: Path) -> None:
    """Write ``frame,time_s,score,event`` for every frame.

    ``frame`` counts from 0; ``time_s`` is when the frame is first shown, by the video's own time
    stamps; ``score`` is the mean score of the snippets that cover it; ``event`` is 1 during an
    event, else 0.

    Raises:
        OddframeError: the file cannot be written.
    """
    columns = zip(
        result.track.timebase.frame_times.tolist(),
        result.track.to_frames().tolist(),
        frames_in_events(result).tolist(),
        strict=True,
    )
    rows = (
        f"{i},{time:.6f},{score:.6f},{event:d}\n" for i, (time, score, event) in enumerate(columns)
    )
    write_text(path, "frame,time_s,score,event\n" + "".join(rows))
