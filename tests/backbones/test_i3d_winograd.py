"""I3D as an OpenVINO graph gives the features of the PyTorch network, in both forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from oddframe.backbones import graph as g
from oddframe.backbones.base import FULL_FRAME
from oddframe.backbones.engines import Runtime
from oddframe.backbones.visual import i3d
from oddframe.backbones.visual.i3d import I3D_WEIGHTS, build_i3d_graph, i3d_runner
from oddframe.backbones.visual.i3d_network import I3D, read_i3d
from oddframe.backbones.visual.i3d_winograd import (
    in_tile_order,
    in_time_order,
    time_convolution,
    winograd_transform,
)
from oddframe.errors import InputError

FLOAT = Runtime("openvino", "cpu", "float32")
POINTS = [0.0, 1.0, -1.0, 0.5, -2.0, -0.5, 2.0]


def run(model: Any, x: Tensor) -> NDArray[np.float32]:
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    return np.array(openvino.Core().compile_model(model, "CPU", config)(x.numpy())[0])


def agree(found: NDArray[np.float32], expected: Tensor) -> None:
    """Within 1e-5 of the largest feature."""
    limit = 1e-5 * float(expected.abs().max())
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=limit)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    ("height", "width", "regions"),
    [(65, 33, None), (50, 47, None), (80, 96, (2, 3))],
)
def test_features_are_those_of_the_pytorch_network(
    height: int, width: int, regions: tuple[int, int] | None, fast: bool
) -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 3, 16, height, width) * 2 - 1
    network = read_i3d(I3D_WEIGHTS).eval()
    network.regions = regions
    model = build_i3d_graph(I3D_WEIGHTS, tuple(x.shape), regions, fast=fast)
    with torch.inference_mode():
        agree(run(model, x), network(x))


@pytest.mark.parametrize("frames", [8, 32])
def test_snippets_of_other_lengths_are_encoded_by_the_direct_form(frames: int) -> None:
    x = torch.rand(1, 3, frames, 40, 33) * 2 - 1
    model = build_i3d_graph(I3D_WEIGHTS, tuple(x.shape), None, fast=False)
    with torch.inference_mode():
        agree(run(model, x), read_i3d(I3D_WEIGHTS)(x))


@pytest.mark.parametrize("fast", [True, False])
def test_features_of_optical_flow_are_those_of_the_pytorch_network(
    fast: bool, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network, x = I3D(2).eval(), torch.rand(1, 2, 16, 32, 40) * 2 - 1
    save_file(network.state_dict(), tmp_path / "flow.safetensors")
    with torch.inference_mode():
        model = build_i3d_graph(tmp_path / "flow.safetensors", tuple(x.shape), None, fast=fast)
        agree(run(model, x), network(x))
    with pytest.raises(InputError, match="weights for optical flow, not for RGB"):
        build_i3d_graph(tmp_path / "flow.safetensors", (1, 3, 16, 32, 32), None, fast=fast)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for change, said in (
        (lambda state: state.pop("trunk.Mixed_4d.b2.1.conv.bias"), "lacking"),
        (lambda state: state.update(more=torch.zeros(1)), r"unknown \['more'\]"),
        (
            lambda state: state.update({"trunk.Mixed_5c.b0.conv.bias": torch.zeros(3)}),
            r"is \(3,\), not \(384,\)",
        ),
    ):
        state = I3D().state_dict()
        change(state)  # type: ignore[no-untyped-call]
        save_file(state, tmp_path / "changed.safetensors")
        with pytest.raises(InputError, match=f"I3D weights do not fit: .*{said}"):
            build_i3d_graph(tmp_path / "changed.safetensors", (1, 3, 16, 32, 32), None, fast=True)


@pytest.mark.parametrize(
    ("runtime", "frames", "fast"),
    [
        (FLOAT, 16, True),
        (FLOAT, 32, False),
        (Runtime("openvino", "cpu", "bfloat16"), 16, True),
    ],
)
def test_winograd_runs_for_snippets_of_16_frames(
    runtime: Runtime, frames: int, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[bool] = []
    build: Callable[..., Any] = build_i3d_graph

    def watched(*args: Any, fast: bool) -> Any:
        calls.append(fast)
        return build(*args, fast=fast)

    monkeypatch.setattr(i3d, "build_i3d_graph", watched)
    how = replace(FULL_FRAME, resize=(32, 32), crop_size=(32, 32), snippet_frames=frames)
    i3d_runner(I3D_WEIGHTS, 3, how, runtime)
    assert calls == [fast]


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


def convolved(weight: Tensor, bias: Tensor, x: Tensor, *args: int, **options: bool) -> Any:
    """``time_convolution`` of (1, in, frames, height, width), in order of time."""
    start = g.graph_input(*x.shape)
    _, channels, count, height, width = x.shape
    frames = [
        g.reshape(g.cut(start, 2, t, t + 1), 1, channels, height, width) for t in range(count)
    ]
    out = time_convolution(frames, weight.numpy(), bias.numpy(), *args, **options)
    ordered = g.concat(
        [g.reshape(f, *(*g.sizes(f)[:2], 1, *g.sizes(f)[2:])) for f in in_time_order(out)], 2
    )
    return run(g.to_model(ordered, start), x)


@pytest.mark.parametrize("count", [4, 8, 12])
@pytest.mark.parametrize(("kernel", "stride", "pads"), [(3, 1, (1, 1, 1, 1)), (5, 2, (1, 2, 2, 2))])
def test_time_conv_is_a_convolution_in_three_dimensions(
    count: int, kernel: int, stride: int, pads: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(6, 5, 3, kernel, kernel) / 8, torch.randn(6)
    x = torch.randn(1, 5, count, 11, 8)
    direct = F.relu(F.conv3d(F.pad(x, (*pads, 1, 1)), weight, bias, (1, stride, stride)))
    found = convolved(weight, bias, x, stride)
    np.testing.assert_allclose(found, direct, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(12, 5), (11, 8), (3, 3), (1, 1)])
def test_tiles_of_rows_give_the_same_features(height: int, width: int) -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(6, 5, 3, 3, 3) / 8, torch.randn(6)
    x = torch.randn(1, 5, 8, height, width)
    direct = F.relu(F.conv3d(x, weight, bias, padding=1))
    found = convolved(weight, bias, x, rows=True)
    np.testing.assert_allclose(found, direct, rtol=1e-5, atol=2e-5)


def test_four_taps_look_two_frames_ahead() -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(6, 5, 4, 3, 3) / 8, torch.randn(6)
    x = torch.randn(1, 5, 8, 7, 9)
    direct = F.relu(F.conv3d(F.pad(x, (1, 1, 1, 1, 1, 2)), weight, bias))
    np.testing.assert_allclose(convolved(weight, bias, x), direct, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 4, 8, 12])
def test_in_time_order_undoes_in_tile_order(count: int) -> None:
    start = g.graph_input(count, 2)
    there_and_back = in_time_order(in_tile_order(g.split(start, 0)))
    x = torch.arange(2 * count, dtype=torch.float32).view(count, 2)
    assert (run(g.to_model(g.concat(there_and_back, 0), start), x) == x.numpy()).all()
