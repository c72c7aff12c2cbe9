"""UR-DMU as a method: network, loss and the authors' recipe together."""

from __future__ import annotations

from torch import Tensor

from oddframe.methods.base import Loss, Method, Recipe
from oddframe.methods.urdmu.config import UrDmuConfig
from oddframe.methods.urdmu.loss import ur_dmu_loss
from oddframe.methods.urdmu.network import TrainingOutput, UrDmuNetwork


class UrDmu(Method[UrDmuConfig, TrainingOutput]):
    """Dual memory units with uncertainty regulation (Zhou, Yu, Yang; AAAI 2023)."""

    name = "ur_dmu"
    title = "UR-DMU"
    year = 2023
    Config = UrDmuConfig
    recipe = Recipe(optimiser="adam", lr=1e-4, weight_decay=5e-5, steps=3000, segments=200)

    def network(self, dim: int, config: UrDmuConfig) -> UrDmuNetwork:
        """A fresh network for features of length ``dim``."""
        return UrDmuNetwork(dim, config)

    def loss(self, output: TrainingOutput, labels: Tensor, config: UrDmuConfig) -> Loss:
        """See ``ur_dmu_loss``."""
        return ur_dmu_loss(output, labels, config)
