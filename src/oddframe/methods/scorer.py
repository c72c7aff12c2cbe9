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
from oddframe.methods.head import Head
from oddframe.methods.layers import SmoothingNetwork
from oddframe.methods.mil.urdmu_network import UrDmuNetwork, UrDmuWithShortcut
from oddframe.timeline import FloatArray

# Dimensions with a smaller standard deviation, as a share of the mean one, are (almost) constant.
# Dividing by it would amplify their noise, so they are divided by the mean one.
_MIN_STD_RATIO = 1e-3


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


class ModelNetwork(nn.Module, Head):
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

    def tensors(self) -> dict[str, NDArray[Any]]:
        state = self.state_dict()
        return {name: each.detach().cpu().contiguous().numpy() for name, each in state.items()}

    def count_parameters(self) -> int:
        return sum(each.numel() for each in self.parameters())

    def standardise_rows(self, rows: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        mean, std = self.standardise.mean.cpu().numpy(), self.standardise.std.cpu().numpy()
        standardised: NDArray[np.float32] = (rows.astype(np.float32) - mean) / std
        return standardised

    def memory_weights(self, array: AnyFeatures) -> tuple[FloatArray, int] | None:
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

    def _scores(self, row: NDArray[np.floating[Any]], spacing: float) -> FloatArray:
        self.eval()
        with deterministic(), torch.inference_mode():
            x = torch.from_numpy(row.astype(np.float32))[None].to(self.standardise.mean.device)
            scores: FloatArray = self(x, spacing)[0].cpu().numpy()
        return scores
