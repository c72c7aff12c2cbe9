"""Bags with a planted anomaly that only the labels reveal, and a short training on them.

A bag has sixteen scenes of two snippets. A scene is one of 24 kinds, at equal distances. Kind 0 is
the anomaly: every abnormal bag has it, no normal one does. It is as frequent as the others, overall
and within a bag, so nothing but the labels of the bags tells which kind is abnormal. The offsets of
bags are so large that the mean of a bag does not give its label away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor, nn

from oddframe.methods.base import AnyMethod

KINDS, SCENES, SCENE = 24, 16, 2
SEGMENTS = SCENES * SCENE
HEIGHT, NOISE, OFFSET = 6.0, 0.5, 1.25
OPTIMISERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adagrad": torch.optim.Adagrad,
}


@dataclass(frozen=True)
class Small:
    """A small and fast setting of a method for tests: its config, learning rate and steps."""

    config: Mapping[str, Any] = field(default_factory=dict)
    lr: float = 3e-3
    steps: int = 100


@dataclass(frozen=True)
class Planted:
    """Bags (B, T, D), their labels (B,), and the mask of abnormal snippets (B, T)."""

    bags: Tensor
    labels: Tensor
    odd: Tensor


def planted(n: int, seed: int) -> Planted:
    """``n`` normal and ``n`` abnormal bags; the kinds are the same for every seed."""
    axes = np.linalg.qr(np.random.default_rng(7).normal(size=(KINDS, KINDS)))[0]
    rng = np.random.default_rng(seed)
    labels = np.repeat([0.0, 1.0], n)
    drawn = rng.integers(KINDS, size=(20 * n, SCENES))
    has_odd = (drawn == 0).any(axis=1)
    kinds = np.concatenate([drawn[~has_odd][:n], drawn[has_odd][:n]])
    kinds = kinds.repeat(SCENE, axis=1)
    bags = HEIGHT * axes[kinds] + NOISE * rng.normal(size=(2 * n, SEGMENTS, KINDS))
    bags += OFFSET * rng.normal(size=(2 * n, 1, KINDS))
    return Planted(
        torch.from_numpy(bags).float(),
        torch.from_numpy(labels).float(),
        torch.from_numpy(kinds) == 0,
    )


def trained(
    method: AnyMethod, config: BaseModel, small: Small, bags: Tensor, labels: Tensor, seed: int
) -> nn.Module:
    """The method's network after a short training with eight bags of each class a step.

    On one thread: more would be slower here, and sum floats in another order.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _trained(method, config, small, bags, labels, seed)
    finally:
        torch.set_num_threads(threads)


def _trained(
    method: AnyMethod, config: BaseModel, small: Small, bags: Tensor, labels: Tensor, seed: int
) -> nn.Module:
    torch.manual_seed(seed)
    network = method.network(bags.shape[2], config).train()
    groups = method.parameter_groups(network, config)
    recipe = method.recipe
    optimiser = OPTIMISERS[recipe.optimiser](groups, lr=small.lr, weight_decay=recipe.weight_decay)
    kinds = [(labels == kind).nonzero()[:, 0] for kind in (0, 1)]
    for step in range(small.steps):
        method.begin_step(network, step / small.steps, config)
        chosen = torch.cat([kind[torch.randperm(len(kind))[:8]] for kind in kinds])
        loss = method.loss(network(bags[chosen], labels[chosen]), labels[chosen], config)
        optimiser.zero_grad()
        loss.total.backward()
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_norm)
        optimiser.step()
    return network.eval()
