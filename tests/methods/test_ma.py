"""MA: loss by hand."""

from __future__ import annotations

import pytest
import torch

from oddframe.methods.mil.ma import MaOutput
from oddframe.methods.registry import get_method

METHOD = get_method("ma")
LABELS = torch.tensor([0.0, 1.0])


def test_loss_by_hand() -> None:
    scores = torch.tensor([[0.1, 0.3], [0.9, 0.5]])
    weights = torch.tensor([[0.5, 0.5], [0.75, 0.25]])
    loss = METHOD.loss(MaOutput(scores, scores.logit(), weights), LABELS, METHOD.Config())
    rank = 1 - (0.75 * 0.9 + 0.25 * 0.5) + (0.1 + 0.3) / 2
    assert loss.terms["rank"].item() == pytest.approx(rank)
    assert loss.total.item() == pytest.approx(rank + 8e-5 * (0.4**2 + 1.4))


def test_attention_is_over_the_snippets_of_a_bag_and_starts_equal() -> None:
    torch.manual_seed(0)
    network = METHOD.network(5, METHOD.Config(hidden=8))
    x = torch.randn(2, 7, 5)
    torch.testing.assert_close(network(x, LABELS).weights, torch.full((2, 7), 1 / 7))
    torch.nn.init.normal_(network.attention[-1].weight)
    out = network(x, LABELS)
    torch.testing.assert_close(out.weights.sum(1), torch.ones(2))
    assert out.weights.std() > 0
    first, _, last = network.attention
    expected = last(first(x).tanh()).squeeze(-1).exp()
    torch.testing.assert_close(out.weights, expected / expected.sum(1, keepdim=True))
