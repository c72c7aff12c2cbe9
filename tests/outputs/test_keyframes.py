from __future__ import annotations

from pathlib import Path

import numpy as np

from oddframe.outputs.highlights import KeyFrameCollector
from oddframe.video.frame import Frame
from oddframe.video.source import open_source


def level(value: int) -> np.typing.NDArray[np.uint8]:
    return np.full((100, 200, 3), value, dtype=np.uint8)


def test_each_instant_gets_the_frame_on_the_screen() -> None:
    wanted = [-1.0, 0.0, 0.39, 0.4, 0.41, 99.0]
    catcher = KeyFrameCollector(wanted, 50)
    for i in range(10):
        catcher.add(Frame(level(i), i / 10))
    catcher.close()
    assert catcher.done
    assert [int(catcher.images[time].mean()) for time in wanted] == [0, 0, 3, 4, 4, 9]
    assert all(image.shape == (24, 50, 3) for image in catcher.images.values())


def test_only_frames_that_are_caught_are_made() -> None:
    made = []

    def make(i: int) -> np.typing.NDArray[np.uint8]:
        made.append(i)
        return level(i)

    catcher = KeyFrameCollector([0.35], 50)
    for i in range(10):
        catcher.add(Frame(lambda i=i: make(i), i / 10))
        if catcher.done:
            break
    assert made == [3]
    assert i == 4


def test_frames_of_a_real_clip(clip: Path, clip_frames: list[np.typing.NDArray[np.uint8]]) -> None:
    catcher = KeyFrameCollector([0.4, 1.96], 352)
    for frame in open_source(clip).frames():
        catcher.add(frame)
    catcher.close()
    for time, number in ((0.4, 10), (1.96, 49)):
        difference = catcher.images[time].astype(int) - clip_frames[number]
        assert np.abs(difference).mean() < 3
