"""Sampling pictures of a video without decoding all of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from oddframe.errors import InputError
from oddframe.video.decoding.probe import sample_pictures
from oddframe.video.decoding.reader import VideoFile
from tests.conftest import BAD_VIDEOS, ODD_VIDEOS, Image, encode
from tests.video.test_reader import turn

SIZE = (96, 72)


def rising(n: int) -> list[Image]:
    """Frames that get brighter by 2 levels each, with a dark corner."""
    frames = [np.full((144, 192, 3), 2 * i, np.uint8) for i in range(n)]
    for frame in frames:
        frame[:40, :60] = 0
    return frames


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
def test_key_frames_of_the_whole_video(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / name, rising(120), options={"preset": "ultrafast", "g": "10"})
    pictures = sample_pictures(path, SIZE)
    assert 5 <= len(pictures) <= 9
    assert all(picture.shape == (72, 96, 3) for picture in pictures)
    means = [float(picture[36:].mean()) for picture in pictures]
    assert means == sorted(means)
    assert means[0] < 25
    assert means[-1] > 170


def test_sampled_pictures_equal_those_of_the_reader(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", rising(60), options={"preset": "ultrafast", "g": "10"})
    turn(path, (0, 1, -1, 0))
    whole = [frame.image for frame in VideoFile(path).frames(SIZE)]
    for picture, expected in zip(sample_pictures(path, SIZE), whole[::10], strict=True):
        assert np.array_equal(picture, expected)


def test_with_few_key_frames_the_first_frames_are_sampled(
    clip: Path, clip_frames: list[Image]
) -> None:
    pictures = sample_pictures(clip, (352, 240))
    assert len(pictures) == 5
    for picture, expected in zip(pictures, clip_frames[::10], strict=True):
        assert np.array_equal(picture, expected)


def test_a_folder_of_frames_is_sampled_evenly(tmp_path: Path, clip_frames: list[Image]) -> None:
    for i, image in enumerate(clip_frames):
        cv2.imwrite(str(tmp_path / f"{i}.png"), image[:, :, ::-1])
    pictures = sample_pictures(tmp_path, (352, 240), count=3)
    assert [np.array_equal(p, clip_frames[i]) for p, i in zip(pictures, (0, 24, 49), strict=True)]
    (tmp_path / "24.png").write_bytes(b"no picture")
    assert len(sample_pictures(tmp_path, SIZE, count=3)) == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="no picture"):
        sample_pictures(empty, SIZE)


@pytest.mark.parametrize("kind", BAD_VIDEOS)
def test_unreadable_files_raise_an_error(bad_video: Callable[[str], Path], kind: str) -> None:
    with pytest.raises(InputError):
        sample_pictures(bad_video(kind), SIZE)


@pytest.mark.parametrize("kind", ODD_VIDEOS)
def test_damaged_files_give_the_readable_pictures(
    bad_video: Callable[[str], Path], kind: str
) -> None:
    pictures = sample_pictures(bad_video(kind), SIZE)
    assert 1 <= len(pictures) <= 25
    assert max(picture.std() for picture in pictures) > 10
