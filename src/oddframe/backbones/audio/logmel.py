"""Windows of sound -> log-mel pictures: how much of each pitch there is at each time.

Networks that listen to log-mel pictures of windows of sound.
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

from oddframe.backbones.base import AudioEncoder, BackboneSpec, thread_safe
from oddframe.backbones.engines import Runtime
from oddframe.video.snippets.transforms import Preprocessing


def hertz_to_mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pitch on the mel scale of the HTK toolkit."""
    return np.asarray(1127.0 * np.log1p(hertz / 700.0))


def mel_filters(
    bands: int, points: int, rate: int, low: float, high: float, *, unit_sum: bool
) -> NDArray[np.float64]:
    """Weights (points // 2 + 1, bands) that gather a spectrum into bands of equal mel width.

    Each band is a triangle on the mel scale, from the middle of the band below to the middle of the
    band above.

    Args:
        bands: How many.
        points: Of the Fourier transform.
        rate: Samples a second.
        low: Lower edge of the lowest band, in Hz.
        high: Upper edge of the highest band, in Hz.
        unit_sum: Scale each band's weights so that their sum is 1.
    """
    pitch = hertz_to_mel(np.linspace(0.0, rate / 2, points // 2 + 1))[:, None]
    lowest, highest = hertz_to_mel(np.array([low, high]))
    edges = np.linspace(lowest, highest, bands + 2)
    below, middle, above = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (pitch - below) / (middle - below), (above - pitch) / (above - middle)
    weights: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    weights[0] = 0.0  # A constant is no sound.
    if unit_sum:
        weights /= weights.sum(axis=0)
    return weights


@dataclass(frozen=True)
class LogMel:
    """How a network's pictures of sound are made.

    Attributes:
        rate: Samples a second.
        frames: Columns of a picture.
        frame: Samples that a column is made from.
        hop: Samples from one column to the next.
        points: Of the Fourier transform, at least ``frame``; the rest is zeros.
        bands: Rows of a picture.
        low: Lower edge of the lowest band, in Hz.
        high: Upper edge of the highest band, in Hz.
        periodic: Whether the Hann window is the periodic one (else the symmetric).
        power: Exponent of the spectrum's magnitude.
        unit_sum: Whether each band's weights sum to 1.
    """

    rate: int
    frames: int
    frame: int
    hop: int
    points: int
    bands: int
    low: float
    high: float
    periodic: bool
    power: int
    unit_sum: bool

    @property
    def window(self) -> int:
        """Samples of a whole picture."""
        return (self.frames - 1) * self.hop + self.frame

    @cached_property
    def _hann(self) -> Tensor:
        return torch.hann_window(self.frame, periodic=self.periodic, dtype=torch.float64)

    @cached_property
    def _weights(self) -> Tensor:
        weights = mel_filters(
            self.bands, self.points, self.rate, self.low, self.high, unit_sum=self.unit_sum
        )
        return torch.from_numpy(weights)

    def bands_of(self, windows: NDArray[np.float32]) -> Tensor:
        """Windows (N, ``window``) -> (N, frames, bands), float64, before any logarithm."""
        columns = torch.from_numpy(windows).double().unfold(1, self.frame, self.hop)
        spectrum = torch.fft.rfft(columns * self._hann, n=self.points).abs()
        bands: Tensor = spectrum.pow(self.power) @ self._weights
        return bands


class AudioBackboneSpec(BackboneSpec):
    """A kind of such a network.

    Attributes:
        mel: How a window becomes a picture.
    """

    is_audio = True
    mel: LogMel

    @abstractmethod
    def network(self, weights: Path) -> nn.Module:
        """The network, pictures (N, ...) -> features (N, D), with these weights.

        Raises:
            InputError: they cannot be read.
        """

    @abstractmethod
    def pictures(self, windows: NDArray[np.float32]) -> Tensor:
        """Windows (N, ``mel.window``), samples in [-1, 1] -> pictures, float32."""

    def load(self, weights: Path, preprocessing: Preprocessing, runtime: Runtime) -> AudioEncoder:  # noqa: ARG002
        """See ``Kind.load``; any snippets do."""
        silence = np.zeros((1, self.mel.window), np.float32)
        example = torch.zeros_like(self.pictures(silence))
        run = self.run(self.network(weights), example, weights, runtime)

        def hear(windows: NDArray[np.float32]) -> NDArray[np.float32]:
            return run(self.pictures(windows))

        return AudioEncoder(thread_safe(hear), self.mel.rate, self.mel.window)
