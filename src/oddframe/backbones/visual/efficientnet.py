"""The backbone ``efficientnet_lite0``: one picture of each snippet, 30 times cheaper than I3D.

EfficientNet-Lite0 (Google, 2020) on ImageNet: EfficientNet-B0 (Tan and Le, ICML 2019) without
squeeze-and-excitation and with ReLU6. It looks at the frame in the middle of a snippet, so it knows
what is there and not what moves. Batch normalisation is folded into the convolutions; padding is
TensorFlow's SAME.
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
from oddframe.backbones.visual.i3d import same_padding
from oddframe.backbones.weights import SHIPPED_WEIGHTS, load_weights, read_state_dict
from oddframe.video.snippets.transforms import Preprocessing

LITE0_WEIGHTS = SHIPPED_WEIGHTS / "efficientnet_lite0.safetensors"
EFFICIENTNET_FEATURE_DIM = 1280

# Repeats, kernel, stride of the first, expansion, channels.
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

    def __init__(self, wide_in: int, wide: int, kernel: int = 1, stride: int = 1, groups: int = 1):
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.conv = nn.Conv2d(wide_in, wide, kernel, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        down = same_padding(x.shape[2], self.kernel, self.stride)
        across = same_padding(x.shape[3], self.kernel, self.stride)
        out: Tensor = self.conv(F.pad(x, (*across, *down)))
        return out


class InvertedBottleneck(nn.Module):
    """Inverted bottleneck: widen, filter each channel alone, narrow; add the input if it fits."""

    def __init__(self, wide_in: int, wide: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        middle = wide_in * expansion
        self.expand = Conv(wide_in, middle) if expansion > 1 else None
        self.depthwise = Conv(middle, middle, kernel, stride, groups=middle)
        self.project = Conv(middle, wide)
        self.skips = stride == 1 and wide_in == wide

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.expand is None else F.relu6(self.expand(x))
        out: Tensor = self.project(F.relu6(self.depthwise(wide)))
        return out + x if self.skips else out


class EfficientNetLite0(nn.Module):
    """(N, 3, height, width), RGB in [-1, 1] -> (N, 1280)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Conv(3, 32, 3, 2)
        blocks, channels = [], 32
        for repeats, kernel, stride, expansion, wide in STAGES:
            for number in range(repeats):
                first = number == 0
                blocks.append(
                    InvertedBottleneck(channels, wide, kernel, stride if first else 1, expansion)
                )
                channels = wide
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

    def weights(self) -> Path:
        """They come with oddframe."""
        return LITE0_WEIGHTS

    def load(self, weights: Path, preprocessing: Preprocessing, runtime: Runtime) -> VisualEncoder:
        """See ``Kind.load``."""
        network = load_weights(
            EfficientNetLite0(), read_state_dict(weights, "EfficientNet"), "EfficientNet"
        )
        width, height = preprocessing.crop_size
        run = self.run(network, torch.zeros(1, 3, height, width), weights, runtime)

        def see(snippets: NDArray[np.uint8]) -> NDArray[np.float32]:
            return run(to_input(middle_frame(snippets), runtime.device)[:, :, 0])

        return VisualEncoder(thread_safe(see), batch_size_for(runtime))


def middle_frame(snippets: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, frames, ...) -> (N, 1, ...), the frame in the middle."""
    at = snippets.shape[1] // 2
    return snippets[:, at : at + 1]
