"""UR-DMU as a method: its network, loss and the authors' recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from oddframe.methods.base import Loss, MethodInfo, Recipe, WeaklySupervised
from oddframe.methods.urdmu.config import UrDmuConfig
from oddframe.methods.urdmu.loss import ur_dmu_loss
from oddframe.methods.urdmu.network import UrDmuNetwork, UrDmuOutput, UrDmuWithShortcut


class UrDmu(WeaklySupervised[UrDmuConfig, UrDmuOutput]):
    """Dual memory units with uncertainty regulation (Zhou, Yu, Yang; AAAI 2023)."""

    name = "ur_dmu"
    title = "UR-DMU"
    year = 2023
    info = MethodInfo(
        paper="Zhou, Yu, Yang: Dual Memory Units with Uncertainty Regulation for Weakly Supervised "
        "Video Anomaly Detection, AAAI 2023",
        inputs="snippet features, optionally with 128 audio values",
        checked="parity",
        evidence="scores, intermediates, selections, losses, gradients and three Adam steps of the "
        "published code",
    )
    Config = UrDmuConfig
    supports_microbatches = True  # Bags are paired by index, and every term is a mean.
    recipe = Recipe(optimiser="adam", lr=1e-4, weight_decay=5e-5, steps=3000, segments=200)

    def network(self, dim: int, config: UrDmuConfig) -> UrDmuNetwork | UrDmuWithShortcut:
        """Build the network, with the linear shortcut if the config has one."""
        network = UrDmuNetwork(dim, config)
        return UrDmuWithShortcut(dim, network, config.deep_share) if config.shortcut else network

    def loss(self, output: UrDmuOutput, labels: Tensor, config: UrDmuConfig) -> Loss:
        """See ``ur_dmu_loss``."""
        return ur_dmu_loss(output, labels, config)

    def parameter_groups(self, network: nn.Module, config: UrDmuConfig) -> list[dict[str, Any]]:
        """The linear shortcut has a group of its own, with its own settings."""
        if not isinstance(network, UrDmuWithShortcut):
            return super().parameter_groups(network, config)
        own = {"lr": config.shortcut_lr, "weight_decay": config.shortcut_weight_decay}
        return [
            {"params": list(network.base.parameters())},
            {"params": list(network.shortcut.parameters()), **own},
        ]

    def config_from_checkpoint(self, state: Mapping[str, Tensor]) -> tuple[int, UrDmuConfig] | None:
        first = state.get("embedding.conv_1.0.weight")
        memories = [state.get(f"{memory}memory.memory_block") for memory in "AN"]
        if first is None or first.ndim != 3 or any(m is None or m.ndim != 2 for m in memories):
            return None
        anomaly, normal = (len(memory) for memory in memories if memory is not None)
        return first.shape[1], UrDmuConfig(anomaly_slots=anomaly, normal_slots=normal)
