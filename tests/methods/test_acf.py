"""ACF: loss and attention by hand; anomalies in each modality."""

from __future__ import annotations

from math import log
from typing import Literal

import pytest
import torch

from oddframe.methods.mil.acf import AcfOutput
from oddframe.methods.registry import get_method
from tests.methods.modalities import auc_in
from tests.methods.planted import Small

METHOD = get_method("acf")
LABELS = torch.tensor([0.0, 1.0])
SMALL = Small({"hidden": 64, "dropout": 0.2}, 5e-3, 150)


def test_loss_by_hand() -> None:
    """T = 2, so that k = 1: the highest score of a bag is its own."""
    tops = {
        "scores": (0.2, 0.9),
        "visual_scores": (0.5, 0.8),
        "audio_scores": (0.3, 0.6),
        "visual_attention": (0.4, 0.7),
        "audio_attention": (0.1, 0.5),
    }
    made = {
        name: torch.tensor([[normal, normal / 2], [abnormal / 2, abnormal]])
        for name, (normal, abnormal) in tops.items()
    }
    output = AcfOutput(logits=made["scores"].logit(), **made)
    loss = METHOD.loss(output, LABELS, METHOD.Config(single=0.5, attention=2.0))
    bce = {name: -(log(1 - n) + log(a)) / 2 for name, (n, a) in tops.items()}
    single = bce["visual_scores"] + bce["audio_scores"]
    attention = bce["visual_attention"] + bce["audio_attention"]
    assert loss.terms["cls"].item() == pytest.approx(bce["scores"], rel=1e-5)
    assert loss.terms["single"].item() == pytest.approx(single, rel=1e-5)
    assert loss.terms["attention"].item() == pytest.approx(attention, rel=1e-5)
    total = bce["scores"] + 0.5 * single + 2 * attention
    assert loss.total.item() == pytest.approx(total, rel=1e-5)


def test_a_modality_is_multiplied_by_its_attention() -> None:
    torch.manual_seed(0)
    network = METHOD.network(6, METHOD.Config(sound=2, hidden=8)).eval()
    x = torch.randn(2, 7, 6)
    out = network(x, LABELS)
    v = network.picture(x[..., :4]) * (1 + out.visual_attention[..., None])
    a = network.sound(x[..., 4:]) * (1 + out.audio_attention[..., None])
    inner, outer = network.fused
    expected = outer(inner[0](torch.cat([v, a], dim=-1)).clamp(min=0)).squeeze(-1)
    torch.testing.assert_close(network(x).logits, expected)
    torch.testing.assert_close(out.visual_scores, network.of_picture(v).squeeze(-1).sigmoid())
    torch.testing.assert_close(out.audio_scores, network.of_sound(a).squeeze(-1).sigmoid())
    both = torch.cat([network.picture(x[..., :4]), network.sound(x[..., 4:])], dim=-1)
    first, _, last = network.attention
    expected = last(first(both).tanh()).sigmoid()
    weights = torch.stack([out.visual_attention, out.audio_attention], dim=-1)
    torch.testing.assert_close(weights, expected)


@pytest.mark.parametrize("which", ["picture", "sound"])
def test_finds_anomalies_in_one_modality(which: Literal["picture", "sound"]) -> None:
    assert auc_in(METHOD, SMALL, which) > 0.95


def test_the_attention_is_trained_through_the_scores_too() -> None:
    torch.manual_seed(0)
    config = METHOD.Config(sound=2, hidden=8, attention=0.0)
    network = METHOD.network(6, config).eval()
    METHOD.loss(network(torch.randn(2, 7, 6), LABELS), LABELS, config).total.backward()
    assert network.attention[-1].weight.grad.abs().amax(1).min() > 1e-6  # Of both modalities.
