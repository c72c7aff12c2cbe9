"""Short clips, one after the other, as one untrimmed video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oddframe.files import atomic, make_folder
from oddframe.outputs.encode import Encoder, VideoWriter, first_available
from oddframe.outputs.picture import fit
from oddframe.video.source import open_source

_ENCODERS = (
    Encoder("libx264", "mp4", (("crf", "20"), ("preset", "veryfast"))),
    Encoder("mpeg4", "mp4", (("qscale", "3"),)),
)


@dataclass(frozen=True)
class Clip:
    """A clip, and whether what it shows counts as true event."""

    path: Path
    abnormal: bool


def join(
    clips: Sequence[Clip], out: Path, size: tuple[int, int]
) -> tuple[tuple[float, float], ...]:
    """Write ``clips`` as one H.264 video of ``size`` (width, height), each at its own frame rate.

    Returns:
        (start, end) in seconds of each run of abnormal clips.

    Raises:
        InputError: a clip cannot be decoded.
        OddframeError: ``out`` cannot be written.
    """
    make_folder(out.parent)
    truth: list[tuple[float, float]] = []
    now = 0.0
    with atomic(out) as part:
        rate = max(open_source(clip.path).fps for clip in clips)
        writer = VideoWriter(part, first_available(_ENCODERS), *size, rate)
        try:
            for clip in clips:
                start, first_s = now, None
                source = open_source(clip.path)
                for frame in source.frames():
                    first_s = frame.time_s if first_s is None else first_s
                    now = start + frame.time_s - first_s
                    writer.add(fit(frame.image, *size), now)
                now += 1 / source.fps
                if clip.abnormal:
                    if truth and truth[-1][1] == start:
                        truth[-1] = (truth[-1][0], now)
                    else:
                        truth.append((start, now))
        except BaseException:
            writer.close(whole=False)
            raise
        writer.close()
    return tuple(truth)
