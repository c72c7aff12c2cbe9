"""A method's network with feature standardisation, a temperature and perhaps a correction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oddframe._utils.determinism import deterministic
from oddframe.features.lazy_array import AnyFeatures
from oddframe.methods.actions import ActionNetwork
from oddframe.methods.layers import SmoothingNetwork
from oddframe.methods.mil.urdmu_network import UrDmuNetwork, UrDmuWithShortcut
from oddframe.timeline import FloatArray

# Dimensions with a smaller standard deviation, as a share of the mean one, are (almost) constant.
# Dividing by it would amplify their noise, so they are divided by the mean one.
_MIN_STD_RATIO = 1e-3
# Snippets of each tile that are scored in one row: attention takes time with the square of it.
_TILE_WINDOW = 2048


class Standardise(nn.Module):
    """(x - mean) / std for each feature dimension; both are (D,), of the training snippets."""

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
        """Leaves features of length ``dim`` as they are."""
        return cls(torch.zeros(dim), torch.ones(dim))

    @classmethod
    def fit(cls, views: Iterable[NDArray[np.floating[Any]]]) -> Standardise:
        """Gives mean 0 and standard deviation 1 over the snippets of all ``views``, each (T, D)."""
        count, total, squares = 0, np.float64(0), np.float64(0)
        for view in views:
            x = view.astype(np.float64)
            count, total, squares = count + len(x), total + x.sum(0), squares + (x**2).sum(0)
        mean = total / count
        std = np.sqrt(np.maximum(squares / count - mean**2, 0))
        typical = float(std.mean()) or 1.0
        std = np.where(std < _MIN_STD_RATIO * typical, typical, std)
        return cls(torch.from_numpy(mean).float(), torch.from_numpy(std).float())


class ModelNetwork(nn.Module):
    """Standardisation, a method's network, a temperature and perhaps a correction.

    MIL training makes logits so large that many scores round to 0 or 1. Logits are therefore
    divided by a temperature (Guo et al., ICML 2017): the same order without ties.
    """

    temperature: Tensor
    # (D,) linear function of the standardised features that is added to the divided logits; from
    # training on few videos (``training/correction.py``).
    correction: Tensor | None

    def __init__(self, standardise: Standardise, network: nn.Module):
        super().__init__()
        self.standardise = standardise
        self.network = network
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("correction", None)

    def forward(self, features: Tensor, spacing: float = 1.0) -> Tensor:
        """(B, T, D) -> scores (B, T) in float64; (B, C, T, D): averaged over the C crops.

        In float32 every logit above 17 would give a score of exactly 1. For ``spacing`` see
        ``SmoothingNetwork``.
        """
        crops = features.shape[1] if features.ndim == 4 else 1
        logits = self.logits(self.standardise(features).flatten(0, -3), spacing)
        return logits.double().sigmoid().view(-1, crops, logits.shape[1]).mean(1)

    def logits(self, x: Tensor, spacing: float = 1.0) -> Tensor:
        """Standardised features (B, T, D) -> (B, T) the logits of the scores."""
        extra = {"spacing": spacing} if isinstance(self.network, SmoothingNetwork) else {}
        logits: Tensor = self.network(x, **extra).logits / self.temperature
        return logits if self.correction is None else logits + x @ self.correction

    def add_correction(self, weights: Tensor) -> None:
        """Add ``weights`` (D,) to the correction."""
        weights = weights.to(self.standardise.mean)
        self.correction = weights if self.correction is None else self.correction + weights

    def score_views(self, array: AnyFeatures, spacing: float = 1.0) -> FloatArray:
        """Features (C crops, T, D) of one video -> mean scores (T,) over the crops."""
        total = np.zeros(array.shape[1])
        for view in array:  # One at a time: ten crops take no more memory than one.
            total += self._scores(view, spacing)
        return total / len(array)

    def standardise_rows(self, rows: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Features (T, D) as the network reads them."""
        mean, std = self.standardise.mean.cpu().numpy(), self.standardise.std.cpu().numpy()
        standardised: NDArray[np.float32] = (rows.astype(np.float32) - mean) / std
        return standardised

    def memory_weights(self, array: AnyFeatures) -> tuple[FloatArray, int] | None:
        """Mean weights (T, M) of the slots of UR-DMU's anomaly memory and its normal one for
        features (C, T, D), and how many are in the first; None: no UR-DMU with both."""
        network = self.network
        if not isinstance(network, UrDmuNetwork | UrDmuWithShortcut):
            return None
        total: FloatArray = np.zeros(())
        split = 0
        for view in array:
            with deterministic(), torch.inference_mode():
                row = torch.from_numpy(view.astype(np.float32))[None]
                weights = network.memory_weights(self.standardise(row.to(self.standardise.mean)))
            if weights is None:
                return None
            split = weights[0].shape[2]
            total = total + torch.cat(weights, dim=2)[0].double().cpu().numpy()
        return total / len(array), split

    def action_probabilities(self, array: AnyFeatures) -> FloatArray:
        """Of features (C, T, 1024), the mean probabilities (T, 400) of the actions that an
        ``ActionNetwork`` knows."""
        assert isinstance(self.network, ActionNetwork)
        total: FloatArray = np.zeros(())
        for view in array:
            with deterministic(), torch.inference_mode():
                x = torch.from_numpy(view.astype(np.float32)).to(self.standardise.mean)
                total = total + self.network.probabilities(x).double().cpu().numpy()
        return total / len(array)

    def score_tiles(self, array: NDArray[np.floating[Any]], spacing: float = 1.0) -> FloatArray:
        """Features (R tiles, T, D) of one video -> scores (R, T). As in training the network gets
        all tiles as one row of snippets, tile after tile; here in windows."""
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
