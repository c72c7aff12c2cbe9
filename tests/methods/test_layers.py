"""Layers that several methods share, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from oddframe.methods.layers import score_mlp
from oddframe.methods.registry import get_method


def test_score_mlp_by_hand() -> None:
    torch.manual_seed(0)
    layers = score_mlp(6, 8, 5, 0.4)
    first, second, last = (layer for layer in layers if isinstance(layer, nn.Linear))
    assert [layer.weight.shape for layer in (first, second, last)] == [(8, 6), (5, 8), (1, 5)]
    x = torch.randn(2, 7, 6)
    expected = last(second(F.relu(first(x))))
    torch.testing.assert_close(layers.eval()(x), expected)
    # Dropout: some numbers of the second layer's input and of the last one's are 0.
    seen: list[torch.Tensor] = []
    for layer in (second, last):
        layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    first.bias.data.fill_(100)  # Nothing is rectified.
    layers.train()(x)
    for given in seen:
        assert 0.1 < (given == 0).float().mean() < 0.7


@pytest.mark.parametrize("name", ["hl_net", "pel4vad"])
def test_initial_weights_are_glorots_and_biases_pytorchs(name: str) -> None:
    method = get_method(name)
    torch.manual_seed(0)
    network = method.network(64, method.Config())
    layers = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv1d)]
    assert layers
    for layer in layers:
        ins, outs = nn.init._calculate_fan_in_and_fan_out(layer.weight)
        bound = (6 / (ins + outs)) ** 0.5
        assert layer.weight.abs().max().item() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.2)
        if layer.bias is not None:
            assert layer.bias.count_nonzero() == layer.bias.numel()
