"""Backbones that encode sound, by log-mel spectrograms of its windows.

``aisfx``: Ma and Lerch, "Representation Learning for the Automatic Indexing of Sound Effects
Libraries" (ISMIR 2022), a network that was trained to classify sound effects. The published code
computes spectrograms with Essentia; here they are computed from the same parameters.

``vggish``: Hershey et al., "CNN Architectures for Large-Scale Audio Classification" (ICASSP 2017).
Layers are named as in the PyTorch port harritaylor/torchvggish; features are taken before its
post-processing.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.backbones.base import AudioEncoder, BackboneSpec, thread_safe
from oddframe.backbones.engines import Runtime
from oddframe.backbones.weights import (
    SHIPPED_WEIGHTS,
    find_user_weights,
    load_weights,
    read_state_dict,
)
from oddframe.video.snippets.preprocessing import Preprocessing


@dataclass(frozen=True)
class LogMel:
    """The parameters of a mel spectrogram."""

    rate: int  # Samples a second.
    frames: int  # Columns of a spectrogram.
    frame: int  # Samples of a column.
    hop: int  # Samples from the start of one column to the start of the next.
    points: int  # Length of the Fourier transform; columns are padded with zeros.
    bands: int  # Rows of a spectrogram, from ``low`` to ``high`` Hz.
    low: float
    high: float
    periodic: bool  # The Hann window; else it is symmetric.
    power: int  # Exponent of the spectrum's magnitude.
    unit_sum: bool  # Whether the weights of each band sum to 1.

    @property
    def window(self) -> int:
        """Samples of a whole spectrogram."""
        return (self.frames - 1) * self.hop + self.frame

    @cached_property
    def _hann(self) -> Tensor:
        return torch.hann_window(self.frame, periodic=self.periodic, dtype=torch.float64)

    @cached_property
    def _filters(self) -> Tensor:
        """The weights (points // 2 + 1, bands) that sum a spectrum up in mel bands.

        Each band is a triangle on the mel scale, from the centre of the band below to the centre of
        the band above; all bands have the same width on that scale.
        """
        pitch = _hertz_to_mel(np.linspace(0.0, self.rate / 2, self.points // 2 + 1))[:, None]
        lowest, highest = _hertz_to_mel(np.array([self.low, self.high]))
        edges = np.linspace(lowest, highest, self.bands + 2)
        below, centre, above = edges[:-2], edges[1:-1], edges[2:]
        rising, falling = (pitch - below) / (centre - below), (above - pitch) / (above - centre)
        weights = np.maximum(0.0, np.minimum(rising, falling))
        weights[0] = 0.0  # Ignore the constant component.
        if self.unit_sum:
            weights /= weights.sum(axis=0)
        return torch.from_numpy(weights)

    def spectrogram(self, windows: NDArray[np.float32]) -> Tensor:
        """Spectrograms (N, frames, bands) float64, without the log, of windows (N, ``window``)."""
        columns = torch.from_numpy(windows).double().unfold(1, self.frame, self.hop)
        spectrum = torch.fft.rfft(columns * self._hann, n=self.points).abs()
        bands: Tensor = spectrum.pow(self.power) @ self._filters
        return bands


def _hertz_to_mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert frequencies to the mel scale of the HTK toolkit."""
    return np.asarray(1127.0 * np.log1p(hertz / 700.0))


class AudioBackboneSpec(BackboneSpec):
    """A backbone that encodes log-mel spectrograms, with the parameters ``mel``."""

    is_audio = True
    mel: LogMel

    @property
    def window_s(self) -> float:
        return self.mel.window / self.mel.rate

    @abstractmethod
    def load_network(self, weights: Path) -> nn.Module:
        """Load the network: spectrograms (N, ...) -> features (N, D)."""

    @abstractmethod
    def log_mel(self, windows: NDArray[np.float32]) -> Tensor:
        """Compute the network's input, float32, from windows (N, ``mel.window``) in [-1, 1]."""

    def load(
        self,
        weights: Path,
        preprocessing: Preprocessing,  # noqa: ARG002
        runtime: Runtime,
    ) -> AudioEncoder:
        silence = np.zeros((1, self.mel.window), np.float32)
        example = torch.zeros_like(self.log_mel(silence))
        run = self.build_runner(self.load_network(weights), example, weights, runtime)
        return AudioEncoder(
            thread_safe(lambda windows: run(self.log_mel(windows))), self.mel.rate, self.mel.window
        )


AISFX_WEIGHTS = SHIPPED_WEIGHTS / "aisfx.safetensors"
AISFX_CHANNELS = (64, 128, 256, 512)

_MAX_LOG_MEL = 9.457798957824707  # Of the authors' training data, to scale to [0, 1].


class Aisfx(nn.Module):
    """(N, 100, 96) -> (N, 512); batch normalisation is folded into the convolutions."""

    def __init__(self) -> None:
        super().__init__()
        pairs = list(zip((1, *AISFX_CHANNELS), AISFX_CHANNELS, strict=False))
        self.conv1 = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairs)
        self.conv2 = nn.ModuleList(nn.Conv2d(b, b, 3, padding=1) for _, b in pairs)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, None]
        for number, (first, second) in enumerate(zip(self.conv1, self.conv2, strict=True)):
            x = F.relu(second(F.relu(first(x))))
            if number < len(AISFX_CHANNELS) - 1:
                x = F.max_pool2d(x, 2)
        return x.mean(dim=3).amax(dim=2)


class AisfxSpec(AudioBackboneSpec):
    """The network of Ma and Lerch, with their weights."""

    name = "aisfx"
    title = "aisfx on sound"
    dim = AISFX_CHANNELS[-1]
    weights_origin = "shipped"
    license = "CC-BY-4.0"
    mel = LogMel(
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

    def find_weights(self) -> Path:
        return AISFX_WEIGHTS

    def load_network(self, weights: Path) -> nn.Module:
        return load_weights(Aisfx(), read_state_dict(weights, "aisfx"), "aisfx")

    def log_mel(self, windows: NDArray[np.float32]) -> Tensor:
        """Windows (N, 103424) at 44.1 kHz, samples in [-1, 1] -> (N, 100, 96), about 0 to 1."""
        return (self.mel.spectrogram(windows) * 1e4 + 1).log10().div(_MAX_LOG_MEL).float()


AISFX = AisfxSpec()


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
    mel = LogMel(
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
