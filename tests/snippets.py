"""Reads the snippets of a video for one preprocessing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from oddframe.timeline import Timebase
from oddframe.video.frame import FrameSource
from oddframe.video.mask import Mask
from oddframe.video.snippets.preprocessing import Preprocessing
from oddframe.video.snippets.reader import MultiSnippetReader
from tests.conftest import Image


class SnippetReader:
    def __init__(
        self, source: FrameSource, preprocessing: Preprocessing, mask: Mask | None = None
    ) -> None:
        self.source = source
        self._reading = MultiSnippetReader(source, [preprocessing], mask)

    @property
    def expected_snippets(self) -> int | None:
        return self._reading.expected_snippets

    @property
    def timebase(self) -> Timebase:
        return self._reading.timebases[0]

    def __iter__(self) -> Iterator[Image]:
        with closing(iter(self._reading)) as reading:
            for _, snippet in reading:
                yield snippet
