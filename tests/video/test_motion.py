from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oddframe.timeline import Box
from oddframe.video.snippets.motion import (
    SQUARE_SIDES,
    WHOLE,
    cut_box,
    find_motion,
    find_squares,
    max_motion_pixels,
)
from tests.conftest import Image

FRAMES = 8


def scene(height: int, width: int, seed: int = 0) -> Image:
    """A still scene with edges and texture, of mid brightness."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(70, 180, (max(2, height // 24), max(2, width // 24), 3), np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    # Without fine texture, what moves is mistaken for the scene, as if the camera shook.
    texture = cv2.resize(rng.normal(0, 12, (height // 2, width // 2)), (width, height))
    return np.clip(smooth + texture[..., None], 0, 255).astype(np.uint8)


def planted(
    height: int, width: int, across: float, down: float, size: float, seed: int = 0
) -> tuple[list[Image], Box]:
    """Frames in which a checkered object moves to and fro, and the rectangle that it stays in.

    ``across`` and ``down`` in 0..1 say where; ``size`` is a share of the short side.
    """
    side = max(4, round(size * min(height, width)))
    step = max(1, side // 6)
    room = 4 * step
    x0, y0 = round(across * (width - side - room)), round(down * (height - side))
    checks = np.kron(np.indices((4, 4)).sum(0) % 2, np.ones((side // 4 + 1,) * 2))[:side, :side]
    frames = []
    for number in range(FRAMES):
        frame = scene(height, width, seed)
        x = x0 + step * abs(number % 8 - 4)
        frame[y0 : y0 + side, x : x + side] = np.where(checks, 230, 20)[..., None]
        frames.append(frame)
    return frames, (x0 / width, y0 / height, (x0 + room + side) / width, (y0 + side) / height)


def side_of(box: Box, height: int, width: int) -> float:
    """The side of a square as a share of the short side."""
    assert (box[2] - box[0]) * width == pytest.approx((box[3] - box[1]) * height)
    return (box[2] - box[0]) * width / min(height, width)


def joined(one: list[Image], other: list[Image]) -> list[Image]:
    """The left half of one video beside the right half of another."""
    half = one[0].shape[1] // 2
    pairs = zip(one, other, strict=True)
    return [np.concatenate([a[:, :half], b[:, half:]], axis=1) for a, b in pairs]


SHAPES = st.sampled_from([(120, 160), (96, 96), (180, 320), (320, 180), (240, 960)])


@settings(deadline=None, max_examples=60)
@given(
    shape=SHAPES,
    across=st.floats(0, 1),
    down=st.floats(0, 1),
    size=st.floats(0.06, 0.14),
    seed=st.integers(0, 5),
)
def test_the_smallest_square_holds_a_small_moving_object(
    shape: tuple[int, int], across: float, down: float, size: float, seed: int
) -> None:
    frames, (left, top, right, bottom) = planted(*shape, across, down, size, seed)
    box = find_motion(frames)
    assert 0 <= box[0] < box[2] <= 1
    assert 0 <= box[1] < box[3] <= 1
    assert side_of(box, *shape) == pytest.approx(SQUARE_SIDES[0], abs=1 / min(shape))
    pixel = 2 / 96  # Of the map in which motion is found.
    assert box[0] <= left + pixel
    assert box[2] >= right - pixel
    assert box[1] <= top + pixel
    assert box[3] >= bottom - pixel


@settings(deadline=None, max_examples=40)
@given(shape=SHAPES, size=st.floats(0.05, 1.0), seed=st.integers(0, 1000))
def test_any_motion_gives_a_square_of_a_listed_size_inside_the_picture_or_the_whole(
    shape: tuple[int, int], size: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    frames = [scene(*shape, seed) for _ in range(4)]
    h, w = round(size * shape[0]), round(size * shape[1])
    y, x = rng.integers(0, shape[0] - h + 1), rng.integers(0, shape[1] - w + 1)
    for frame in frames:
        frame[y : y + h, x : x + w] = rng.integers(0, 256, (h, w, 3))
    box = find_motion(frames)
    assert box == find_motion(frames)
    if box != WHOLE:
        assert min(box) >= 0
        assert max(box) <= 1
        side = side_of(box, *shape)
        assert min(abs(side - share) for share in SQUARE_SIDES) <= 1 / min(shape)


@settings(deadline=None, max_examples=40)
@given(
    across=st.floats(0, 1),
    down=st.floats(0, 1),
    levels=st.lists(st.integers(-15, 15), min_size=FRAMES, max_size=FRAMES),
)
def test_brightness_that_flickers_everywhere_changes_nothing(
    across: float, down: float, levels: list[int]
) -> None:
    frames, _ = planted(120, 160, across, down, 0.12)
    flickering = [
        np.clip(frame.astype(int) + level, 0, 255).astype(np.uint8)
        for frame, level in zip(frames, levels, strict=True)
    ]
    assert find_motion(flickering) == pytest.approx(find_motion(frames), abs=2 / 96)


def test_contrast_that_changes_everywhere_is_no_motion() -> None:
    still = scene(120, 160).astype(float)
    frames = [(still * gain).astype(np.uint8) for gain in (1.0, 0.9, 0.8, 0.9, 1.1, 1.0)]
    assert find_motion(frames) == WHOLE
    moving, (left, _top, right, _bottom) = planted(120, 160, 0.9, 0.1, 0.12)
    gains = np.linspace(0.8, 1.1, FRAMES)
    dimmed = [(frame * gain).astype(np.uint8) for frame, gain in zip(moving, gains, strict=True)]
    box = find_motion(dimmed)
    assert box[0] <= left + 0.02
    assert right - 0.02 <= box[2]
    assert box[3] - box[1] < 0.4


# ``cv2.phaseCorrelate`` changes the grey frames of the first two in place.
@pytest.mark.parametrize("size", [(240, 320), (480, 640), (240, 427)])
def test_a_camera_that_shakes_is_no_motion_but_what_moves_in_its_picture_is(
    size: tuple[int, int],
) -> None:
    def shake(frames: Sequence[Image]) -> list[Image]:
        shaken = []
        for frame, (dx, dy) in zip(frames, [(0, 0), (3, 1), (-2, 2), (4, -3)] * 2, strict=True):
            matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
            border = cv2.BORDER_REPLICATE
            shaken.append(cv2.warpAffine(frame, matrix, size[::-1], borderMode=border))
        return shaken

    frames, (left, top, right, bottom) = planted(*size, 0.8, 0.5, 0.12)
    box = find_motion(shake(frames))
    assert side_of(box, *size) < 0.7
    centre = (left + right) / 2, (top + bottom) / 2
    assert box[0] < centre[0] < box[2]
    assert box[1] < centre[1] < box[3]
    assert find_motion(shake([scene(*size)] * FRAMES)) == WHOLE


def test_noise_of_the_sensor_is_no_motion() -> None:
    rng = np.random.default_rng(0)
    still = scene(240, 320).astype(float)
    frames = [np.clip(still + rng.normal(0, 8, still.shape), 0, 255) for _ in range(FRAMES)]
    assert find_motion([frame.astype(np.uint8) for frame in frames]) == WHOLE


@pytest.mark.parametrize("count", [1, 5])
def test_a_still_picture_and_a_single_frame_are_looked_at_whole(count: int) -> None:
    assert find_motion([scene(90, 120)] * count) == WHOLE
    assert find_motion([np.full((1, 1, 3), 9, np.uint8)] * count) == WHOLE


def test_motion_on_both_sides_of_a_wide_picture_is_looked_at_whole() -> None:
    left, _ = planted(120, 480, 0.0, 0.5, 0.12)
    right, _ = planted(120, 480, 1.0, 0.5, 0.12)
    both = [
        np.concatenate([a[:, :240], b[:, 240:]], axis=1) for a, b in zip(left, right, strict=True)
    ]
    assert find_motion(both) == WHOLE


def test_two_objects_take_a_square_that_is_large_enough_for_both() -> None:
    one, _ = planted(120, 160, 0.3, 0.5, 0.1)
    two, _ = planted(120, 160, 0.7, 0.5, 0.1)
    both = joined(one, two)
    assert 0.45 < side_of(find_motion(both), 120, 160) <= 0.8


def test_small_squares_find_one_moving_object_each() -> None:
    left, left_box = planted(240, 320, 0.05, 0.2, 0.12)
    right, right_box = planted(240, 320, 0.95, 0.8, 0.12)
    squares = find_squares(joined(left, right), 3)
    assert all(side_of(box, 240, 320) == pytest.approx(SQUARE_SIDES[0]) for box in squares)
    for box in (left_box, right_box):
        middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        held = [s[0] <= middle[0] <= s[2] and s[1] <= middle[1] <= s[3] for s in squares[:2]]
        assert sum(held) == 1


def test_small_squares_are_repeated_where_less_moves() -> None:
    frames, _ = planted(240, 320, 0.5, 0.5, 0.1)
    squares = find_squares(frames, 4)
    assert len(squares) == 4
    assert len(set(squares)) < 4
    assert find_squares([scene(240, 320)] * 4, 2) == [WHOLE, WHOLE]


def test_a_box_is_cut_and_scaled() -> None:
    frames = [scene(100, 200, seed) for seed in range(3)]
    cut = cut_box(frames, (0.25, 0.2, 0.5, 0.7), (50, 50))
    assert np.array_equal(cut, np.stack(frames)[:, 20:70, 50:100])
    assert cut_box(frames, WHOLE, (32, 32)).shape == (3, 32, 32, 3)
    larger = cut_box(frames, (0.25, 0.2, 0.5, 0.7), (100, 100))
    assert np.abs(larger[:, ::2, ::2].astype(int) - cut).mean() < 3


def test_the_smallest_square_has_the_pixels_of_the_crop() -> None:
    assert max_motion_pixels(224) == 2 * 640 * 640
