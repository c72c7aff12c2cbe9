"""Normality: how far a snippet is from everything normal, learned from normal video alone.

A memory of normal snippets in whitened feature space; a snippet's distance is the mean of those to
its nearest memory units. With one unit it is the Mahalanobis distance to the mean, with all
snippets the nearest-neighbour distance (as PatchCore, Roth et al., CVPR 2022, on features of
images). Nothing here is trained by steps, so nothing can collapse or fail to converge: the memory
and its scale are found from the normal snippets at once, by ``fit_one_class`` in ``training``.
"""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from oddframe.errors import UsageError
from oddframe.methods.base import MAX_WIDTH, Loss, Method, MethodInfo, Output, Recipe
from oddframe.methods.one_class.base import OneClassNetwork

_LLOYD_STEPS = 20


class NormalityConfig(BaseModel):
    """Settings of normality.

    Attributes:
        units: Most units of the memory; fewer normal snippets than that are all kept.
        neighbours: Nearest units whose distances are averaged.
        shrinkage: How far the covariance of normal snippets is drawn to a sphere before features
            are whitened by it; 1: features are not whitened.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    units: int = Field(default=512, ge=1, le=MAX_WIDTH)
    neighbours: int = Field(default=3, ge=1, le=MAX_WIDTH)
    shrinkage: float = Field(default=0.1, gt=0, le=1)


class NormalityNetwork(OneClassNetwork):
    """The distance to what is normal, as a score; D features in, at most M memory units."""

    whiten: Tensor  # (D, D)
    memory: Tensor  # (M, D) units, whitened; those from ``filled`` on are not used
    filled: Tensor  # () units that are there

    def __init__(self, dim: int, config: NormalityConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("whiten", torch.eye(dim))
        self.register_buffer("memory", torch.zeros(config.units, dim))
        self.register_buffer("filled", torch.ones((), dtype=torch.int64))

    def distance(self, features: Tensor) -> Tensor:
        """(..., D) -> (...) mean distance to the nearest units, in deviations of normal ones."""
        units = self.memory[: int(self.filled)]
        far = torch.cdist((features @ self.whiten).flatten(0, -2), units)
        nearest = far.topk(min(self.config.neighbours, len(units)), dim=-1, largest=False)
        return nearest.values.mean(-1).view(features.shape[:-1])

    def fit_snippets(self, snippets: Tensor) -> None:
        """Take normal ``snippets`` (N, D), N at least 1, as what is normal; the same ones in the
        same order give the same memory."""
        whiten = whitening_matrix(snippets, self.config.shrinkage)
        units = lloyd_centres(snippets @ whiten, self.config.units)
        self.whiten.copy_(whiten)
        self.memory[: len(units)] = units
        self.filled.fill_(len(units))


def whitening_matrix(x: Tensor, shrinkage: float) -> Tensor:
    """(D, D): the inverse root of the covariance of ``x`` (N, D), shrunk to its mean variance."""
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
    """(min(N, most), D) centres of ``x`` (N, D) by Lloyd's algorithm, without chance.

    It starts at evenly spaced rows; a centre that no row is nearest to stays where it is.
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
        moved = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], units)
        if torch.equal(moved, units):
            break
        units = moved
    return units


class Normality(Method[NormalityConfig, Output]):
    """Distance to a memory of normal snippets."""

    name = "normality"
    title = "Normality"
    year = 2022
    info = MethodInfo(
        paper="Ours; after Roth et al., Towards Total Recall in Industrial Anomaly Detection, "
        "CVPR 2022, whose instances are patches of images",
        inputs="snippet features",
        supervision="normal videos",
        checked="ours",
        evidence="distances against their definitions",
    )
    Config = NormalityConfig
    recipe = Recipe(steps=1)
    one_class = True

    def network(self, dim: int, config: NormalityConfig) -> NormalityNetwork:
        """A network that remembers nothing yet."""
        return NormalityNetwork(dim, config)

    def loss(self, output: Output, labels: Tensor, config: NormalityConfig) -> Loss:  # noqa: ARG002
        """None.

        Raises:
            UsageError: always; what is normal is remembered at once, not learned by steps.
        """
        raise UsageError("normality is not trained by steps: fit_normal finds it at once")
