"""EfficientNet-Lite0 in PyTorch, for graphics cards and to compare with."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.backbones.base import same_padding
from oddframe.backbones.visual.efficientnet import EFFICIENTNET_FEATURE_DIM, STAGES


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
