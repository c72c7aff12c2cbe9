"""The backbone ``aisfx``: 2.3 seconds of sound -> 512 numbers; weights are shipped with oddframe.

Ma and Lerch, "Representation Learning for the Automatic Indexing of Sound Effects Libraries" (ISMIR
2022): a network of eight convolutions that was trained to classify sound effects. A window is 100
log-mel columns of 2,048 samples, one every 1,024, at 44.1 kHz. The published code computes them
with Essentia; here they are computed from the same parameters.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.backbones.audio.logmel import AudioBackboneSpec, LogMel
from oddframe.backbones.weights import SHIPPED_WEIGHTS, load_weights, read_state_dict

AISFX_WEIGHTS = SHIPPED_WEIGHTS / "aisfx.safetensors"
CHANNELS = (64, 128, 256, 512)

AISFX_LOG_MEL = LogMel(
    rate=44_100,
    frames=100,
    frame=2048,
    hop=1024,
    points=2048,
    bands=96,
    low=0.0,
    high=22_050.0,
    periodic=False,
    power=2,
    unit_sum=True,
)
_MAX_LOG_MEL = 9.457798957824707  # Of the authors' training data, to scale to [0, 1].


class Aisfx(nn.Module):
    """(N, 100, 96) -> (N, 512); batch normalisation is folded into the convolutions."""

    def __init__(self) -> None:
        super().__init__()
        pairs = list(zip((1, *CHANNELS), CHANNELS, strict=False))
        self.conv1 = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairs)
        self.conv2 = nn.ModuleList(nn.Conv2d(b, b, 3, padding=1) for _, b in pairs)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, None]
        for number, (first, second) in enumerate(zip(self.conv1, self.conv2, strict=True)):
            x = F.relu(second(F.relu(first(x))))
            if number < len(CHANNELS) - 1:
                x = F.max_pool2d(x, 2)
        return x.mean(dim=3).amax(dim=2)


class AisfxSpec(AudioBackboneSpec):
    """The network of Ma and Lerch, with their weights."""

    name = "aisfx"
    title = "aisfx on sound"
    dim = CHANNELS[-1]
    weights_origin = "shipped"
    license = "CC-BY-4.0"
    mel = AISFX_LOG_MEL

    def find_weights(self) -> Path:
        return AISFX_WEIGHTS

    def load_network(self, weights: Path) -> nn.Module:
        return load_weights(Aisfx(), read_state_dict(weights, "aisfx"), "aisfx")

    def log_mel(self, windows: NDArray[np.float32]) -> Tensor:
        """Windows (N, 103424) at 44.1 kHz, samples in [-1, 1] -> (N, 100, 96), about 0 to 1."""
        return (self.mel.spectrogram(windows) * 1e4 + 1).log10().div(_MAX_LOG_MEL).float()


AISFX = AisfxSpec()
