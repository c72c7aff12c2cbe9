"""Normality: the distance of a snippet from the normal ones, learned from normal video alone.

With a memory of one unit it is the Mahalanobis distance from the mean, with all snippets the
nearest-neighbour distance. It is fitted at once, so no training can collapse or not converge.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from oddframe.methods.base import MethodInfo, OneClass, Output, Recipe
from oddframe.methods.config import MethodConfig, Width
from oddframe.methods.layers import OneClassNetwork

_LLOYD_STEPS = 20


class NormalityConfig(MethodConfig):
    units: Width = 512  # size of the memory; if there are fewer normal snippets, all are kept
    neighbours: Width = 3  # nearest units whose distances are averaged
    # Shrinkage of the covariance of normal snippets to a multiple of the identity, before
    # whitening; 1: features are not whitened.
    shrinkage: float = Field(default=0.1, gt=0, le=1)


class NormalityNetwork(OneClassNetwork):
    """Distance to the nearest of at most M memory units."""

    whiten: Tensor  # (D, D)
    memory: Tensor  # (M, D) whitened units; the first ``filled`` are used
    filled: Tensor  # () number of used units

    def __init__(self, dim: int, config: NormalityConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("whiten", torch.eye(dim))
        self.register_buffer("memory", torch.zeros(config.units, dim))
        self.register_buffer("filled", torch.ones((), dtype=torch.int64))

    def distance(self, features: Tensor) -> Tensor:
        """(..., D) -> (...) mean distance to the nearest units, in whitened space."""
        units = self.memory[: int(self.filled)]
        distances = torch.cdist((features @ self.whiten).flatten(0, -2), units)
        nearest = distances.topk(min(self.config.neighbours, len(units)), dim=-1, largest=False)
        return nearest.values.mean(-1).view(features.shape[:-1])

    def fit_snippets(self, snippets: Tensor) -> None:
        whiten = whitening_matrix(snippets, self.config.shrinkage)
        units = lloyd_centres(snippets @ whiten, self.config.units)
        self.whiten.copy_(whiten)
        self.memory[: len(units)] = units
        self.filled.fill_(len(units))


def whitening_matrix(x: Tensor, shrinkage: float) -> Tensor:
    """(D, D) inverse square root of the shrunk covariance of ``x`` (N, D)."""
    x = x.double()
    dim = x.shape[1]
    centred = x - x.mean(0)
    covariance = centred.T @ centred / len(x)
    typical = float(covariance.diagonal().mean()) or 1.0
    shrunk = (1 - shrinkage) * covariance + shrinkage * typical * torch.eye(dim, dtype=x.dtype)
    values, vectors = torch.linalg.eigh(shrunk)
    root: Tensor = (vectors / values.clamp(min=shrinkage * typical).sqrt()) @ vectors.T
    return root.float()


def lloyd_centres(x: Tensor, most: int) -> Tensor:
    """(min(N, most), D) centres of ``x`` (N, D) by Lloyd's algorithm; deterministic.

    It starts at evenly spaced rows. The centre of an empty cluster is kept.
    """
    if len(x) <= most:
        return x
    if most == 1:
        return x.mean(0, keepdim=True)
    start = torch.linspace(0, len(x) - 1, most).round().long()
    units = x[start]
    for _ in range(_LLOYD_STEPS):
        nearest = torch.cdist(x, units).argmin(1)
        counts = torch.bincount(nearest, minlength=most)
        sums = torch.zeros_like(units).index_add_(0, nearest, x)
        updated = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], units)
        if torch.equal(updated, units):
            break
        units = updated
    return units


class Normality(OneClass[NormalityConfig, Output]):
    name = "normality"
    title = "Normality"
    year = 2022
    info = MethodInfo(
        paper="Ours; after Roth et al., Towards Total Recall in Industrial Anomaly Detection, "
        "CVPR 2022, who do it for patches of images",
        inputs="snippet features",
        checked="ours",
        evidence="distances against their definitions",
    )
    Config = NormalityConfig
    Network = NormalityNetwork
    recipe = Recipe(steps=1)
    squares = 4  # What is unusual is often small: docs/methods/normality.md has what this gives.
