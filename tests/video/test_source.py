from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from oddframe.errors import InputError, UsageError
from oddframe.video.decoding.isolated import open_source


def test_arrays_and_iterators() -> None:
    video = np.random.default_rng(0).integers(0, 256, (6, 20, 30, 3), np.uint8)
    for source in (open_source(video, fps=5), open_source(iter(video), fps=5)):
        frames = list(source.frames())
        assert np.array_equal(np.stack([frame.image for frame in frames]), video)
        assert [frame.time_s for frame in frames] == [i / 5 for i in range(6)]
    assert open_source(video).expected_frames == 6
    assert open_source(iter(video)).expected_frames is None


def test_an_iterator_can_be_read_only_once() -> None:
    source = open_source(iter(np.zeros((2, 8, 8, 3), np.uint8)))
    list(source.frames())
    with pytest.raises(InputError, match="only once"):
        list(source.frames())


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 8, 8), np.uint8),
        np.zeros((4, 3, 8, 8), np.uint8),
        np.zeros((4, 8, 8, 3), np.float32),
        np.zeros((4, 0, 8, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(wrong) -> None:
    with pytest.raises(UsageError, match="not"):
        open_source(wrong)
    with pytest.raises(UsageError, match="a frame is"):
        list(open_source(iter(wrong)).frames())


def test_an_array_without_frames() -> None:
    with pytest.raises(InputError, match="no frames"):
        open_source(np.zeros((0, 8, 8, 3), np.uint8))


def test_an_invalid_frame_rate_is_refused(tmp_path: Path, clip: Path) -> None:
    with pytest.raises(UsageError, match="positive"):
        open_source(np.zeros((1, 8, 8, 3), np.uint8), fps=0)
    with pytest.raises(UsageError, match="its own times"):
        open_source(clip, fps=25)
