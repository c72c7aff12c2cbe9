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
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from oddframe.backbones.base import AudioEncoder, BackboneSpec, thread_safe
from oddframe.backbones.engines import Runtime, openvino_runner
from oddframe.backbones.weights import SHIPPED_WEIGHTS, find_user_weights, read_arrays
from oddframe.timeline import FloatArray
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
    def _hann(self) -> FloatArray:
        return np.hanning(self.frame + 1)[:-1] if self.periodic else np.hanning(self.frame)

    @cached_property
    def _filters(self) -> FloatArray:
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
        return np.asarray(weights)

    def spectrogram(self, windows: NDArray[np.float32]) -> FloatArray:
        """Spectrograms (N, frames, bands) float64, without the log, of windows (N, ``window``)."""
        columns = sliding_window_view(windows.astype(np.float64), self.frame, axis=1)[
            :, :: self.hop
        ]
        spectrum = np.abs(np.fft.rfft(columns * self._hann, n=self.points))
        bands: FloatArray = spectrum**self.power @ self._filters
        return bands


def _hertz_to_mel(hertz: FloatArray) -> FloatArray:
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
    def build_graph(self, weights: Path) -> Any:
        """The network as an OpenVINO model: a spectrogram (1, ...) -> features (1, D)."""

    @abstractmethod
    def log_mel(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the network's input, float32, from windows (N, ``mel.window``) in [-1, 1]."""

    def load(
        self,
        weights: Path,
        preprocessing: Preprocessing,  # noqa: ARG002
        runtime: Runtime,
    ) -> AudioEncoder:
        if runtime.engine == "openvino":
            run = openvino_runner(self.build_graph(weights), runtime)
        else:
            from oddframe.backbones.audio_networks import load_network
            from oddframe.backbones.torch_runner import torch_runner

            dims = self.log_mel(np.zeros((1, self.mel.window), np.float32)).ndim
            run = torch_runner(load_network(self.name, weights), dims, runtime)
        return AudioEncoder(
            thread_safe(lambda windows: run(self.log_mel(windows))), self.mel.rate, self.mel.window
        )


AISFX_WEIGHTS = SHIPPED_WEIGHTS / "aisfx.safetensors"
AISFX_CHANNELS = (64, 128, 256, 512)

_MAX_LOG_MEL = 9.457798957824707  # Of the authors' training data, to scale to [0, 1].


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

    def build_graph(self, weights: Path) -> Any:
        from oddframe.backbones import graph as g

        own = g.Weights(read_arrays(weights, "aisfx"), "aisfx")
        start = g.graph_input(1, self.mel.frames, self.mel.bands)
        x = g.reshape(start, 1, 1, self.mel.frames, self.mel.bands)
        for number, out in enumerate(AISFX_CHANNELS):
            for name in ("conv1", "conv2"):
                weight, bias = own.layer(f"{name}.{number}", (out, g.sizes(x)[1], 3, 3))
                x = g.relu(g.convolve(x, weight, bias))
            if number < len(AISFX_CHANNELS) - 1:
                x = g.halve(x)
        own.check_all_used()
        return g.to_model(g.maximum(g.mean(x, 3), 2), start)

    def log_mel(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Windows (N, 103424) at 44.1 kHz, samples in [-1, 1] -> (N, 100, 96), about 0 to 1."""
        scaled = np.log10(self.mel.spectrogram(windows) * 1e4 + 1) / _MAX_LOG_MEL
        return scaled.astype(np.float32)


AISFX = AisfxSpec()


_LOG_OFFSET = 0.01
VGGISH_BLOCKS = ((64,), (128,), (256, 256), (512, 512))


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

    def build_graph(self, weights: Path) -> Any:
        from oddframe.backbones import graph as g

        own = g.Weights(read_arrays(weights, "VGGish"), "VGGish")
        x = start = g.graph_input(1, 1, self.mel.frames, self.mel.bands)
        number = 0  # Of a layer in the port, which counts ReLU and max-pooling, too.
        for block in VGGISH_BLOCKS:
            for out in block:
                weight, bias = own.layer(f"features.{number}", (out, g.sizes(x)[1], 3, 3))
                x = g.relu(g.convolve(x, weight, bias))
                number += 2
            x = g.halve(x)
            number += 1
        # The weights come from TensorFlow, where channels are the last axis.
        x = g.reshape(g.transpose(x, 0, 2, 3, 1), 1, -1)
        for number, out in ((0, 4096), (2, 4096), (4, 128)):
            weight, bias = own.layer(f"embeddings.{number}", (out, g.sizes(x)[1]))
            x = g.relu(g.linear(x, weight, bias))
        own.check_all_used()
        return g.to_model(x, start)

    def log_mel(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Windows (N, 15600) at 16 kHz, samples in [-1, 1] -> (N, 1, 96, 64)."""
        spectrogram = self.mel.spectrogram(windows)
        return np.log(spectrogram + _LOG_OFFSET).astype(np.float32)[:, None]


VGGISH = VGGishSpec()
