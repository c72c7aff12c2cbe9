"""Layers that several methods have, by hand."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from oddframe.methods.shared.layers import scorer


def test_three_layers_have_one_rectifier_and_dropout_behind_two() -> None:
    torch.manual_seed(0)
    layers = scorer(6, 8, 5, 0.4)
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
