"""What turns the features of a video into scores: a method's network around it.

A ``Head`` standardises features, runs the network, divides its logits by a temperature and adds a
correction. ``NumpyHead`` does so without PyTorch; ``scorer.ModelNetwork`` is the one that can be
trained.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddframe.features.lazy_array import AnyFeatures
from oddframe.timeline import FloatArray

FloatRows = NDArray[np.float32]
Tensors = Mapping[str, NDArray[Any]]

# Snippets of each tile that are scored in one row: attention takes time with the square of it.
_TILE_WINDOW = 2048


class Head(ABC):
    """Scores of features, and what their reasons need."""

    graph: Mapping[str, Any] | None = None  # See ``head_graph``; a model file has it.

    @abstractmethod
    def _scores(self, row: NDArray[np.floating[Any]], spacing: float) -> FloatArray:
        """Features (T, D) of one view -> scores (T,)."""

    @abstractmethod
    def tensors(self) -> dict[str, NDArray[Any]]:
        """What a model file holds, by name."""

    @abstractmethod
    def count_parameters(self) -> int:
        """How many numbers were learned."""

    @abstractmethod
    def standardise_rows(self, rows: NDArray[np.floating[Any]]) -> FloatRows:
        """Features (T, D) as the network reads them."""

    @abstractmethod
    def memory_weights(self, array: AnyFeatures) -> tuple[FloatArray, int] | None:
        """Mean weights (T, M) of the slots of UR-DMU's anomaly memory and its normal one for
        features (C, T, D), and how many are in the first; None: no UR-DMU with both."""

    def action_probabilities(self, array: AnyFeatures) -> FloatArray | None:  # noqa: ARG002
        """Of features (C, T, 1024), the mean probabilities (T, 400) of the actions of Kinetics-400;
        None: the scores are not made of these."""
        return None

    def score_views(self, array: AnyFeatures, spacing: float = 1.0) -> FloatArray:
        """Features (C, T, D) of one video -> scores (T,), averaged over the C views.

        ``spacing``: as for ``SmoothingNetwork``.
        """
        total = np.zeros(array.shape[1])
        for view in array:  # One at a time: ten crops take no more memory than one.
            total += self._scores(view, spacing)
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


class NumpyHead(Head):
    """A head whose network is a function of NumPy arrays.

    ``logits``: standardised features (T, D) and ``spacing`` -> logits (T,); ``memories``: -> the
    weights (T, M) of the slots of UR-DMU's anomaly memory and of its normal one.
    """

    def __init__(
        self,
        tensors: Tensors,
        parameters: int,
        logits: Callable[[FloatRows, float], NDArray[np.floating[Any]]],
        memories: Callable[[FloatRows], tuple[FloatRows, FloatRows]] | None = None,
        graph: Mapping[str, Any] | None = None,
    ) -> None:
        self._tensors, self._parameters = tensors, parameters
        self._logits, self._memories = logits, memories
        self.graph = graph
        self._mean, self._std = tensors["standardise.mean"], tensors["standardise.std"]
        self._temperature = tensors["temperature"]
        self._correction = tensors.get("correction")

    def tensors(self) -> dict[str, NDArray[Any]]:
        return dict(self._tensors)

    def count_parameters(self) -> int:
        return self._parameters

    def standardise_rows(self, rows: NDArray[np.floating[Any]]) -> FloatRows:
        return np.asarray((rows.astype(np.float32) - self._mean) / self._std, np.float32)

    def memory_weights(self, array: AnyFeatures) -> tuple[FloatArray, int] | None:
        if self._memories is None:
            return None
        total: FloatArray = np.zeros(())
        split = 0
        for view in array:
            anomaly, normal = self._memories(self.standardise_rows(view))
            split = anomaly.shape[1]
            total = total + np.concatenate([anomaly, normal], axis=1).astype(np.float64)
        return total / len(array), split

    def _scores(self, row: NDArray[np.floating[Any]], spacing: float) -> FloatArray:
        x = self.standardise_rows(row)
        logits = self._logits(x, spacing) / self._temperature
        if self._correction is not None:
            logits = logits + x @ self._correction
        # In float32 every logit above 17 would give a score of exactly 1.
        return sigmoid(logits.astype(np.float64))


def identity_tensors(dim: int) -> dict[str, NDArray[Any]]:
    """The tensors of a head that leaves features of length ``dim`` and logits as they are."""
    one = np.ones((), np.float32)
    mean, std = np.zeros(dim, np.float32), np.ones(dim, np.float32)
    return {"standardise.mean": mean, "standardise.std": std, "temperature": one}


def common_shapes(dim: int, names: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors that every head has; ``names``: those of a file."""
    each = dict.fromkeys(("standardise.mean", "standardise.std"), (dim,))
    correction = {"correction": (dim,)} if "correction" in names else {}
    return {**each, "temperature": (), **correction}


def sigmoid(x: FloatArray) -> FloatArray:
    """1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1, small) / (1 + small))


def log_softmax(x: FloatRows) -> FloatRows:
    """The logarithm of the softmax of the last axis."""
    shifted = x - x.max(axis=-1, keepdims=True)
    out: FloatRows = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return out
