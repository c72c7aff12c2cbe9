"""Convolution over time with fewer products gives what the direct one gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from oddframe.backbones.visual.i3d_winograd import (
    TimeConv,
    in_tile_order,
    in_time_order,
    winograd_transform,
)

POINTS = [0.0, 1.0, -1.0, 0.5, -2.0, -0.5, 2.0]


@given(st.integers(2, 5), st.permutations(POINTS), st.integers(3, 7), st.integers(0, 2**32 - 1))
def test_a_transform_correlates(outputs: int, points: list[float], n: int, seed: int) -> None:
    n = max(n, outputs)  # At least two taps.
    matrices = winograd_transform(outputs, points[:n])
    random = np.random.default_rng(seed)
    x, w = random.normal(size=n + 1), random.normal(size=n + 2 - outputs)
    found = matrices.output @ ((matrices.taps @ w) * (matrices.inputs @ x))
    np.testing.assert_allclose(found, np.correlate(x, w, "valid"), atol=1e-9)


@pytest.mark.parametrize("count", [4, 8, 12])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (5, 2, 0)])
def test_it_is_the_convolution_in_three_dimensions(
    count: int, kernel: int, stride: int, padding: int
) -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(6, 5, 3, kernel, kernel) / 8, torch.randn(6)
    x = torch.randn(1, 5, count, 11, 8)
    direct = F.relu(F.conv3d(x, weight, bias, (1, stride, stride), (1, padding, padding)))
    found = TimeConv(weight, bias, stride, padding)([x[:, :, t] for t in range(count)])
    torch.testing.assert_close(
        torch.stack(in_time_order(found), dim=2), direct, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(("height", "width"), [(12, 5), (11, 8), (3, 3), (1, 1)])
def test_tiles_of_rows_give_the_same(height: int, width: int) -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(6, 5, 3, 3, 3) / 8, torch.randn(6)
    x = torch.randn(1, 5, 8, height, width)
    direct = F.relu(F.conv3d(x, weight, bias, padding=1))
    found = TimeConv(weight, bias, padding=1, rows=True)([x[:, :, t] for t in range(8)])
    torch.testing.assert_close(
        torch.stack(in_time_order(found), dim=2), direct, rtol=1e-5, atol=2e-5
    )


def test_four_taps_look_two_frames_ahead() -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(6, 5, 4, 3, 3) / 8, torch.randn(6)
    x = torch.randn(1, 5, 8, 7, 9)
    direct = F.relu(F.conv3d(F.pad(x, (0, 0, 0, 0, 1, 2)), weight, bias))
    found = TimeConv(weight, bias)([x[:, :, t] for t in range(8)])
    torch.testing.assert_close(
        torch.stack(in_time_order(found), dim=2), direct, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("count", [1, 2, 4, 8, 12])
def test_frames_come_apart_in_the_order_of_time(count: int) -> None:
    frames = [torch.full((1, 2), float(t)) for t in range(count)]
    assert [float(x[0, 0]) for x in in_time_order(in_tile_order(frames))] == list(range(count))
