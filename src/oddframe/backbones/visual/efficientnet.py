"""The backbone ``efficientnet_lite0``: one frame of each snippet, 30 times cheaper than I3D.

EfficientNet-Lite0 (Google, 2020) on ImageNet is EfficientNet-B0 (Tan and Le, ICML 2019) without
squeeze-and-excitation and with ReLU6. It encodes the middle frame of a snippet.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.backbones.base import (
    BackboneSpec,
    VisualEncoder,
    batch_size_for,
    thread_safe,
    to_input,
)
from oddframe.backbones.engines import Runtime
from oddframe.backbones.visual.i3d_network import same_padding
from oddframe.backbones.weights import SHIPPED_WEIGHTS, load_weights, read_state_dict
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


class Conv(nn.Module):
    """Convolution with SAME padding and a bias."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ):
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        vertical = same_padding(x.shape[2], self.kernel, self.stride)
        horizontal = same_padding(x.shape[3], self.kernel, self.stride)
        out: Tensor = self.conv(F.pad(x, (*horizontal, *vertical)))
        return out


class InvertedBottleneck(nn.Module):
    """Expand the channels, convolve each channel by itself, project; add the input if it fits."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int
    ):
        super().__init__()
        expanded = in_channels * expansion
        self.expand = Conv(in_channels, expanded) if expansion > 1 else None
        self.depthwise = Conv(expanded, expanded, kernel, stride, groups=expanded)
        self.project = Conv(expanded, out_channels)
        self.has_skip = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        expanded = x if self.expand is None else F.relu6(self.expand(x))
        out: Tensor = self.project(F.relu6(self.depthwise(expanded)))
        return out + x if self.has_skip else out


class EfficientNetLite0(nn.Module):
    """(N, 3, height, width), RGB in [-1, 1] -> (N, 1280)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Conv(3, 32, 3, 2)
        blocks, channels = [], 32
        for count, kernel, first_stride, expansion, out_channels in STAGES:
            for number in range(count):
                stride = first_stride if number == 0 else 1
                blocks.append(InvertedBottleneck(channels, out_channels, kernel, stride, expansion))
                channels = out_channels
        self.blocks = nn.Sequential(*blocks)
        self.head = Conv(channels, EFFICIENTNET_FEATURE_DIM)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu6(self.stem(x)))
        return F.relu6(self.head(x)).mean(dim=(2, 3))


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
        state = read_state_dict(weights, "EfficientNet")
        network = load_weights(EfficientNetLite0(), state, "EfficientNet")
        width, height = preprocessing.crop_size
        example = torch.zeros(1, 3, height, width)
        run = self.build_runner(network, example, weights, runtime)

        def encode(snippets: NDArray[np.uint8]) -> NDArray[np.float32]:
            middle = snippets.shape[1] // 2
            frames = to_input(snippets[:, middle : middle + 1], runtime.device)
            return run(frames[:, :, 0])

        return VisualEncoder(thread_safe(encode), batch_size_for(runtime))


EFFICIENTNET_LITE0 = EfficientNetLite0Spec()
