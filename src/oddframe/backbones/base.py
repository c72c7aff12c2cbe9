"""What a backbone is: snippets of pictures or windows of sound in, feature vectors out.

A ``BackboneSpec`` knows one network: its name, the length of its features, where its weights are,
and how
to load them. It is found by name in ``registry.py``; adding one takes one module and one line
there. A ``Backbone`` is what is loaded: one network, or several whose features stand side by side.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oddframe._utils.files import file_sha256
from oddframe.backbones.engines import Runner, Runtime, build_runner
from oddframe.video.snippets.transforms import Preprocessing

EncodeSnippets = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
EncodeWindows = Callable[[NDArray[np.float32]], NDArray[np.float32]]
_InputT = TypeVar("_InputT")
EncodeFunction = Callable[[_InputT], NDArray[np.float32]]

# The whole picture, once: what a backbone gets where nothing else is said.
FULL_FRAME = Preprocessing(resize=(224, 224), filter="bicubic", crops=("full",))


@dataclass(frozen=True)
class VisualEncoder:
    """A loaded network that looks.

    Attributes:
        encode: Snippets (N, frames, height, width, 3) uint8, RGB -> features (N, D) float32; of R
            regions (N R, D), a snippet's one after the other.
        batch_size: Snippets a call that make good use of the device.
    """

    encode: EncodeSnippets
    batch_size: int = 1


@dataclass(frozen=True)
class AudioEncoder:
    """A loaded network that listens; always in float32.

    Attributes:
        encode: Windows (N, ``window``) float32, samples in [-1, 1] -> features (N, D) float32.
        rate: Samples a second.
        window: Samples that it listens to for one feature.
    """

    encode: EncodeWindows
    rate: int
    window: int


class BackboneSpec(ABC):
    """A kind of network.

    Attributes:
        name: In the registry and in every ``FeatureSpec``.
        title: In print.
        dim: Length D of a feature.
        is_audio: To the sound; else it looks at the picture.
        supports_regions: Gives features of regions, too, see ``video/views.py``.
        preprocessing: How videos are cut for it where nothing else is said.
    """

    name: str
    title: str
    dim: int
    is_audio: bool = False
    supports_regions: bool = False
    preprocessing: Preprocessing = FULL_FRAME

    @abstractmethod
    def weights(self) -> Path:
        """The weights that are used where no others are given.

        Raises:
            InputError: they are the user's to get; one line says from where, and where to put them.
        """

    def sha256(self, weights: Path) -> str:
        """What names the weights in a ``FeatureSpec``: sha256 (hex) of the file.

        Raises:
            InputError: it cannot be read.
        """
        return file_sha256(weights)

    def run(
        self,
        network: nn.Module,
        example: Tensor,
        weights: Path,
        runtime: Runtime,
        *,
        batch_of_one: bool = False,
        variant: str = "",
    ) -> Runner:
        """``network`` on the chosen engine, any batch size; if it is converted, that is kept.

        Args:
            network: With ``weights``; takes (N, channels, ...) float32.
            example: (1, channels, ...), of the only size that it will be given.
            weights: Where they are from.
            runtime: Where and how it runs.
            batch_of_one: The network takes batches of one only.
            variant: What else tells it from others of these weights; names it where it is kept.
        """
        size = "x".join(map(str, example.shape[2:]))
        suffix = "-alone" if batch_of_one else ""
        key = f"{self.name}-{self.sha256(weights)[:12]}-{size}{variant}{suffix}"
        return build_runner(network, example, runtime, key, batch_of_one=batch_of_one)

    @abstractmethod
    def load(
        self, weights: Path, preprocessing: Preprocessing, runtime: Runtime
    ) -> VisualEncoder | AudioEncoder:
        """The network, ready for snippets of the crop size and length of ``how``.

        Raises:
            InputError: the weights cannot be read.
            UsageError: it cannot look at such snippets, or not with that engine.
        """


@dataclass(frozen=True)
class Backbone:
    """Networks ready to run, their features side by side; threads may share it: they take turns.

    Attributes:
        name: In the registry: ``i3d``; of several ``i3d+vggish``, those that look first.
        dims: Length of each network's features, in this order.
        weights_sha256: Of each network's weights, with ``+`` between them.
        runtime: Engine, device and precision of those that look.
        visual_encoders: Those that look.
        audio_encoders: Those that listen.
    """

    name: str
    dims: tuple[int, ...]
    weights_sha256: str
    runtime: Runtime
    visual_encoders: tuple[VisualEncoder, ...]
    audio_encoders: tuple[AudioEncoder, ...] = ()

    @property
    def dim(self) -> int:
        """Length D of the whole feature."""
        return sum(self.dims)

    @property
    def visual_dim(self) -> int:
        """Length of what the networks that look give."""
        return sum(self.dims[: len(self.visual_encoders)])

    @property
    def batch_size(self) -> int:
        """Snippets a call that make good use of the device."""
        return min((eye.batch_size for eye in self.visual_encoders), default=1)

    def __call__(self, snippets: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Snippets (N, frames, height, width, 3), RGB in 0..255 -> (N, ``visual_dim``).

        Of R regions (N R, ``visual_dim``).
        """
        return np.concatenate([eye.encode(snippets) for eye in self.visual_encoders], axis=1)


def to_input(snippets: NDArray[np.uint8], device: str = "cpu") -> Tensor:
    """(N, frames, height, width, 3) uint8 -> (N, 3, frames, height, width) float32 in [-1, 1]."""
    x = torch.from_numpy(np.ascontiguousarray(snippets)).to(device).permute(0, 4, 1, 2, 3)
    if device == "cpu":  # Other engines read it in this order.
        return x.to(torch.float32, memory_format=torch.contiguous_format).mul_(2 / 255).sub_(1)
    # Copy bytes to the graphics card, a quarter of the floats; channels last is faster there.
    return x.to(torch.float32).mul_(2 / 255).sub_(1)


def batch_size_for(runtime: Runtime) -> int:
    """Snippets a call; on a CPU a batch is no faster than one by one, and fills more cache."""
    return 16 if runtime.device == "cuda" else 1


def thread_safe(
    network: Callable[[_InputT], NDArray[np.float32]],
) -> Callable[[_InputT], NDArray[np.float32]]:
    """The same for threads: an engine already uses all of its device for one batch."""
    lock = Lock()

    def locked(given: _InputT) -> NDArray[np.float32]:
        with lock:
            return network(given)

    return locked
