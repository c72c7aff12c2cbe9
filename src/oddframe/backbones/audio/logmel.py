"""Log-mel spectrograms of windows of sound, and the backbones that encode them."""

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


@dataclass(frozen=True)
class LogMel:
    """The parameters of a mel spectrogram.

    Attributes:
        rate: Sampling rate in samples a second.
        frames: Columns of a spectrogram.
        frame: Samples of a column.
        hop: Samples from the start of one column to the start of the next.
        points: Length of the Fourier transform, at least ``frame``; columns are padded with zeros.
        bands: Rows of a spectrogram.
        low: Lower edge of the lowest band, in Hz.
        high: Upper edge of the highest band, in Hz.
        periodic: Whether the Hann window is periodic; else it is symmetric.
        power: Exponent of the spectrum's magnitude.
        unit_sum: Whether the weights of each band sum to 1.
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
        """Samples of a whole spectrogram."""
        return (self.frames - 1) * self.hop + self.frame

    @cached_property
    def _hann(self) -> Tensor:
        return torch.hann_window(self.frame, periodic=self.periodic, dtype=torch.float64)

    @cached_property
    def _filters(self) -> Tensor:
        filters = mel_filters(
            self.bands, self.points, self.rate, self.low, self.high, unit_sum=self.unit_sum
        )
        return torch.from_numpy(filters)

    def spectrogram(self, windows: NDArray[np.float32]) -> Tensor:
        """Compute mel spectrograms (N, frames, bands) of windows (N, ``window``), without the log.

        The result is float64.
        """
        columns = torch.from_numpy(windows).double().unfold(1, self.frame, self.hop)
        spectrum = torch.fft.rfft(columns * self._hann, n=self.points).abs()
        bands: Tensor = spectrum.pow(self.power) @ self._filters
        return bands


def mel_filters(
    bands: int, points: int, rate: int, low: float, high: float, *, unit_sum: bool
) -> NDArray[np.float64]:
    """Compute the weights (points // 2 + 1, bands) that sum a spectrum up in mel bands.

    Each band is a triangle on the mel scale, from the centre of the band below to the centre of the
    band above; all bands have the same width on that scale. See ``LogMel`` for the arguments.
    """
    pitch = _hertz_to_mel(np.linspace(0.0, rate / 2, points // 2 + 1))[:, None]
    lowest, highest = _hertz_to_mel(np.array([low, high]))
    edges = np.linspace(lowest, highest, bands + 2)
    below, centre, above = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (pitch - below) / (centre - below), (above - pitch) / (above - centre)
    weights: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    weights[0] = 0.0  # Ignore the constant component.
    if unit_sum:
        weights /= weights.sum(axis=0)
    return weights


def _hertz_to_mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert frequencies to the mel scale of the HTK toolkit."""
    return np.asarray(1127.0 * np.log1p(hertz / 700.0))


class AudioBackboneSpec(BackboneSpec):
    """A backbone that encodes log-mel spectrograms of windows of sound.

    Attributes:
        mel: Parameters of the spectrograms.
    """

    is_audio = True
    mel: LogMel

    @property
    def window_s(self) -> float:
        """Seconds of a window."""
        return self.mel.window / self.mel.rate

    @abstractmethod
    def load_network(self, weights: Path) -> nn.Module:
        """Load the network: spectrograms (N, ...) -> features (N, D).

        Raises:
            InputError: the weights cannot be read.
        """

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
