"""Comparison with reference values that the published code printed.

Tolerances are those of the README of these values: max(1e-5, five times the float32 error of the
published code), relative to the largest magnitude; max(1e-4, ...) for gradients and Adam steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Facts = Mapping[str, Any]
EXCLUDED = "params_with_rounding_noise_gradient_excluded"


def close(ours: Tensor | float, theirs: Any, facts: Facts, section: str, floor: float) -> None:
    """Assert that a value is reproduced."""
    got = ours.detach().numpy() if isinstance(ours, Tensor) else np.array(ours)
    expected = np.array(theirs)
    assert got.shape == expected.shape
    tolerance = max(floor, 5 * facts["float64_check"][section]["max_rel"])
    error = np.abs(got - expected).max() / np.abs(expected).max()
    assert error <= tolerance, f"{section}: off by {error:.1e}, tolerance {tolerance:.1e}"


value_close = partial(close, floor=1e-5)
step_close = partial(close, floor=1e-4)


def row_close(ours: Tensor, figures: Facts, facts: Facts, section: str) -> None:
    """Assert the first eight values of a row, its sum, mean and extremes."""
    value_close(ours[:8], figures["first8"], facts, section)
    for name in {"sum", "mean", "min", "max"} & set(figures):
        value_close(getattr(ours, name)(), figures[name], facts, section)


def tensor_close(ours: Tensor, figures: Facts, facts: Facts, section: str) -> None:
    """Assert shape, mean, standard deviation and the first eight values of a tensor."""
    got = ours.detach()
    assert list(got.shape) == figures["shape"]
    first = got.reshape(-1, got.shape[-1])[0, :8]
    scale = max(np.abs(figures["first8"]).max(), figures["std_pop"])
    assert abs(got.mean() - figures["mean"]) <= 1e-5 * scale
    assert abs(got.std(correction=0) - figures["std_pop"]) <= 1e-5 * scale
    value_close(first, figures["first8"], facts, section)


def gradients_close(
    network: nn.Module, expected: Facts, facts: Facts, section: str = "grad_l2"
) -> None:
    """Assert the norm of every gradient, and that unused parameters have none."""
    found = {name: p.grad for name, p in network.named_parameters()}
    noise = {name.split("/")[-1] for name in facts["float64_check"].get(EXCLUDED, ())}
    for name, figure in expected.items():
        gradient = found[name]
        if figure is None:
            assert gradient is None, name
        elif name not in noise:
            assert gradient is not None, name
            step_close(gradient.double().norm(), figure, facts, section)


def adam(
    network: nn.Module, groups: list[dict[str, Any]], expected: Facts, loss: Callable[[], Tensor]
) -> list[float]:
    """The losses before each of three Adam steps."""
    decay = expected.get("weight_decay", 0.0)
    optimiser = torch.optim.Adam(groups, lr=expected["lr"], weight_decay=decay)
    losses = []
    for _ in range(3):
        total = loss()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        losses.append(total.item())
    return losses


class Watch:
    """Records inputs and outputs of a network's modules by name."""

    def __init__(self, network: nn.Module) -> None:
        self.inputs: dict[str, list[Tensor]] = {}
        self.outputs: dict[str, list[Any]] = {}
        for name, module in network.named_modules():
            module.register_forward_hook(partial(self._keep, name))

    def _keep(self, name: str, _module: nn.Module, args: tuple[Tensor], result: Any) -> None:
        self.inputs.setdefault(name, []).append(args[0])
        self.outputs.setdefault(name, []).append(result)
