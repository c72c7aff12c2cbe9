"""One-class methods: they learn from normal videos alone, and score the distance from them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from oddframe.errors import UsageError
from oddframe.methods.base import ConfigT, Loss, Method, Output, OutputT
from oddframe.methods.shared.layers import mean_over_crops, merge_crops
from oddframe.methods.shared.scores import NormalScaledNetwork

DETECTS_UNUSUAL = "what is unusual"

# Smaller distances, as a share of the edge, get the same score: the logarithm has no limit at 0.
_MIN_DISTANCE_RATIO = 1e-3


class OneClassNetwork(NormalScaledNetwork, ABC):
    """Scores of snippets by their distance from the normal ones."""

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Output:
        """(B, T, D) -> scores (B, T); (B, C, T, D): averaged over the C crops."""
        x, crops = merge_crops(features, labels)
        return mean_over_crops(self.logits(self.distance(x)), crops)

    @abstractmethod
    def distance(self, features: Tensor) -> Tensor:
        """(..., D) -> (...) distance of each snippet from the normal ones, at least 0."""

    @abstractmethod
    def fit_snippets(self, snippets: Tensor) -> None:
        """Fit to normal ``snippets`` (N, D), N at least 1. The result is deterministic."""

    def logits(self, distances: Tensor) -> Tensor:
        """Logits of distances: they increase with the distance, and are 0 at the edge."""
        return self.scale_log_measure(distances.clamp(min=_MIN_DISTANCE_RATIO * self.edge).log())


class OneClass(Method[ConfigT, OutputT]):
    """A method that learns from normal videos alone; its network is a ``OneClassNetwork``.

    By default ``fit_snippets`` is the whole training. With ``closed_form = False`` training by
    optimiser steps follows it.
    """

    Network: type[OneClassNetwork]
    supervision = "normal videos"
    closed_form = True

    def describe_target(self, labels: Iterable[str]) -> str:  # noqa: ARG002
        """What is unusual, whatever it is."""
        return DETECTS_UNUSUAL

    def loss(self, output: OutputT, labels: Tensor, config: Any) -> Loss:  # noqa: ARG002
        """To be overridden where ``closed_form`` is False.

        Raises:
            UsageError: always; there are no steps.
        """
        raise UsageError(f"{self.name} is not trained by steps: fit_snippets fits it at once")
