"""Weights, inputs and noise by formula, as in the reference values of the published code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

AROUND_ONE = ("norm_weight", "running_var")


def _count(shape: Sequence[int]) -> np.ndarray:
    return np.arange(1, int(np.prod(shape)) + 1, dtype=np.float64)


def _tensor(values: np.ndarray, shape: Sequence[int]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).view(*shape)


def fill(network: nn.Module, tensors: Sequence[Mapping[str, Any]], seed: float) -> None:
    """Give every tensor of the network its values; ``tensors`` are the rows of a facts file."""
    state = network.state_dict()
    assert list(state) == [row["name"] for row in tensors]
    for row in tensors:
        if row["kind"] in ("kept", "counter"):
            state[row["name"]].fill_(row["value"])
            continue
        n = _count(row["shape"])
        wave = np.sin(0.7390851 * n + 1.6180339 * row["i"] + seed + 40 * np.sin(0.6180339 * n))
        values = _tensor((row["kind"] in AROUND_ONE) + row["scale"] * wave, row["shape"])
        assert abs(values.double().norm().item() / row["l2"] - 1) < 1e-6, row["name"]
        state[row["name"]].copy_(values)


def features(shape: Sequence[int], seed: float) -> Tensor:
    """Input features."""
    n = _count(shape)
    wave = np.sin(0.1234567 * n + seed + 2 * np.sin(0.0031 * n) + 3 * np.sin(0.7548777 * n))
    return _tensor(0.5 * np.abs(wave) * (1 + 0.5 * np.sin(0.0007 * n + seed)), shape)


def rectified(shape: Sequence[int], seed: float) -> Tensor:
    """Input features that are often zero."""
    n = _count(shape)
    wave = np.sin(0.1234567 * n + seed + 2 * np.sin(0.0031 * n))
    return _tensor(0.5 * np.maximum(wave, 0) * (1 + 0.5 * np.sin(0.0007 * n + seed)), shape)


def noise(like: Tensor, seed: float) -> Tensor:
    """Replaces standard normal noise."""
    return _tensor(np.cos(0.37 * _count(like.shape) + seed), like.shape)
