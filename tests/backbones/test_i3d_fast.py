"""The fast form of I3D gives the direct one's features, and runs only where it is faster."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from oddframe.backbones.base import FULL_FRAME
from oddframe.backbones.engines import Runtime
from oddframe.backbones.visual.i3d import I3D, read_i3d
from oddframe.backbones.visual.i3d_rgb import I3D_WEIGHTS, I3DRgbSpec
from oddframe.backbones.visual.i3d_winograd import CACHE_SUFFIX, FastI3D, i3d_runner

FLOAT = Runtime("openvino", "cpu", "float32")


@pytest.mark.parametrize(("height", "width"), [(48, 64), (65, 33), (50, 47)])
def test_features_are_those_of_the_direct_network(height: int, width: int) -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 3, 16, height, width) * 2 - 1
    network = read_i3d(I3D_WEIGHTS).eval()
    with torch.inference_mode():
        torch.testing.assert_close(FastI3D(network)(x), network(x), rtol=1e-5, atol=2e-5)


def test_two_channels_of_flow_do_as_well() -> None:
    torch.manual_seed(0)
    network, x = I3D(2).eval(), torch.rand(1, 2, 16, 32, 40) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(FastI3D(network)(x), network(x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("choice", "frames", "fast"),
    [
        (FLOAT, 16, True),
        (FLOAT, 32, False),
        (Runtime("openvino", "cpu", "bfloat16"), 16, False),
        (Runtime("torch", "cpu", "float32"), 16, False),
        (Runtime("torch", "cuda", "bfloat16"), 16, False),
    ],
)
def test_it_runs_on_openvino_in_float32(
    runtime: Runtime, frames: int, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[bool, bool, str]] = []

    def run(_: object, network: nn.Module, *_given: object, variant: str, **or_not: bool) -> None:
        asked.append((isinstance(network, FastI3D), or_not.get("alone", False), variant))

    monkeypatch.setattr(I3DRgbSpec, "run", run)
    how = replace(FULL_FRAME, resize=(32, 32), crop_size=(32, 32), snippet_frames=frames)
    i3d_runner(I3DRgbSpec(), I3D(), I3D_WEIGHTS, how, runtime)
    assert asked == [(fast, fast, CACHE_SUFFIX if fast else "")]
