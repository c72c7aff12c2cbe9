"""RTFM: loss by hand, and selection."""

from __future__ import annotations

import math

import pytest
import torch

from oddframe.methods.mil.rtfm import RtfmOutput
from oddframe.methods.registry import get_method

METHOD = get_method("rtfm")
LABELS = torch.tensor([0.0, 1.0])


def output(scores: torch.Tensor, features: torch.Tensor) -> RtfmOutput:
    magnitude = features.norm(dim=-1).mean(1)
    return RtfmOutput(scores, scores.logit(), features, magnitude, magnitude)


def test_loss_by_hand() -> None:
    scores = torch.tensor([[0.3, 0.2], [0.4, 0.8]])
    features = torch.tensor([[[[3.0, 4.0], [0.0, 1.0]]], [[[0.0, 1.0], [6.0, 8.0]]]])
    loss = METHOD.loss(output(scores, features), LABELS, METHOD.Config(k=1))
    terms = {name: term.item() for name, term in loss.terms.items()}
    assert terms["cls"] == pytest.approx(-(math.log(1 - 0.3) + math.log(0.8)) / 2)
    assert terms["magnitude"] == pytest.approx((100 - 10 + 5) ** 2)
    assert terms["smooth"] == pytest.approx(0.4**2)
    assert terms["sparse"] == pytest.approx(math.hypot(0.4, 0.8))
    weighted = terms["cls"] + 1e-4 * terms["magnitude"]
    weighted += 8e-4 * terms["smooth"] + 8e-3 * terms["sparse"]
    assert loss.total.item() == pytest.approx(weighted)


def test_magnitude_is_the_norm_of_the_mean() -> None:
    """Two long vectors of opposite direction have a short mean (equation 2)."""
    features = torch.tensor([[[[0.0, 0.0], [0.0, 0.0]]], [[[60.0, 0.0], [-60.0, 0.0]]]])
    loss = METHOD.loss(output(torch.full((2, 2), 0.5), features), LABELS, METHOD.Config(k=2))
    assert loss.terms["magnitude"].item() == pytest.approx(100**2)


def test_smoothness_crosses_video_boundaries() -> None:
    scores = torch.tensor([[0.1, 0.1], [0.2, 0.2], [0.9, 0.9]])
    out = output(scores, torch.ones(3, 1, 2, 2))
    loss = METHOD.loss(out, torch.tensor([0.0, 1.0, 1.0]), METHOD.Config())
    assert loss.terms["smooth"].item() == pytest.approx(0.7**2)


def test_dropout_excludes_snippets_in_training_only() -> None:
    torch.manual_seed(0)
    network = METHOD.network(8, METHOD.Config(hidden=4))
    bags = torch.randn(2, 200, 8)
    hidden = (network.train()(bags, LABELS).choice == 0).float().mean().item()
    assert hidden == pytest.approx(0.7, abs=0.1)
    assert not (network.eval()(bags, LABELS).choice == 0).any()


def test_norms_are_taken_after_dropout() -> None:
    torch.manual_seed(0)
    network = METHOD.network(64, METHOD.Config(hidden=4)).train()
    out = network(torch.randn(2, 50, 64), LABELS)
    assert (out.features == 0).float().mean().item() == pytest.approx(0.7, abs=0.05)
    torch.testing.assert_close(out.magnitude, out.features.norm(dim=-1).mean(1))
