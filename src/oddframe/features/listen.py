"""The sound of a video -> one feature a snippet, its window ending where the snippet ends."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from oddframe.backbones.base import Ear
from oddframe.timeline import Timebase
from oddframe.video.frame import FrameSource
from oddframe.video.sound import Heard, Samples, sound_windows

_BATCH = 16
# Sound that ends so much before or after the picture is worth a word: encoders pad by less.
_TOLD_S = 0.5


def listen(
    source: FrameSource, timebase: Timebase, ear: Ear
) -> tuple[NDArray[np.float32], str | None]:
    """Features (T, D) of a video's sound, and what a reader should know about it.

    Where there is no sound, or it ends before the picture, there is silence; what comes after the
    picture is not listened to. No window looks ahead of its snippet.

    Raises:
        InputError: the file cannot be opened.
    """
    heard = Heard(False, 0.0)

    def windows() -> Iterator[Samples]:
        nonlocal heard
        ends_s = timebase.snippet_times()[:, 1]
        heard = yield from source.run(sound_windows, ear.rate, ends_s, ear.window)

    listened = windows()
    rows: list[NDArray[np.float32]] = []
    while batch := list(islice(listened, _BATCH)):
        rows.append(_features(np.stack(batch), ear))
    return np.concatenate(rows), _told(heard, timebase)


def _features(windows: NDArray[np.float32], ear: Ear) -> NDArray[np.float32]:
    """(N, samples) -> (N, D); silence, of which there is often much, is worked out once."""
    quiet = ~windows.any(axis=1)
    chosen = np.flatnonzero(~quiet)
    if quiet.any():
        chosen = np.append(chosen, quiet.argmax())
    made: NDArray[np.float32] = ear.hear(windows[chosen])
    which = np.cumsum(~quiet) - 1
    which[quiet] = len(made) - 1
    return np.asarray(made[which])


def _told(heard: Heard, timebase: Timebase) -> str | None:
    if not heard.there:
        return "no sound: silence in its place"
    short_s = timebase.end_s - heard.end_s
    if short_s > _TOLD_S:
        return f"the sound ends {short_s:.1f} s before the picture: silence from there on"
    if short_s < -_TOLD_S:
        return "the sound goes on after the picture: the rest is not listened to"
    return None
