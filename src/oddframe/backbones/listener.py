"""Networks that listen to log-mel pictures of windows of sound."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oddframe.backbones.base import Ear, Kind, in_turns
from oddframe.backbones.engines import Choice
from oddframe.backbones.logmel import LogMel
from oddframe.video.preprocessing import Preprocessing


class Listener(Kind):
    """A kind of such a network.

    Attributes:
        mel: How a window becomes a picture.
    """

    listens = True
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

    def load(self, weights: Path, how: Preprocessing, choice: Choice) -> Ear:  # noqa: ARG002
        """See ``Kind.load``; any snippets do."""
        silence = np.zeros((1, self.mel.window), np.float32)
        example = torch.zeros_like(self.pictures(silence))
        run = self.run(self.network(weights), example, weights, choice)

        def hear(windows: NDArray[np.float32]) -> NDArray[np.float32]:
            return run(self.pictures(windows))

        return Ear(in_turns(hear), self.mel.rate, self.mel.window)
