"""The backbone ``efficientnet_lite0``: one frame of each snippet, 30 times cheaper than I3D.

EfficientNet-Lite0 (Google, 2020) on ImageNet is EfficientNet-B0 (Tan and Le, ICML 2019) without
squeeze-and-excitation and with ReLU6. It encodes the middle frame of a snippet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddframe.backbones.base import (
    BackboneSpec,
    VisualEncoder,
    batch_size_for,
    thread_safe,
    to_input,
)
from oddframe.backbones.engines import Runner, Runtime, openvino_runner
from oddframe.backbones.weights import SHIPPED_WEIGHTS, load_weights, read_arrays, read_state_dict
from oddframe.video.snippets.preprocessing import Preprocessing

LITE0_WEIGHTS = SHIPPED_WEIGHTS / "efficientnet_lite0.safetensors"
EFFICIENTNET_FEATURE_DIM = 1280

# Blocks, kernel size, stride of the first block, expansion factor, output channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class EfficientNetLite0Spec(BackboneSpec):
    """EfficientNet-Lite0 on the middle frame of a snippet."""

    name = "efficientnet_lite0"
    title = "EfficientNet-Lite0, ImageNet"
    dim = EFFICIENTNET_FEATURE_DIM
    weights_origin = "shipped"
    license = "Apache-2.0"
    window_frames = 1

    def find_weights(self) -> Path:
        return LITE0_WEIGHTS

    def load(self, weights: Path, preprocessing: Preprocessing, runtime: Runtime) -> VisualEncoder:
        run = _runner(weights, preprocessing, runtime)

        def encode(snippets: NDArray[np.uint8]) -> NDArray[np.float32]:
            middle = snippets.shape[1] // 2
            return run(to_input(snippets[:, middle : middle + 1], runtime.device)[:, :, 0])

        return VisualEncoder(thread_safe(encode), batch_size_for(runtime))


EFFICIENTNET_LITE0 = EfficientNetLite0Spec()


def _runner(weights: Path, preprocessing: Preprocessing, runtime: Runtime) -> Runner:
    if runtime.engine == "openvino":
        width, height = preprocessing.crop_size
        return openvino_runner(build_graph(weights, (1, 3, height, width)), runtime)
    from oddframe.backbones.torch_runner import torch_runner
    from oddframe.backbones.visual.efficientnet_network import EfficientNetLite0

    state = read_state_dict(weights, "EfficientNet")
    return torch_runner(load_weights(EfficientNetLite0(), state, "EfficientNet"), 4, runtime)


def build_graph(weights: Path, shape: tuple[int, ...]) -> Any:
    """The network as an OpenVINO model for pictures of this ``shape`` (1, 3, height, width)."""
    from oddframe.backbones import graph as g

    own = g.Weights(read_arrays(weights, "EfficientNet"), "EfficientNet")

    def convolve(x: g.Node, name: str, out: int, kernel: int = 1, stride: int = 1) -> g.Node:
        weight, bias = own.layer(f"{name}.conv", (out, g.sizes(x)[1], kernel, kernel))
        return g.convolve(x, weight, bias, stride)

    x = start = g.graph_input(*shape)
    x = g.relu6(convolve(x, "stem", 32, 3, 2))
    block = 0
    for count, kernel, first_stride, expansion, out in STAGES:
        for number in range(count):
            name, stride = f"blocks.{block}", first_stride if number == 0 else 1
            before, channels = x, g.sizes(x)[1] * expansion
            if expansion > 1:
                x = g.relu6(convolve(x, f"{name}.expand", channels))
            depthwise = own.layer(f"{name}.depthwise.conv", (channels, 1, kernel, kernel))
            x = g.relu6(g.convolve_each_channel(x, *depthwise, stride))
            x = convolve(x, f"{name}.project", out)
            if stride == 1 and g.sizes(before)[1] == out:
                x = g.add(x, before)
            block += 1
    x = g.relu6(convolve(x, "head", EFFICIENTNET_FEATURE_DIM))
    own.check_all_used()
    return g.to_model(g.mean(x, 2, 3), start)
