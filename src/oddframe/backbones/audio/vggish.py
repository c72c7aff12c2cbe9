"""The backbone ``vggish``: a second of sound -> 128 numbers, with the user's weights.

Hershey et al., "CNN Architectures for Large-Scale Audio Classification" (ICASSP 2017). Layers are
named as in the PyTorch port harritaylor/torchvggish; features are taken before its post-processing.
A window is 96 log-mel columns of 25 ms, one every 10 ms: 0.975 s.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from oddframe.backbones.audio.logmel import AudioBackboneSpec, LogMel
from oddframe.backbones.weights import find_user_weights, load_weights, read_state_dict

VGGISH_LOG_MEL = LogMel(
    rate=16_000,
    frames=96,
    frame=400,
    hop=160,
    points=512,
    bands=64,
    low=125.0,
    high=7500.0,
    periodic=True,
    power=1,
    unit_sum=False,
)
_LOG_OFFSET = 0.01


class VGGish(nn.Module):
    """(N, 1, 96, 64) log-mel -> (N, 128)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for block in ((64,), (128,), (256, 256), (512, 512)):
            for out_channels in block:
                layers += [nn.Conv2d(channels, out_channels, 3, padding=1), nn.ReLU()]
                channels = out_channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(512 * 6 * 4, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(),
            nn.Linear(4096, 128), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        # The weights come from TensorFlow, where channels are the last axis.
        out: Tensor = self.embeddings(self.features(x).permute(0, 2, 3, 1).flatten(1))
        return out


class VGGishSpec(AudioBackboneSpec):
    """VGGish, with the user's weights in torchvggish's layout."""

    name = "vggish"
    title = "VGGish on sound"
    dim = 128
    license = "Apache-2.0"
    mel = VGGISH_LOG_MEL

    def find_weights(self) -> Path:
        return find_user_weights(
            self.name,
            "vggish-10086976.pth from https://github.com/harritaylor/torchvggish/releases",
        )

    def load_network(self, weights: Path) -> nn.Module:
        return load_weights(VGGish(), read_state_dict(weights, "VGGish"), "VGGish")

    def log_mel(self, windows: NDArray[np.float32]) -> Tensor:
        """Windows (N, 15600) at 16 kHz, samples in [-1, 1] -> (N, 1, 96, 64)."""
        return (self.mel.spectrogram(windows) + _LOG_OFFSET).log().float()[:, None]


VGGISH = VGGishSpec()
