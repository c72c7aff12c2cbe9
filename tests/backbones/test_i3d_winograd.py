"""I3D with Winograd convolutions gives the features of ``I3D``, and runs where it is faster."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from oddframe.backbones.base import FULL_FRAME
from oddframe.backbones.engines import Runtime
from oddframe.backbones.visual.i3d import I3D_WEIGHTS, I3DRgbSpec, i3d_runner
from oddframe.backbones.visual.i3d_network import I3D, read_i3d
from oddframe.backbones.visual.i3d_winograd import (
    CACHE_SUFFIX,
    FastI3D,
    TimeConv,
    in_tile_order,
    in_time_order,
    winograd_transform,
)

FLOAT = Runtime("openvino", "cpu", "float32")
POINTS = [0.0, 1.0, -1.0, 0.5, -2.0, -0.5, 2.0]


@pytest.mark.parametrize(("height", "width"), [(48, 64), (65, 33), (50, 47)])
def test_features_are_those_of_the_direct_network(height: int, width: int) -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 3, 16, height, width) * 2 - 1
    network = read_i3d(I3D_WEIGHTS).eval()
    with torch.inference_mode():
        torch.testing.assert_close(FastI3D(network)(x), network(x), rtol=1e-5, atol=2e-5)


def test_features_of_optical_flow_are_those_of_the_direct_network() -> None:
    torch.manual_seed(0)
    network, x = I3D(2).eval(), torch.rand(1, 2, 16, 32, 40) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(FastI3D(network)(x), network(x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("runtime", "frames", "fast"),
    [
        (FLOAT, 16, True),
        (FLOAT, 32, False),
        (Runtime("openvino", "cpu", "bfloat16"), 16, False),
        (Runtime("torch", "cpu", "float32"), 16, False),
        (Runtime("torch", "cuda", "bfloat16"), 16, False),
    ],
)
def test_it_runs_on_openvino_in_float32_only(
    runtime: Runtime, frames: int, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[bool, bool, str]] = []

    def build_runner(
        self: object, network: nn.Module, *args: object, variant: str, batch_of_one: bool = False
    ) -> None:
        calls.append((isinstance(network, FastI3D), batch_of_one, variant))

    monkeypatch.setattr(I3DRgbSpec, "build_runner", build_runner)
    how = replace(FULL_FRAME, resize=(32, 32), crop_size=(32, 32), snippet_frames=frames)
    i3d_runner(I3DRgbSpec(), I3D(), I3D_WEIGHTS, how, runtime)
    assert calls == [(fast, fast, CACHE_SUFFIX if fast else "")]


def test_features_of_regions_are_those_of_the_direct_network() -> None:
    torch.manual_seed(0)
    network, x = I3D().eval(), torch.rand(1, 3, 16, 80, 96) * 2 - 1
    network.regions = (2, 3)
    with torch.inference_mode():
        torch.testing.assert_close(FastI3D(network)(x), network(x), rtol=1e-4, atol=1e-6)


@given(st.integers(2, 5), st.permutations(POINTS), st.integers(3, 7), st.integers(0, 2**32 - 1))
def test_the_transform_computes_a_correlation(
    outputs: int, points: list[float], n: int, seed: int
) -> None:
    n = max(n, outputs)  # At least two taps.
    matrices = winograd_transform(outputs, points[:n])
    random = np.random.default_rng(seed)
    x, w = random.normal(size=n + 1), random.normal(size=n + 2 - outputs)
    found = matrices.output @ ((matrices.taps @ w) * (matrices.inputs @ x))
    np.testing.assert_allclose(found, np.correlate(x, w, "valid"), atol=1e-9)


@pytest.mark.parametrize("count", [4, 8, 12])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (5, 2, 0)])
def test_time_conv_is_a_convolution_in_three_dimensions(
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
def test_tiles_of_rows_give_the_same_features(height: int, width: int) -> None:
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
def test_in_time_order_undoes_in_tile_order(count: int) -> None:
    frames = [torch.full((1, 2), float(t)) for t in range(count)]
    assert [float(x[0, 0]) for x in in_time_order(in_tile_order(frames))] == list(range(count))
