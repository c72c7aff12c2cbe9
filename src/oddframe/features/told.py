"""A video and networks that tell, whenever they did something, who waits for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from oddframe.backbones.base import Backbone, Ear, Eye
from oddframe.features.watched import Beat
from oddframe.video.frame import Frame, FrameSource
from oddframe.video.preprocessing import Look

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class Told(FrameSource):
    """A video that tells of each frame that it gives."""

    def __init__(self, source: FrameSource, beat: Beat):
        self.name = source.name
        self._source, self._beat, self._frames = source, beat, 0

    @property
    def damaged_packets(self) -> int:  # type: ignore[override]
        """Of the video."""
        return self._source.damaged_packets

    @property
    def mended_frames(self) -> int:  # type: ignore[override]
        """Of the video."""
        return self._source.mended_frames

    @property
    def fps(self) -> float:
        """Of the video."""
        return self._source.fps

    @property
    def expected_frames(self) -> int | None:
        """Of the video."""
        return self._source.expected_frames

    @property
    def sound_file(self) -> Path | None:
        """Of the video."""
        return self._source.sound_file

    def looks(self, looks: Sequence[Look]) -> Iterator[tuple[Frame, ...]]:
        """Those of the video, see ``FrameSource.looks``."""
        for frames in self._source.looks(looks):
            self._frames += 1
            self.tell()
            yield frames

    def tell(self) -> None:
        """Something was done, whatever it was."""
        self._beat(self._frames, self._source.expected_frames)


def telling(backbone: Backbone, tell: Callable[[], None]) -> Backbone:
    """The same networks, which tell of each call: some take long, and none is a decoder's."""

    def told(call: Callable[[_In], _Out]) -> Callable[[_In], _Out]:
        def calling(batch: _In) -> _Out:
            tell()
            return call(batch)

        return calling

    eyes = tuple(Eye(told(eye.see), eye.batch) for eye in backbone.eyes)
    ears = tuple(Ear(told(ear.hear), ear.rate, ear.window) for ear in backbone.ears)
    return replace(backbone, eyes=eyes, ears=ears)
