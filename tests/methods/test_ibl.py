"""IBL: loss by hand, and causality."""

from __future__ import annotations

import pytest
import torch

from oddframe.methods.base import Output
from oddframe.methods.mil.ibl import TemporalBlock
from oddframe.methods.registry import get_method

METHOD = get_method("ibl")


def test_loss_by_hand() -> None:
    scores = torch.tensor([[0.1, 0.3, 0.2], [0.2, 0.9, 0.4]])
    loss = METHOD.loss(
        Output(scores, scores.logit()), torch.tensor([0.0, 1.0]), METHOD.Config(inner=2.0)
    )
    terms = {name: term.item() for name, term in loss.terms.items()}
    assert terms["rank"] == pytest.approx(1 - 0.9 + 0.3)
    assert terms["inner"] == pytest.approx((1 - 0.7) + 0.2)
    assert terms["smooth"] == pytest.approx(0.7**2 + 0.5**2)
    assert terms["sparse"] == pytest.approx(1.5)
    weighted = terms["rank"] + 2 * terms["inner"]
    assert loss.total.item() == pytest.approx(weighted + 8e-5 * (terms["smooth"] + terms["sparse"]))


def test_no_loss_for_a_gap_beyond_the_margin() -> None:
    scores = torch.tensor([[0.2, 0.2, 0.2], [0.2, 0.9, 0.4]])
    config = METHOD.Config(gap=0.5)
    loss = METHOD.loss(Output(scores, scores.logit()), torch.tensor([0.0, 1.0]), config)
    assert loss.terms["inner"].item() == 0


def test_a_block_by_hand() -> None:
    torch.manual_seed(0)
    block = TemporalBlock(3, METHOD.Config(hidden=5), 2).eval()
    x = torch.randn(1, 3, 9)
    padded = torch.cat([torch.zeros(1, 3, 4), x], dim=2)
    weight, bias = block.conv.weight, block.conv.bias
    seen = sum(
        torch.einsum("oi,bit->bot", weight[..., i], padded[..., 2 * i :][..., :9]) for i in range(3)
    )
    expected = (seen + bias[:, None]).clamp(min=0) + block.residual(x)
    torch.testing.assert_close(block(x), expected)


def test_scores_depend_on_the_past_within_the_receptive_field() -> None:
    torch.manual_seed(0)
    network = METHOD.network(4, METHOD.Config(hidden=8)).eval()
    x = torch.randn(1, 20, 4)
    other = x.clone()
    other[:, 10] += 1
    with torch.inference_mode():
        changed = (network(x).logits - network(other).logits)[0].abs() > 1e-6
    # Kernels of 3 at distances 1 and 2: six snippets back, none ahead.
    assert changed.tolist() == [10 <= i <= 16 for i in range(20)]
