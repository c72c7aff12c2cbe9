"""A method's network between what every method needs: standardised features, honest scores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oddframe._utils.determinism import deterministic
from oddframe.features.lazy_array import AnyFeatures
from oddframe.methods.shared.scores import SmoothingNetwork
from oddframe.timeline import FloatArray

# A dimension that (almost) never moves says nothing, and dividing by its spread would shout it.
_MIN_STD_RATIO = 1e-3


class Standardise(nn.Module):
    """(x − mean) / std per feature dimension, both (D,), as found over the training snippets."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.std

    @classmethod
    def identity(cls, dim: int) -> Standardise:
        """Features as they are."""
        return cls(torch.zeros(dim), torch.ones(dim))

    @classmethod
    def fit(cls, views: Iterable[NDArray[np.floating[Any]]]) -> Standardise:
        """To mean 0 and deviation 1 over the snippets of all ``views``, each (T, D)."""
        count, total, squares = 0, np.float64(0), np.float64(0)
        for view in views:
            x = view.astype(np.float64)
            count, total, squares = count + len(x), total + x.sum(0), squares + (x**2).sum(0)
        mean = total / count
        std = np.sqrt(np.maximum(squares / count - mean**2, 0))
        typical = float(std.mean()) or 1.0
        std = np.where(std < _MIN_STD_RATIO * typical, typical, std)
        return cls(torch.from_numpy(mean).float(), torch.from_numpy(std).float())


# Snippets of each tile that are looked at together: attention over more takes its square in time.
_TILE_WINDOW = 2048


class ModelNetwork(nn.Module):
    """Standardisation, a method's network, a temperature.

    MIL drives a network's logits so far out that scores of 0 and 1 can no longer be told apart, and
    a ranking or a threshold among them means nothing. Scores are therefore the sigmoid of logits
    over a temperature (Guo et al., ICML 2017): their order stays, their ties go. At temperature 1
    they are the network's own.
    """

    temperature: Tensor

    def __init__(self, standardise: Standardise, network: nn.Module):
        super().__init__()
        self.standardise = standardise
        self.network = network
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, features: Tensor, spacing: float = 1.0) -> Tensor:
        """Scores (B, T), in float64, of (B, T, D), or of (B, C, T, D), averaged over the C crops.

        ``spacing``: the step between snippets over that of the profile ``best``; see
        ``SmoothingNetwork``. In
        float32 all logits above 17 would be scores of 1, and what is oddest could not be told from
        what is odd.
        """
        crops = features.shape[1] if features.ndim == 4 else 1
        x = self.standardise(features).flatten(0, -3)
        told = {"spacing": spacing} if isinstance(self.network, SmoothingNetwork) else {}
        logits: Tensor = self.network(x, **told).logits / self.temperature
        return logits.double().sigmoid().view(-1, crops, logits.shape[1]).mean(1)

    def score_views(self, array: AnyFeatures, spacing: float = 1.0) -> FloatArray:
        """(C views, T, D) of one video -> (T,) scores: the mean over what all show the same."""
        total = np.zeros(array.shape[1])
        for view in array:  # One at a time: ten take no more memory than one.
            total += self._scores(view, spacing)
        return total / len(array)

    def score_tiles(self, array: NDArray[np.floating[Any]], spacing: float = 1.0) -> FloatArray:
        """(R tiles, T, D) of one video -> (R, T) scores, a tile's snippets after the other's.

        As in training the network sees all tiles in one row, in windows of 2,048 snippets.
        """
        tiles, length, _ = array.shape
        parts = []
        for start in range(0, length, _TILE_WINDOW):
            window = array[:, start : start + _TILE_WINDOW]
            row = window.reshape(-1, window.shape[2])
            parts.append(self._scores(row, spacing).reshape(tiles, -1))
        return np.concatenate(parts, axis=1)

    def _scores(self, row: NDArray[np.floating[Any]], spacing: float) -> FloatArray:
        with deterministic(), torch.inference_mode():
            x = torch.from_numpy(row.astype(np.float32))[None].to(self.standardise.mean.device)
            scores: FloatArray = self(x, spacing)[0].cpu().numpy()
        return scores
