"""What methods share that know normal videos alone: a distance from them, and its scale."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from oddframe.methods.base import Output
from oddframe.methods.shared.layers import mean_over_crops, merge_crops
from oddframe.methods.shared.scores import NormalScaledNetwork

# Distances below this share of the edge's are all as near as can be.
_MIN_DISTANCE_RATIO = 1e-3


class OneClassNetwork(NormalScaledNetwork, ABC):
    """The distance of snippets from what is normal, as a score."""

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Output:
        """(B, T, D) -> scores (B, T); (B, C, T, D): averaged over the C crops."""
        x, crops = merge_crops(features, labels)
        return mean_over_crops(self.logits(self.distance(x)), crops)

    @abstractmethod
    def distance(self, features: Tensor) -> Tensor:
        """(..., D) -> (...) how far each snippet is from what is normal, at least 0."""

    @abstractmethod
    def fit_snippets(self, snippets: Tensor) -> None:
        """Take normal ``snippets`` (N, D), N at least 1, as what is normal; the same ones in the
        same order give the same network."""

    def logits(self, distances: Tensor) -> Tensor:
        """Logits of distances: they rise with them, and are 0 at the edge."""
        return self.scaled(distances.clamp(min=_MIN_DISTANCE_RATIO * self.edge).log())
