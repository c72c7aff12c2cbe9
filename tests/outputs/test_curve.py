"""The score curve as a PNG."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from oddframe.detector import VideoResult
from oddframe.outputs import drawing as picture
from oddframe.outputs.curve import write_png
from oddframe.outputs.drawing import select_highlights

MakeResult = Callable[..., VideoResult]


def pixels(result: VideoResult, path: Path, with_frames: bool = True) -> NDArray[np.uint8]:
    grey = np.full((72, 128, 3), 90, dtype=np.uint8)
    shown = dict.fromkeys(select_highlights(result), grey) if with_frames else None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_png(result, path, shown)
    return np.asarray(Image.open(path).convert("RGB"))


def like(
    image: NDArray[np.uint8], colour: tuple[int, int, int], slack: int = 12
) -> NDArray[np.bool_]:
    return (np.abs(image.astype(int) - colour) <= slack).all(axis=2)


def test_true_intervals_are_pink_and_events_red(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result(1000, 25.0, [(10.0, 20.0)], truth=[(10.0, 20.0)])
    image = pixels(result, tmp_path / "a.png")
    assert image.shape[1] == 1600
    assert image.shape[0] > 800
    columns = np.flatnonzero(
        like(image, picture.PINK_RGB, 16)[: -image.shape[0] // 5].sum(axis=0) > 20
    )
    plot = 1600 * (10 - 0.72 - 0.30) / 10
    shares = (columns - 1600 * 0.072) / plot
    assert abs(shares.min() - 0.25) < 0.02
    assert abs(shares.max() - 0.5) < 0.02
    assert like(image, picture.RED_RGB).any()
    assert like(image, picture.BLUE_RGB).any()
    assert like(image, picture.GREEN_RGB).any()


def test_without_truth_and_events_there_is_neither_pink_nor_red(
    make_result: MakeResult, tmp_path: Path
) -> None:
    image = pixels(make_result(1000, 25.0), tmp_path / "a.png")
    assert not like(image, picture.PINK_RGB).any()
    assert not like(image, picture.RED_RGB).any()


def test_without_key_frames_the_picture_is_lower(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result(100, 25.0)
    with_frames = pixels(result, tmp_path / "a.png")
    without = pixels(result, tmp_path / "b.png", with_frames=False)
    assert without.shape[1] == with_frames.shape[1]
    assert without.shape[0] < with_frames.shape[0]


@pytest.mark.parametrize("n_frames", [1, 15, 900_000])
def test_one_frame_and_ten_hours_can_be_drawn(
    make_result: MakeResult, tmp_path: Path, n_frames: int
) -> None:
    result = make_result(n_frames, 25.0, [(100.0, 140.0)], truth=[(100.0, 140.0)])
    image = pixels(result, tmp_path / "a.png")
    assert like(image, picture.BLUE_RGB).any()


@pytest.mark.parametrize("name", ["$x_1^$.mp4", "监控 摄像.mp4", "a" * 300 + ".mp4", "tab\tb.mp4"])
def test_any_name_can_be_a_title(make_result: MakeResult, tmp_path: Path, name: str) -> None:
    pixels(make_result(100, 25.0, video=name), tmp_path / "a.png")
