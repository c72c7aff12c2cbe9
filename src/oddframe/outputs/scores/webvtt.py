"""Events as WebVTT cues, which players show as subtitles or chapters."""

from __future__ import annotations

from pathlib import Path

from oddframe._utils.files import write_text
from oddframe.detector import VideoResult


def write_vtt(result: VideoResult, path: Path) -> None:
    """Write a cue for each event: ``Event 1, score 0.93``. Without events, write a note.

    Raises:
        OddframeError: the file cannot be written.
    """
    blocks = ["WEBVTT"]
    for number, event in enumerate(result.events, start=1):
        start = round(event.start_s * 1000)
        end = max(round(event.end_s * 1000), start + 1)  # A cue without length is not valid.
        blocks.append(
            f"{number}\n{_stamp(start)} --> {_stamp(end)}\nEvent {number}, score {event.score:.2f}"
        )
    if not result.events:
        blocks.append("NOTE No events found.")
    write_text(path, "\n\n".join(blocks) + "\n")


def _stamp(milliseconds: int) -> str:
    seconds, milli = divmod(milliseconds, 1000)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02d}:{minute:02d}:{second:02d}.{milli:03d}"
