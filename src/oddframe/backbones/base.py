"""What a backbone is: a pretrained network that encodes snippets or windows of sound as features.

A ``BackboneSpec`` describes one network: its name, the length of its features, where its weights
are, and how to load it. ``registry.py`` lists the specs. A ``Backbone`` is loaded: one network, or
several whose features are concatenated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from oddframe._utils.files import file_sha256
from oddframe.backbones.engines import Runner, Runtime, openvino_runner
from oddframe.video.snippets.preprocessing import Preprocessing

if TYPE_CHECKING:
    from torch import Tensor, nn

# The default preprocessing: the whole picture, once.
FULL_FRAME = Preprocessing(resize=(224, 224), filter="bicubic", crops=("full",))

# Where weights come from: with oddframe, from the user, or the backbone has none.
WeightsOrigin = Literal["shipped", "user", "none"]

_InputT = TypeVar("_InputT")


@dataclass(frozen=True)
class VisualEncoder:
    """A loaded network that encodes snippets.

    Attributes:
        encode: Snippets (N, frames, height, width, 3) uint8, RGB -> features (N, D) float32. With R
            regions -> (N R, D), the regions of a snippet one after the other.
        batch_size: Snippets for each call that use the device well.
    """

    encode: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    batch_size: int = 1


@dataclass(frozen=True)
class AudioEncoder:
    """A loaded network that encodes windows of sound; it always computes in float32.

    Attributes:
        encode: Windows (N, ``window``) float32, samples in [-1, 1] -> features (N, D) float32.
        rate: Sampling rate in samples a second.
        window: Samples of a window.
    """

    encode: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    rate: int
    window: int


class BackboneSpec(ABC):
    """One network: its description, and how to load it.

    Attributes:
        name: In the registry and in every ``FeatureSpec``.
        title: One line that describes it.
        dim: Length D of a feature.
        is_audio: Whether it encodes sound; else it encodes the picture.
        supports_regions: Whether it also gives features of regions, see ``with_regions``.
        preprocessing: How videos become snippets by default.
        weights_origin: Where its weights come from.
        license: Licence of the weights; "": not known, or there are no weights.
    """

    name: str
    title: str
    dim: int
    is_audio: bool = False
    supports_regions: bool = False
    preprocessing: Preprocessing = FULL_FRAME
    weights_origin: WeightsOrigin = "user"
    license: str = ""

    @property
    def window_frames(self) -> int | None:
        """Frames of a snippet that the network reads; None: it encodes sound."""
        return None if self.is_audio else self.preprocessing.snippet_frames

    @property
    def window_s(self) -> float | None:
        """Seconds of sound that the network reads for a feature; None: it encodes the picture."""
        return None

    @abstractmethod
    def find_weights(self) -> Path:
        """Find the file with the default weights.

        Raises:
            InputError: the user has to provide it; the message says where to get it, and where to
                put it.
        """

    def hash_weights(self, weights: Path | None = None) -> str:
        """Compute the sha256 (hex) that identifies the weights in a ``FeatureSpec``.

        Args:
            weights: File with the weights; None: the default weights.

        Raises:
            InputError: the file cannot be found or read.
        """
        return file_sha256(weights or self.find_weights())

    @abstractmethod
    def load(
        self, weights: Path, preprocessing: Preprocessing, runtime: Runtime
    ) -> VisualEncoder | AudioEncoder:
        """Load the network.

        Args:
            weights: File with the weights.
            preprocessing: Crop size and length of the snippets that it will encode.
            runtime: Engine, device and precision.

        Raises:
            InputError: the weights cannot be read.
            UsageError: the network cannot encode such snippets, or does not run on that engine.
        """

    def build_runner(self, network: nn.Module, example: Tensor, runtime: Runtime) -> Runner:
        """Prepare a network that is written in PyTorch for the chosen engine.

        For OpenVINO it is converted, which takes seconds. The networks that come with oddframe are
        built as OpenVINO graphs instead (``graph.py``), so that they run without PyTorch.

        Args:
            network: Takes (N, channels, ...) float32.
            example: (1, channels, ...), an input of the only size that will be used.
            runtime: Engine, device and precision.
        """
        from oddframe.backbones.torch_runner import convert, torch_runner

        if runtime.engine == "openvino":
            return openvino_runner(convert(network.eval(), example), runtime)
        return torch_runner(network, example.dim(), runtime)


@dataclass(frozen=True)
class Backbone:
    """One or several loaded networks, whose features are concatenated; threads may share it."""

    name: str  # Of several ``i3d+vggish``, visual ones first.
    dims: tuple[int, ...]  # Length of each network's features.
    weights_sha256: str  # Of each network's weights, joined by ``+``.
    runtime: Runtime  # Of the visual encoders.
    visual_encoders: tuple[VisualEncoder, ...]
    audio_encoders: tuple[AudioEncoder, ...] = ()

    @property
    def dim(self) -> int:
        return sum(self.dims)

    @property
    def visual_dim(self) -> int:
        """Length of the concatenated visual features."""
        return sum(self.dims[: len(self.visual_encoders)])

    @property
    def batch_size(self) -> int:
        """Snippets for each call that use the device well."""
        return min((encoder.batch_size for encoder in self.visual_encoders), default=1)

    def __call__(self, snippets: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode the picture of snippets (N, frames, height, width, 3), RGB in 0..255.

        Returns (N, ``visual_dim``); with R regions (N R, ``visual_dim``).
        """
        features = [encoder.encode(snippets) for encoder in self.visual_encoders]
        return np.concatenate(features, axis=1)


def to_input(snippets: NDArray[np.uint8], device: str = "cpu") -> Any:
    """(N, frames, height, width, 3) uint8 -> (N, 3, frames, height, width) float32 in [-1, 1].

    The input of a runner: an array, on a graphics card a tensor.
    """
    if device != "cpu":
        from oddframe.backbones.torch_runner import to_tensor

        return to_tensor(snippets, device)
    x = snippets.transpose(0, 4, 1, 2, 3).astype(np.float32, order="C")
    x *= np.float32(2 / 255)
    x -= np.float32(1)
    return x


def batch_size_for(runtime: Runtime) -> int:
    """Choose the batch size; on a CPU larger batches are no faster, and fill more of its cache."""
    return 16 if runtime.device == "cuda" else 1


def thread_safe(
    encode: Callable[[_InputT], NDArray[np.float32]],
) -> Callable[[_InputT], NDArray[np.float32]]:
    """Let one thread at a time call ``encode``: one batch already uses the whole device."""
    lock = Lock()

    def locked(batch: _InputT) -> NDArray[np.float32]:
        with lock:
            return encode(batch)

    return locked


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Compute how many cells TensorFlow's SAME padding adds before and behind ``size`` cells."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def overlapping_windows(size: int, n: int) -> list[slice]:
    """``n`` windows that overlap their neighbours by half and cover an axis of ``size`` cells."""
    width = -(-2 * size // (n + 1))
    starts = [round(i * (size - width) / max(1, n - 1)) for i in range(n)]
    return [slice(start, start + width) for start in starts]
