from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddframe.outputs.drawing import even_size, letterbox


@given(st.integers(16, 5000), st.integers(16, 5000))
def test_sizes_are_even_fit_and_keep_the_shape(width: int, height: int) -> None:
    w, h = even_size(width, height, 640)
    assert w % 2 == h % 2 == 0
    assert 2 <= w <= max(640, 2)
    assert 2 <= h <= 640
    assert abs(w * height / width - h) <= 2 + height / width


@pytest.mark.parametrize("size", [(353, 241), (97, 1000), (1000, 97), (640, 360)])
def test_a_picture_fills_the_size_made_for_it(size: tuple[int, int]) -> None:
    image = np.full((size[1], size[0], 3), 200, dtype=np.uint8)
    width, height = even_size(*size, 300)
    assert (letterbox(image, width, height) == 200).all()


def test_another_shape_gets_black_bars() -> None:
    image = np.full((100, 100, 3), 200, dtype=np.uint8)
    wide = letterbox(image, 300, 100)
    assert (wide[:, 100:200] == 200).all()
    assert (wide[:, :100] == 0).all()
    assert (wide[:, 200:] == 0).all()
